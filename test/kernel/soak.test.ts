// An hour's worth of changes in a minute: reloads, links that flap, vanish and come back, addresses, routes, flows, and
// readers that come and go. Afterwards the service holds no more than before, and neither does the kernel. Shown on the
// machine's own kernel (6.18: cls_bpf, HTB, bfifo).
//
// HEADGATE_ROUNDS=120 for a longer one; a round is some 300 changes.

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { getStatePath } from '../../src/kernel/index.ts';
import type { Program } from '../../src/lab/index.ts';
import { Gateway, memoryOf, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { PATIENCE, soon } from './soon.ts';

const ROUNDS = Number(process.env.HEADGATE_ROUNDS ?? 12);
/** Bytes that the service may have grown by between the middle of the soak and its end: V8 collects when it likes. */
const GROWTH = 24e6;

const policyOf = (round: number) => `link wan { device wan  download ${40 + (round % 2)}mbit  upload 20mbit }
link usb { device usb  download 9mbit  upload 2mbit }
queue mine { share 70% }  queue theirs { share 10% }
rule less when udp and remote.port ${9 + (round % 2)} -> theirs, police 1mbit
default local -> mine  remote -> theirs  new -> theirs
`;

let gateway: Gateway;
let program: Program;
let host: Host;
let socket: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  await layUsb();
  host = await Host.start(gateway.box);
  await (await Host.start(gateway.world)).serve('udp', WORLD, 5000);
  await writeFile(join(gateway.folder, 'test.gate'), policyOf(0));
  program = await gateway.up(join(gateway.folder, 'test.gate'));
  socket = await getStatePath('sock', await gateway.box.getId());
});
afterEach(() => gateway.close());

const layUsb = () => gateway.box.batch('link add usb type veth peer name usb0', 'link set usb up', 'link set usb0 up');
const each = <T>(make: (n: number) => T) => Array.from({ length: 50 }, (_, n) => make(n));

/** A reader of events, until it is called off. */
const read = () =>
  new Promise<() => void>((resolve, reject) => {
    const asking = request({ socketPath: socket, path: '/events' }, (response) => {
      response.on('error', () => {}).resume();
      resolve(() => asking.destroy());
    });
    asking.on('error', reject).end();
  });

async function round(number: number): Promise<void> {
  const { box } = gateway;
  const readers = await Promise.all(Array.from({ length: 10 }, read));
  await box.batch(...each((n) => `address add 10.9.0.${n + 1}/32 dev wan`));
  await box.batch(...each((n) => `route add 10.8.${n}.0/24 dev wan`));
  const ask = { transport: 'udp', address: WORLD, port: 5000, size: 100, times: 1 } as const;
  await Promise.all(each(() => host.ask(ask)));
  await box.batch(...each((n) => `route del 10.8.${n}.0/24 dev wan`));
  await box.batch(...each((n) => `address del 10.9.0.${n + 1}/32 dev wan`));
  await box.batch('link set wan down', 'link set wan up', 'link set hg-wan down', 'link set hg-wan up', 'link del usb');
  await layUsb();
  for (const leave of readers) leave();
  await writeFile(join(gateway.folder, 'test.gate'), policyOf(number));
  expect((await gateway.headgate('reload')).status).toBe(0);
  await soon(async () => {
    expect((await gateway.status()).links.map(({ state }) => state)).toEqual(['steering', 'steering']);
  });
  await soon(() => box.run('ping', '-q', '-c', '1', '-W', '1', WORLD));
}

const lines = (text: string, what: RegExp) => text.split('\n').filter((line) => what.test(line)).length;

/** What the service holds, and what of ours is in the kernel: numbers that are to be the same afterwards. */
async function held(): Promise<Record<string, number>> {
  const { box } = gateway;
  const pid = program.pid!;
  const filters = await Promise.all(
    ['wan', 'usb'].flatMap((device) => [
      box.run('tc', 'filter', 'show', 'dev', device, 'ingress'),
      box.run('tc', 'filter', 'show', 'dev', device, 'parent', '7fe1:'),
    ]),
  );
  const [descriptors, files] = [await readdir(`/proc/${pid}/fd`), await readdir(join(socket, '..'))];
  return {
    descriptors: descriptors.length,
    threads: (await readdir(`/proc/${pid}/task`)).length,
    children: (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ').filter(Boolean).length,
    devices: lines(await box.run('ip', '-o', 'link', 'show'), /./),
    qdiscs: lines(await box.run('tc', 'qdisc', 'show'), /./),
    classes: lines(
      (await Promise.all(['hg-wan', 'hg-usb', 'wan', 'usb'].map((d) => box.run('tc', 'class', 'show', 'dev', d)))).join(
        '\n',
      ),
      /./,
    ),
    filters: lines(filters.join('\n'), /handle/),
    actions: lines(await box.run('tc', 'actions', 'ls', 'action', 'mirred'), /action order/),
    nft: lines(await box.run('nft', '--stateless', '--terse', 'list', 'ruleset'), /./),
    files: files.filter((name) => socket.includes(`/${name.split('.')[0]}.`)).length,
  };
}

it(
  `${ROUNDS} rounds leave nothing behind`,
  async () => {
    await round(0);
    // Nothing runs any more that it has started, but its guard.
    const before = await soon(async () => {
      // For some seconds after its last reader it follows flows still.
      expect((await gateway.status()).service!.follows).toEqual([]);
      const now = await held();
      expect(now.children).toBe(1);
      expect(await held()).toEqual(now);
      return now;
    });
    const used: number[] = [];
    for (let number = 1; number <= ROUNDS; number++) {
      await round(number);
      used.push(await memoryOf(program.pid!));
    }
    // A thread that reads a dump, or a command, may be on its way to its end.
    await soon(async () => expect(await held()).toEqual(before));
    const least = (part: readonly number[]) => Math.min(...part);
    const third = Math.ceil(ROUNDS / 3);
    expect(least(used.slice(-third)) - least(used.slice(third, 2 * third))).toBeLessThan(GROWTH);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    const left = (await gateway.box.run('tc', 'qdisc', 'show')) + (await gateway.box.run('ip', 'link', 'show'));
    expect(left).not.toMatch(/hg-wan|hg-usb|htb|clsact/);
    expect(await gateway.box.run('nft', 'list', 'tables')).not.toContain('headgate');
  },
  60_000 + ROUNDS * 30_000 * PATIENCE,
);
