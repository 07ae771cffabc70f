// `conntrack create`: what arrives makes its conntrack entry before it is classified; refused where NAT would be passed by.
// Shown on Linux 6.1.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { getTcStats, listDevices } from '../../../src/kernel/index.ts';
import { addVeth, Namespace, Program } from '../../../src/lab/index.ts';
import { exitOf, HEADGATE } from '../../kernel/gateway.ts';
import { Host } from '../../kernel/host.ts';
import { PATIENCE, soon } from '../../kernel/soon.ts';

const BOX = { v4: '192.0.2.1', v6: '2001:db8::1' };
const WORLD = { v4: '192.0.2.2', v6: '2001:db8::2' };
const QUEUES = ['local', 'new', 'remote', 'bulk'] as const;
const POLICY = `link wan { device wan  download 50mbit  upload 50mbit  conntrack create }
${QUEUES.map((name) => `queue ${name} { share 20% }`).join('\n')}
rule bulk when origin remote and local.port 7300 -> bulk
default local -> local  remote -> remote  new -> new
`;
/** 7600 leads to the echo on 7000. */
const NAT = `table ip nat {
  chain pre {
    type nat hook prerouting priority dstnat; policy accept;
    udp dport 7600 redirect to :7000
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

let box: Namespace;
let world: Namespace;
let [atBox, atWorld]: Host[] = [];
let folder: string;
let file: string;
let up: Program | undefined;
let ifb: number;
beforeAll(async () => {
  [box, world] = [await Namespace.add('box'), await Namespace.add('world')];
  folder = await mkdtemp(join(tmpdir(), 'hg-create-'));
  file = join(folder, 'create.gate');
  await writeFile(file, POLICY);
  await addVeth(box, 'wan', world, 'wan');
  for (const [ns, end] of [
    [box, BOX],
    [world, WORLD],
  ] as const) {
    await ns.run('ip', 'address', 'add', `${end.v4}/24`, 'dev', 'wan');
    await ns.run('ip', 'address', 'add', `${end.v6}/64`, 'dev', 'wan', 'nodad');
  }
  await box.run('sysctl', '-qw', 'net.ipv4.icmp_ratelimit=0');
  [atBox, atWorld] = [await Host.start(box), await Host.start(world)];
  for (const v of ['v4', 'v6'] as const) {
    for (const port of [7000, 7300]) await atBox.serve('udp', BOX[v], port);
    await atBox.serve('tcp', BOX[v], 7000);
    await atBox.sink(BOX[v], 7900);
    await atWorld.serve('udp', WORLD[v], 7000);
  }
  await box.feed(FIREWALL, 'nft', '-f', '-');
});
afterAll(async () => {
  await up?.stop('SIGTERM');
  await Promise.all([box?.del(), world?.del()]);
  await rm(folder, { recursive: true, force: true });
});

const headgate = (...args: string[]) => exitOf(box.name, ...HEADGATE, ...args);
const objects = async () =>
  [
    await box.run('tc', 'qdisc', 'show'),
    await box.run('ip', 'link', 'show'),
    await box.run('nft', 'list', 'ruleset'),
  ].join('');
const filters = () => box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress');

/** What each class has let pass of what arrived while `act` ran, as soon as that is what is expected. */
async function arriving(expected: Partial<Record<(typeof QUEUES)[number], number>>, act: () => Promise<unknown>) {
  const count = () => {
    const stats = getTcStats(box.path, ifb);
    return QUEUES.map(
      (_, i) => stats.find((s) => s.isClass && s.handle === ((0x7fe0 << 16) | (i + 1)) >>> 0)?.packets ?? 0,
    );
  };
  const before = count();
  await act();
  await soon(() => {
    const now = count();
    const counted = QUEUES.map((name, i) => [name, now[i]! - before[i]!] as const);
    expect(Object.fromEntries(counted.filter(([, packets]) => packets > 0))).toEqual(expected);
  });
}

const entries = (port: number, family: 'ipv4' | 'ipv6') =>
  box.run('conntrack', '-L', '-f', family, '-p', 'udp', '--orig-port-dst', `${port}`);

test('is refused where there is NAT, and by a datapath that cannot', async () => {
  await box.feed(NAT, 'nft', '-f', '-');
  const before = await objects();
  const nat = await headgate('up', file);
  expect(nat).toMatchObject({ status: 4, stdout: '' });
  expect(nat.stderr).toContain('link wan says `conntrack create`, and NAT is here: table ip nat chain pre.');
  await writeFile(join(folder, 'hand.sh'), (await headgate('plan', file, '--script')).stdout);
  expect(await exitOf(box.name, 'sh', join(folder, 'hand.sh'))).toMatchObject({
    status: 4,
    stderr: expect.stringContaining('conntrack create: there is NAT here'),
  });
  expect(await objects()).toBe(before);
  await box.run('nft', 'delete', 'table', 'ip', 'nat');
  const bpf = await headgate('up', file, '--datapath', 'bpf');
  expect(bpf).toMatchObject({ status: 2, stderr: expect.stringContaining('datapath bpf makes no conntrack entries') });
});

test('up takes the datapath that can, and flows that were there before are known', async () => {
  for (const v of ['v4', 'v6'] as const) {
    await atBox!.ask({ ...UDP, address: WORLD[v], times: 1, from: 6100 });
    await atWorld!.ask({ ...UDP, address: BOX[v], times: 1, from: 6100 });
  }
  const pinging = world.run('ping', '-q', '-c', '200', '-i', '0.1', BOX.v4);
  up = Program.start('headgate up', ['env', ...HEADGATE, 'up', file, '--json'], { netns: box.name });
  const ready = await up.line((line) => line.includes('"kind":"ready"'), 30_000 * PATIENCE);
  expect(JSON.parse(ready).datapath).toBe('ct');
  expect(await filters()).toContain('ct commit zone 0 pipe');
  expect(await pinging).toContain('200 received');
  ifb = (await listDevices({ netns: box.name })).find(({ name }) => name === 'hg-wan')!.index;
  for (const v of ['v4', 'v6'] as const) {
    await arriving({ local: 2 }, () => atBox!.ask({ ...UDP, address: WORLD[v], from: 6100 }));
    await arriving({ remote: 2 }, () => atWorld!.ask({ ...UDP, address: BOX[v], from: 6100 }));
  }
});

test.each(['v4', 'v6'] as const)('the first packet that arrives is known: IP%s', async (v) => {
  await arriving({ remote: 3 }, () => atWorld!.tell(BOX[v], 7900, 3));
  await arriving({ remote: 2 }, () => atWorld!.ask({ ...UDP, address: BOX[v] }));
  await arriving({ remote: 3 }, () => world.run('ping', '-q', '-c', '3', '-i', '0.02', BOX[v]));
  await arriving({ local: 2 }, () => atBox!.ask({ ...UDP, address: WORLD[v] }));
});

test.each(['v4', 'v6'] as const)('a rule has its class from the second on: IP%s', async (v) => {
  await arriving({ remote: 1, bulk: 1 }, () => atWorld!.ask({ ...UDP, address: BOX[v], port: 7300 }));
});

test.each(['v4', 'v6'] as const)('a packet that the firewall drops has left its entry: IP%s', async (v) => {
  await arriving({ remote: 1 }, () => atWorld!.tell(BOX[v], 7901, 1));
  expect(await entries(7901, `ip${v}`)).toMatch(/dport=7901 \[UNREPLIED\]/);
});

test('TCP that the world opens is never new', async () => {
  const before = getTcStats(box.path, ifb).find((s) => s.isClass && s.handle === 0x7fe00002)!.packets;
  await atWorld!.ask({ ...UDP, transport: 'tcp', address: BOX.v4, size: 20_000 });
  expect(getTcStats(box.path, ifb).find((s) => s.isClass && s.handle === 0x7fe00002)!.packets).toBe(before);
});

test('a translation that is added later does nothing for what arrives, a reload says so, and at the end it works', async () => {
  const asked = () => atWorld!.ask({ ...UDP, address: BOX.v4, port: 7600 });
  await box.feed(NAT, 'nft', '-f', '-');
  await expect(asked()).rejects.toThrow('REFUSED');
  expect(await headgate('reload')).toMatchObject({
    status: 4,
    stderr: expect.stringContaining('table ip nat chain pre'),
  });
  expect((await up!.stop('SIGTERM')).status).toBe(0);
  up = undefined;
  await asked();
  await box.run('nft', 'delete', 'table', 'ip', 'nat');
});

test('a script by hand does the same', async () => {
  await box.run('sh', join(folder, 'hand.sh'));
  ifb = (await listDevices({ netns: box.name })).find(({ name }) => name === 'hg-wan')!.index;
  await arriving({ remote: 2 }, () => atWorld!.tell(BOX.v4, 7900, 2));
  await box.run('sh', join(folder, 'hand.sh'), 'down');
  expect(await box.run('tc', 'qdisc', 'show', 'dev', 'wan')).not.toContain('clsact');
});
