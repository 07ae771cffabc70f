// `conntrack create`: what arrives makes its conntrack entry before it is classified; refused where NAT would be passed by.
// Shown on Linux 6.1 and 6.12.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exitOf } from '../../kernel/gateway.ts';
import { soon } from '../../kernel/soon.ts';
import { BOX, Pair, WORLD } from './pair.ts';

const QUEUES = ['local', 'new', 'remote', 'bulk'] as const;
const POLICY = `link wan { device wan  download 50mbit  upload 50mbit  conntrack create }
${QUEUES.map((name) => `queue ${name} { share 20% }`).join('\n')}
rule bulk when origin remote and local.port 7300 -> bulk
default local -> local  remote -> remote  new -> new
`;
/** 7600 leads to the echo on 7000 here, 7601 to that of the world. */
const NAT = `table ip nat {
  chain pre {
    type nat hook prerouting priority dstnat; policy accept;
    udp dport 7600 redirect to :7000
  }
  chain out {
    type nat hook output priority -100; policy accept;
    udp dport 7601 dnat to ${WORLD.v4}:7000
  }
}
`;
const FIREWALL = `table inet fw {
  chain input {
    type filter hook input priority 0; policy accept;
    udp dport 7901 drop
  }
}
`;
const UDP = { transport: 'udp', port: 7000, size: 100, times: 2 } as const;

let pair: Pair;
let file: string;
let script: string;
beforeAll(async () => {
  pair = await Pair.build();
  file = await pair.write(POLICY);
  script = join(pair.folder, 'hand.sh');
  for (const v of ['v4', 'v6'] as const) {
    await pair.atBox.serve('udp', BOX[v], 7300);
    await pair.atBox.sink(BOX[v], 7900);
  }
  await pair.box.feed(FIREWALL, 'nft', '-f', '-');
});
afterAll(() => pair?.close());

const objects = async () =>
  [
    await pair.box.run('tc', 'qdisc', 'show'),
    await pair.box.run('ip', 'link', 'show'),
    await pair.box.run('nft', 'list', 'ruleset'),
  ].join('');
const filters = () => pair.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress');

/** What each class has let pass of what arrived while `act` ran, as soon as that is what is expected. */
async function arriving(expected: Partial<Record<(typeof QUEUES)[number], number>>, act: () => Promise<unknown>) {
  const before = await pair.classes(QUEUES.length);
  await act();
  await soon(async () => {
    const now = await pair.classes(QUEUES.length);
    const counted = QUEUES.map((name, i) => [name, now[i]! - before[i]!] as const);
    expect(Object.fromEntries(counted.filter(([, packets]) => packets > 0))).toEqual(expected);
  });
}

const entries = (port: number, family: 'ipv4' | 'ipv6') =>
  pair.box.run('conntrack', '-L', '-f', family, '-p', 'udp', '--orig-port-dst', `${port}`);

test('is refused where there is NAT, and by a datapath that cannot', async () => {
  await pair.box.feed(NAT, 'nft', '-f', '-');
  const before = await objects();
  const nat = await pair.headgate('up', file);
  expect(nat).toMatchObject({ status: 4, stdout: '' });
  expect(nat.stderr).toContain(
    'link wan says `conntrack create`, and NAT is here: table ip nat chain pre, table ip nat chain out.',
  );
  await writeFile(script, (await pair.headgate('plan', file, '--script')).stdout);
  expect(await exitOf(pair.box.name, 'sh', script)).toMatchObject({
    status: 4,
    stderr: expect.stringContaining('conntrack create: there is NAT here'),
  });
  expect(await objects()).toBe(before);
  await pair.box.run('nft', 'delete', 'table', 'ip', 'nat');
  const bpf = await pair.headgate('up', file, '--datapath', 'bpf');
  expect(bpf).toMatchObject({ status: 2, stderr: expect.stringContaining('datapath bpf makes no conntrack entries') });
});

test('up takes the datapath that can, and flows that were there before are known', async () => {
  for (const v of ['v4', 'v6'] as const) {
    await pair.atBox.ask({ ...UDP, address: WORLD[v], times: 1, from: 6100 });
    await pair.atWorld.ask({ ...UDP, address: BOX[v], times: 1, from: 6100 });
  }
  const pinging = pair.world.run('ping', '-q', '-c', '200', '-i', '0.1', BOX.v4);
  expect(await pair.up(file)).toBe('ct');
  expect(await filters()).toContain('ct commit zone 0 pipe');
  expect(await pinging).toContain('200 received');
  for (const v of ['v4', 'v6'] as const) {
    await arriving({ local: 2 }, () => pair.atBox.ask({ ...UDP, address: WORLD[v], from: 6100 }));
    await arriving({ remote: 2 }, () => pair.atWorld.ask({ ...UDP, address: BOX[v], from: 6100 }));
  }
});

test.each(['v4', 'v6'] as const)('the first packet that arrives is known: IP%s', async (v) => {
  await arriving({ remote: 3 }, () => pair.atWorld.tell(BOX[v], 7900, 3));
  await arriving({ remote: 2 }, () => pair.atWorld.ask({ ...UDP, address: BOX[v] }));
  await arriving({ remote: 3 }, () => pair.world.run('ping', '-q', '-c', '3', '-i', '0.02', BOX[v]));
  await arriving({ local: 2 }, () => pair.atBox.ask({ ...UDP, address: WORLD[v] }));
});

test.each(['v4', 'v6'] as const)('a rule has its class from the second on: IP%s', async (v) => {
  await arriving({ remote: 1, bulk: 1 }, () => pair.atWorld.ask({ ...UDP, address: BOX[v], port: 7300 }));
});

test.each(['v4', 'v6'] as const)('a packet that the firewall drops has left its entry: IP%s', async (v) => {
  await arriving({ remote: 1 }, () => pair.atWorld.tell(BOX[v], 7901, 1));
  expect(await entries(7901, `ip${v}`)).toMatch(/dport=7901 \[UNREPLIED\]/);
});

test('TCP that the world opens is never new', async () => {
  const [, before] = await pair.classes(2);
  await pair.atWorld.ask({ ...UDP, transport: 'tcp', address: BOX.v4, size: 20_000 });
  expect((await pair.classes(2))[1]).toBe(before);
});

test('a translation that is added later does nothing for what arrives, a reload says so, and at the end it works', async () => {
  const asked = () => pair.atWorld.ask({ ...UDP, address: BOX.v4, port: 7600 });
  await pair.box.feed(NAT, 'nft', '-f', '-');
  await expect(asked()).rejects.toThrow('REFUSED');
  await pair.atBox.ask({ ...UDP, address: WORLD.v4, port: 7601 });
  expect(await pair.headgate('reload')).toMatchObject({
    status: 4,
    stderr: expect.stringContaining('table ip nat chain pre'),
  });
  await pair.down();
  await asked();
  await pair.box.run('nft', 'delete', 'table', 'ip', 'nat');
});

test('a script by hand does the same', async () => {
  await pair.box.run('sh', script);
  await arriving({ remote: 2 }, () => pair.atWorld.tell(BOX.v4, 7900, 2));
  await pair.box.run('sh', script, 'down');
  expect(await pair.box.run('tc', 'qdisc', 'show', 'dev', 'wan')).not.toContain('clsact');
});
