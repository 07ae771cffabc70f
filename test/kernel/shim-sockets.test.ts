// The sockets of real processes in a namespace, found by a flow's ends. Shown on the machine's own kernel (6.18).

import { readFile, stat } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { getCgroupRoot, SocketFinder } from '../../src/kernel/index.ts';
import { Namespace, Program } from '../../src/lab/index.ts';
import { PROTOCOLS, parseAddress } from '../../src/model/index.ts';
import { PATIENCE, soon } from './soon.ts';

// TCP listens for both families on one socket, and is connected to twice; UDP: one for both families, one connected.
const PROGRAM = `
const net = require('node:net'), dgram = require('node:dgram');
process.setuid(4711);
const server = net.createServer(() => {}).listen(7000, '::', () => {
  const four = net.connect({ host: '127.0.0.1', port: 7000, localPort: 7001 }, () => {
    const six = net.connect({ host: '::1', port: 7000, localPort: 7002 }, () => {
      dgram.createSocket('udp6').bind(7003, '::', () => {
        const connected = dgram.createSocket('udp4').bind(7004, '127.0.0.1', () => {
          net.connect({ host: '127.0.0.1', port: 7000, localPort: 7010 }).on('error', () => {});
          connected.connect(7003, '127.0.0.1', () => console.log('ready'));
        });
      });
    });
  });
});`;

// What the server answers there never arrives.
const HALF_OPEN = `table inet t {
  chain output {
    type filter hook output priority 0; policy accept;
    tcp sport 7000 tcp dport 7010 drop
  }
}
`;

let ns: Namespace;
let program: Program;
let finder: SocketFinder;
beforeAll(async () => {
  ns = await Namespace.add('sockets');
  await ns.feed(HALF_OPEN, 'nft', '-f', '-');
  program = Program.start('sockets', [process.execPath, '-e', PROGRAM], { netns: ns.name });
  await program.line((line) => line === 'ready', 20_000 * PATIENCE);
  finder = SocketFinder.open(ns.path);
});
afterAll(async () => {
  finder?.close();
  await program?.stop('SIGTERM');
  await ns?.del();
});

const end = (text: string, port: number) => ({ address: parseAddress(text)!, port });
const find = (protocol: 'tcp' | 'udp', local: [string, number], remote: [string, number]) =>
  finder.find([{ protocol: PROTOCOLS[protocol], local: end(...local), remote: end(...remote) }])[0];

it('finds who opened and who accepted, in both families, and who listens where nobody is connected', async () => {
  const four = find('tcp', ['127.0.0.1', 7001], ['127.0.0.1', 7000])!;
  expect(four.uid).toBe(4711);
  expect(four.inode).toBeGreaterThan(0);
  expect(four.cgroup).toBe(await cgroupOf(program.pid!));
  const accepted = find('tcp', ['127.0.0.1', 7000], ['127.0.0.1', 7001])!;
  const six = find('tcp', ['::1', 7000], ['::1', 7002])!;
  const listening = find('tcp', ['127.0.0.1', 7000], ['192.0.2.7', 999])!;
  expect(find('tcp', ['::1', 7000], ['2001:db8::7', 999])).toEqual(listening);
  expect(new Set([four, accepted, six, listening].map(({ inode }) => inode)).size).toBe(4);
  expect(find('tcp', ['127.0.0.1', 7009], ['192.0.2.7', 999])).toBeUndefined();
});

it('finds who listens while a connection is half open', async () => {
  await soon(async () => expect(await ns.run('ss', '-Htn', 'state', 'syn-recv')).toContain(':7010'));
  const listening = find('tcp', ['127.0.0.1', 7000], ['192.0.2.7', 999])!;
  expect(find('tcp', ['127.0.0.1', 7000], ['127.0.0.1', 7010])).toEqual(listening);
});

it('finds a connected socket of UDP, and one that is bound alone', () => {
  const connected = find('udp', ['127.0.0.1', 7004], ['127.0.0.1', 7003])!;
  expect(connected.uid).toBe(4711);
  expect(find('udp', ['127.0.0.1', 7004], ['192.0.2.7', 7003])).toBeUndefined();
  const bound = find('udp', ['127.0.0.1', 7003], ['192.0.2.7', 999])!;
  expect(find('udp', ['::1', 7003], ['2001:db8::7', 999])).toEqual(bound);
  expect(bound.inode).not.toBe(connected.inode);
});

it('says that it is closed', () => {
  const closed = SocketFinder.open(ns.path);
  closed.close();
  expect(() => closed.find([])).toThrow('looking up sockets');
});

/** The process is in ours, since nobody has put it elsewhere. */
async function cgroupOf(pid: number): Promise<bigint> {
  const path = /^0::(.*)$/m.exec(await readFile(`/proc/${pid}/cgroup`, 'utf8'))![1]!;
  return (await stat(`${await getCgroupRoot()}${path}`, { bigint: true })).ino;
}
