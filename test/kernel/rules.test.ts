// The policies that ship, each applied by `headgate up` as a process, with real packets through real classes. Shown on
// the machine's own kernel (6.18: cls_bpf, HTB, bfifo, nft limit and dup).

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { addVeth, Namespace, Program, packageFile } from '../../src/lab/index.ts';
import type { DirectionStatus, LinkStatus, Status } from '../../src/service/index.ts';
import { standIn } from './faults.ts';
import { exitOf, FORGETFUL, Gateway, HEADGATE, INSIDE, WAN, WORLD } from './gateway.ts';

const rules = (name: string): string => packageFile(`rules/${name}.gate`);
const RATES = ['--device', 'wan', '--download', '50mbit', '--upload', '50mbit'];

const packetsOf = (direction: DirectionStatus | undefined): Record<string, number> =>
  Object.fromEntries((direction?.queues ?? []).map((q) => [q.name, q.packets]));

describe('one gateway', () => {
  let gateway: Gateway;
  let folder: string;
  let before: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hg-test-'));
    gateway = await Gateway.build();
    before = await gateway.snapshot();
  });
  afterEach(async () => {
    await gateway.close();
    await rm(folder, { recursive: true, force: true });
  });

  const link = async (): Promise<LinkStatus> => (await gateway.status()).links[0]!;

  /** Ends the program and holds that nothing of it is left. */
  async function endOf(program: Program): Promise<void> {
    expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
    expect(await gateway.snapshot()).toBe(before);
  }

  it('favour-local: answers to us, what strangers ask, and what is new', async () => {
    await gateway.serve(gateway.world, 'udp', WORLD, 443);
    await gateway.serve(gateway.inside, 'udp', INSIDE, 51413);
    const program = await gateway.up(rules('favour-local'), ...RATES);
    await gateway.ask(gateway.inside, 'udp', WORLD, 443);
    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);
    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);
    const { download, upload } = await link();
    expect(packetsOf(download)).toEqual({ local: 1, new: 1, remote: 1 });
    expect(packetsOf(upload)).toEqual({ local: 1, new: 0, remote: 2 });
    await endOf(program);
  });

  it('seedbox: logging in, what the box asks for, and torrents both ways', async () => {
    await gateway.serve(gateway.world, 'tcp', WORLD, 443);
    await gateway.serve(gateway.world, 'udp', WORLD, 6881);
    await gateway.serve(gateway.box, 'udp', WAN, 6889);
    await gateway.serve(gateway.box, 'tcp', WAN, 22);
    const program = await gateway.up(rules('seedbox'), ...RATES);
    await gateway.ask(gateway.box, 'udp', WORLD, 6881, 200, 6882);
    expect(packetsOf((await link()).upload)).toEqual({ admin: 0, local: 0, new: 0, p2p: 1 });
    expect(packetsOf((await link()).download)).toEqual({ admin: 0, local: 0, new: 0, p2p: 1 });
    await gateway.ask(gateway.world, 'udp', WAN, 6889);
    // The stranger's first packet is new; our answer is a torrent's already, by the kernel rule.
    expect(packetsOf((await link()).download)).toEqual({ admin: 0, local: 0, new: 1, p2p: 1 });
    expect(packetsOf((await link()).upload)).toEqual({ admin: 0, local: 0, new: 0, p2p: 2 });
    await gateway.ask(gateway.world, 'tcp', WAN, 22);
    const login = packetsOf((await link()).upload);
    expect(login).toMatchObject({ local: 0, p2p: 2 });
    expect(login.admin).toBeGreaterThanOrEqual(3);
    await gateway.ask(gateway.box, 'tcp', WORLD, 443);
    const after = packetsOf((await link()).upload);
    expect(after.local).toBeGreaterThanOrEqual(3);
    expect(after).toMatchObject({ admin: login.admin, p2p: 2 });
    await endOf(program);
  });

  it('home-gateway: queues within queues, each flow in the one of its rule', async () => {
    const { box, inside, world } = gateway;
    await box.run('ip', 'address', 'add', '192.168.100.1/24', 'dev', 'lan');
    await inside.run('ip', 'address', 'add', '192.168.100.7/24', 'dev', 'eth0');
    await inside.run('ip', 'route', 'add', '192.0.2.3', 'via', '192.168.100.1', 'src', '192.168.100.7');
    await world.run('ip', 'address', 'add', '192.0.2.3/24', 'dev', 'up0');
    before = await gateway.snapshot();
    for (const port of [443, 10_004, 27_015]) await gateway.serve(world, 'udp', WORLD, port);
    await gateway.serve(world, 'udp', '192.0.2.3', 443);
    await gateway.serve(inside, 'udp', INSIDE, 51413);
    const program = await gateway.up(rules('home-gateway'), ...RATES);
    const started = await link();
    expect(started.download!.queues.map(({ name, classid, rate, ceil }) => [name, classid, rate, ceil])).toEqual([
      ['voice', '7fe0:1', 5e6, 15e6],
      ['new', '7fe0:2', 5e6, 25e6],
      ['games', '7fe0:3', 9e6, 30e6],
      ['local', '7fe0:4', 18e6, 50e6],
      ['bulk', '7fe0:5', 3e6, 50e6],
      ['guests', '7fe0:6', 5e6, 25e6],
      ['strangers', '7fe0:7', 2.5e6, 50e6],
    ]);
    const classes = await box.run('tc', 'class', 'show', 'dev', 'hg-wan');
    expect(classes).toMatch(/^class htb 7fe0:103 parent 7fe0:100 rate 30Mbit ceil 50Mbit/m);
    for (const minor of [3, 4, 5])
      expect(classes).toMatch(new RegExp(`^class htb 7fe0:${minor} parent 7fe0:103 `, 'm'));
    for (const minor of [1, 2, 6, 7])
      expect(classes).toMatch(new RegExp(`^class htb 7fe0:${minor} parent 7fe0:100 `, 'm'));

    await gateway.ask(inside, 'udp', WORLD, 443);
    await gateway.ask(inside, 'udp', WORLD, 10_004);
    await gateway.ask(inside, 'udp', WORLD, 27_015);
    await gateway.ask(inside, 'udp', '192.0.2.3', 443);
    await gateway.ask(world, 'udp', WAN, 51413, 200, 7000);
    await gateway.ask(world, 'udp', WAN, 51413, 200, 7000);
    const { download, upload } = await link();
    const each = { voice: 1, games: 1, local: 1, bulk: 0, guests: 1 };
    expect(packetsOf(download)).toEqual({ ...each, new: 1, strangers: 1 });
    expect(packetsOf(upload)).toEqual({ ...each, new: 0, strangers: 2 });
    // What passes a nested queue is counted by the one around it: games and local, each way.
    expect(await sentBy(box, 'hg-wan', '7fe0:103')).toBe(2);
    expect(await sentBy(box, 'wan', '7fe1:103')).toBe(2);
    await endOf(program);
  });

  it('look: drops above a rate, shows on a tap what passed, and changes nothing else', async () => {
    const { box, world, inside } = gateway;
    await world.run('ip', 'address', 'add', '198.51.100.7/24', 'dev', 'up0');
    await world.run('ip', 'address', 'add', '2001:db8:bad::7/64', 'dev', 'up0', 'nodad');
    await box.run('ip', 'route', 'add', '198.51.100.0/24', 'dev', 'wan');
    await box.run('ip', 'address', 'add', '2001:db8:bad::1/64', 'dev', 'wan', 'nodad');
    before = await gateway.snapshot();
    await gateway.serve(inside, 'udp', INSIDE, 51413);
    const program = await gateway.up(rules('look'), ...RATES);
    expect(await box.run('ip', '-d', 'link', 'show', 'tap0')).toContain('alias headgate tap');

    // 400 packets of 1,028 bytes at once: a second of 100 kbit (12,500 bytes) and the burst (64 KiB) make 76.
    const tap = await watch(box, 'tap0', 'udp port 9');
    const heard = await listen(box, '0.0.0.0', 9);
    await flood(world, '198.51.100.7', WAN, 9, 400);
    const passed = await heard.count();
    expect(passed).toBeGreaterThan(60);
    expect(passed).toBeLessThan(100);
    expect(await tap.count()).toBe(passed);
    // Queued first: the queue of what is new, and of strangers, saw them all.
    const arrived = packetsOf((await link()).download);
    expect(arrived.new! + arrived.remote!).toBeGreaterThanOrEqual(400);

    const six = await watch(box, 'tap0', 'ip6 and udp port 9');
    const heardSix = await listen(box, '::', 9);
    await flood(world, '2001:db8:bad::7', '2001:db8:bad::1', 9, 10);
    expect(await heardSix.count()).toBe(10);
    expect(await six.count()).toBe(10);

    // A seeding flow goes where it would go anyway, and is seen both ways, with NAT undone for what arrives.
    const seeding = await watch(box, 'tap0', 'udp port 51413');
    await gateway.ask(world, 'udp', WAN, 51413, 200, 7000);
    expect(await seeding.count()).toBe(2);
    // What we ask for ourselves is not looked at.
    const other = await watch(box, 'tap0', `host ${WORLD} and udp port 443`);
    await gateway.serve(world, 'udp', WORLD, 443);
    await gateway.ask(inside, 'udp', WORLD, 443);
    expect(await other.count()).toBe(0);
    await endOf(program);
  });

  it('look: a run that was killed is taken down whole, tap and all', async () => {
    const program = await gateway.up(rules('look'), ...RATES);
    await program.stop('SIGKILL');
    expect(await gateway.box.run('nft', 'list', 'tables')).toContain('table ip6 headgate');
    const { status, stdout } = await gateway.headgate('down');
    expect([status, stdout]).toEqual([0, expect.stringContaining('remove tap tap0')]);
    expect(await gateway.snapshot()).toBe(before);
  });

  it('look: somebody else’s device of the tap’s name is left alone', async () => {
    await gateway.box.run('ip', 'link', 'add', 'tap0', 'type', 'ifb');
    before = await gateway.snapshot();
    const exit = await gateway.headgate('up', rules('look'), ...RATES);
    expect([exit.status, exit.stderr]).toEqual([
      4,
      expect.stringContaining('a device named tap0 exists and is not ours'),
    ]);
    expect(await gateway.snapshot()).toBe(before);
  });

  it('police and mirror: each way by itself, and not for flows that a rule above has taken', async () => {
    const file = join(folder, 'effects.gate');
    await writeFile(
      file,
      `link wan { device wan }
queue a { share 50% }
rule mine when udp and remote.port 443 -> a
rule slow when udp and (remote.port 445 or remote in ${WORLD}) and not remote.port 444 -> police 100kbit
rule look when udp -> mirror to "tap-9"
default local -> a  remote -> a  new -> a
`,
    );
    const { box, inside, world } = gateway;
    for (const port of [443, 444]) await gateway.serve(world, 'udp', WORLD, port);
    const program = await gateway.up(file, '--device', 'wan');
    const tap = await watch(box, 'tap-9', 'udp');
    await gateway.ask(inside, 'udp', WORLD, 443);
    await gateway.ask(inside, 'udp', WORLD, 444);
    expect(await tap.count()).toBe(2);
    const heard = await listen(world, WORLD, 445);
    await flood(inside, INSIDE, WORLD, 445, 200);
    const passed = await heard.count();
    expect(passed).toBeGreaterThan(60);
    expect(passed).toBeLessThan(100);
    await endOf(program);
  });

  it('monitor-only: no packet goes another way, and every flow is told', async () => {
    const tc = async () =>
      (await gateway.box.run('tc', 'qdisc', 'show')) + (await gateway.box.run('ip', '-br', 'link', 'show'));
    const untouched = await tc();
    await gateway.serve(gateway.inside, 'udp', INSIDE, 51413);
    const program = await gateway.up(rules('monitor-only'), '--device', 'wan');
    expect(await tc()).toBe(untouched);
    const events = Program.start('headgate events', ['env', ...HEADGATE, 'events', '--json'], {
      netns: gateway.box.name,
    });
    const told = events.line((line) => line.includes('"flow.') && line.includes(':51413'));
    for (let port = 7000; ; port++) {
      await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, port);
      if (await Promise.race([told.then(() => true), new Promise((resolve) => setTimeout(resolve, 200))])) break;
    }
    expect(JSON.parse(await told)).toMatchObject({ origin: 'remote', queue: 'remote', local: `${INSIDE}:51413` });
    await events.stop('SIGTERM');
    expect(await link()).toMatchObject({ name: 'wan', state: 'watching' });
    expect((await link()).download).toBeUndefined();
    expect(program.output.join('\n')).toContain('nothing is shaped');
    await endOf(program);
  });

  it('one-queue: everything in the one', async () => {
    await gateway.serve(gateway.world, 'udp', WORLD, 443);
    const program = await gateway.up(rules('one-queue'), ...RATES);
    await gateway.ask(gateway.inside, 'udp', WORLD, 443);
    expect(packetsOf((await link()).download)).toEqual({ all: 1 });
    await endOf(program);
  });

  it('what the line adds is counted by every class', async () => {
    const file = join(folder, 'docsis.gate');
    await writeFile(
      file,
      'link wan { device wan  download 50mbit  overhead 18 mpu 64 }\nqueue a { share 50% }\ndefault local -> a  remote -> a  new -> a\n',
    );
    const program = await gateway.up(file, '--device', 'wan');
    const classes = (await gateway.box.run('tc', '-d', 'class', 'show', 'dev', 'hg-wan')).trim().split('\n');
    expect(classes).toHaveLength(2);
    for (const line of classes) expect(line).toMatch(/overhead 18 .*mpu 64b/);
    await endOf(program);
  });

  it.each([
    ['tree prio', 'link wan { device wan  download 50mbit  tree prio }', '', 'it has no qdisc prio'],
    ['tree cake', 'link wan { device wan  download 50mbit  tree cake }', '', 'it has no qdisc cake'],
    ['fair by host', 'link wan { device wan  download 50mbit }', 'fair by host', 'it has no qdisc cake'],
  ])('%s, which this kernel lacks, is refused before any change', async (_, block, setting, problem) => {
    const file = join(folder, 'wants.gate');
    await writeFile(file, `${block}\nqueue a { share 50%  ${setting} }\ndefault local -> a  remote -> a  new -> a\n`);
    const exit = await gateway.headgate('up', file, '--device', 'wan');
    expect([exit.status, exit.stderr]).toEqual([3, expect.stringContaining(problem)]);
    expect(await gateway.snapshot()).toBe(before);
  });

  it('what the kernel has not for police and mirror is named before any change', async () => {
    // An nft that knows neither limits nor copies, as a kernel without the modules would have it.
    const real = (await gateway.box.run('sh', '-c', 'command -v nft')).trim();
    const script = `#!/bin/sh
if [ "$1" = -f ]; then
  input=$(cat)
  case "$input" in *"limit "*|*"dup to"*) echo "Error: Could not process rule: No such file or directory" >&2; exit 1;; esac
  printf '%s\\n' "$input" | ${real} -f -
else exec ${real} "$@"; fi
`;
    const path = await standIn(folder, 'nft', script);
    const command = ['env', path, ...HEADGATE, 'up', rules('look'), ...RATES];
    const exit = await exitOf(gateway.box.name, ...FORGETFUL, ...command);
    expect([exit.status, exit.stderr]).toEqual([3, expect.stringMatching(/cannot do police.*\n.*nft_limit/)]);
    expect(await gateway.snapshot()).toBe(before);
  });
});

describe('several-devices', () => {
  let box: Namespace;
  let world: Namespace;
  let provider: Namespace;
  beforeEach(async () => {
    [box, world, provider] = [await Namespace.add('box'), await Namespace.add('world'), await Namespace.add('tv')];
    await addVeth(box, 'ppp0', world, 'up0');
    await layTelevision();
    await box.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'ppp0');
    await world.run('ip', 'address', 'add', '192.0.2.2/24', 'dev', 'up0');
  });
  afterEach(async () => {
    await Promise.all([box, world, provider].map((ns) => ns.del()));
  });

  async function layTelevision(): Promise<void> {
    await addVeth(box, 'eth1', provider, 'up0');
    await box.run('ip', 'address', 'add', '10.200.0.2/24', 'dev', 'eth1');
    await provider.run('ip', 'address', 'add', '10.200.0.1/24', 'dev', 'up0');
  }

  const snapshot = async (): Promise<string> =>
    (await box.run('ip', '-br', 'link', 'show')) +
    (await box.run('tc', 'qdisc', 'show')) +
    (await box.run('nft', '--stateless', 'list', 'ruleset')) +
    (await box.run('ip', '-d', 'link', 'show'));

  const up = async (): Promise<Program> => {
    const program = Program.start('headgate up', ['env', ...HEADGATE, 'up', '--json', rules('several-devices')], {
      netns: box.name,
    });
    await program.line((line) => line.includes('"kind":"ready"'), 20_000);
    return program;
  };

  const status = async (): Promise<Status> =>
    JSON.parse((await exitOf(box.name, ...HEADGATE, 'status', '--json')).stdout) as Status;

  const ping = (host: string) => box.run('ping', '-c', '1', '-W', '2', host);
  const redirects = (device: string) =>
    box.run('tc', 'filter', 'show', 'dev', device, 'ingress').catch(() => '') as Promise<string>;

  it('sends what arrives on each to one tree, and leaves no trace', async () => {
    const before = await snapshot();
    const program = await up();
    const [internet, television] = (await status()).links;
    expect(internet).toMatchObject({
      name: 'internet',
      device: 'ppp0',
      ifbs: [{ name: 'hg-ppp0' }],
      state: 'steering',
    });
    expect(television).toMatchObject({
      name: 'television',
      device: 'eth1',
      ifbs: [{ name: 'hg-ppp0' }],
      shares: 'internet',
    });
    expect(television!.upload).toBeUndefined();
    expect(await box.run('ip', 'link', 'show', 'hg-ppp0')).toContain('shared=eth1:ours');
    await ping('192.0.2.2');
    await ping('10.200.0.1');
    // Both replies in one queue of one tree; each device's classifier has seen its own.
    const after = (await status()).links;
    expect(packetsOf(after[0]!.download)).toEqual({ live: 0, local: 2, new: 0, remote: 0 });
    expect(packetsOf(after[1]!.download)).toEqual({ live: 0, local: 2, new: 0, remote: 0 });
    expect(after.map(({ download }) => download!.packets.local)).toEqual([1, 1]);
    expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
    expect(await snapshot()).toBe(before);
  });

  it.each([
    ['eth1', 'ppp0', '192.0.2.2'],
    ['ppp0', 'eth1', '10.200.0.1'],
  ])('%s goes and comes back while %s goes on', async (gone, other, host) => {
    const program = await up();
    await box.run('ip', 'link', 'del', gone);
    await program.line((line) => line.includes('"state":"absent"'));
    expect(await redirects(other)).toContain('hg-ppp0');
    await ping(host);
    if (gone === 'eth1') await layTelevision();
    else {
      await addVeth(box, 'ppp0', world, 'up0');
      await box.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'ppp0');
      await world.run('ip', 'address', 'add', '192.0.2.2/24', 'dev', 'up0');
    }
    await program.line((line) => line.includes('is back'));
    expect(await redirects(gone)).toContain('hg-ppp0');
    await ping('192.0.2.2');
    await ping('10.200.0.1');
    expect((await status()).links.map(({ state }) => state)).toEqual(['steering', 'steering']);
    const before = await status();
    expect(packetsOf(before.links[0]!.download).local).toBe(3);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await box.run('ip', '-br', 'link', 'show')).not.toContain('hg-');
    expect(await box.run('tc', 'qdisc', 'show')).not.toMatch(/clsact|7fe/);
  });

  it('opens every device when the ifb goes, and takes up again when it was only down', async () => {
    const program = await up();
    await box.run('ip', 'link', 'set', 'hg-ppp0', 'down');
    const open = () => program.output.filter((line) => line.includes('"state":"open"')).length;
    await expect.poll(open, { timeout: 10_000 }).toBe(2);
    expect((await redirects('ppp0')) + (await redirects('eth1'))).not.toContain('mirred');
    await ping('192.0.2.2');
    await ping('10.200.0.1');
    await box.run('ip', 'link', 'set', 'hg-ppp0', 'up');
    const again = () => program.output.filter((line) => line.includes('is up again')).length;
    await expect.poll(again, { timeout: 10_000 }).toBe(2);
    await box.run('ip', 'link', 'del', 'hg-ppp0');
    const gone = () => program.output.filter((line) => line.includes('was deleted')).length;
    await expect.poll(gone, { timeout: 10_000 }).toBe(2);
    await ping('10.200.0.1');
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await box.run('tc', 'qdisc', 'show')).not.toMatch(/clsact|7fe/);
  });

  it('a run that was killed leads its devices nowhere after down', async () => {
    const before = await snapshot();
    const program = await up();
    await program.stop('SIGKILL');
    expect((await status()).links.map(({ device, state }) => [device, state])).toEqual([
      ['ppp0', 'kept'],
      ['eth1', 'kept'],
    ]);
    expect((await exitOf(box.name, ...HEADGATE, 'down')).status).toBe(0);
    expect(await snapshot()).toBe(before);
  });
});

/** Packets that a class has sent. */
async function sentBy(ns: Namespace, device: string, classid: string): Promise<number> {
  const text = await ns.run('tc', '-s', 'class', 'show', 'dev', device, 'classid', classid);
  return Number(/Sent \d+ bytes (\d+) pkt/.exec(text)?.[1]);
}

/** Counts what tcpdump sees on a device until asked. */
async function watch(ns: Namespace, device: string, filter: string): Promise<{ count(): Promise<number> }> {
  // On standard error it says when it listens.
  const tcpdump = `exec tcpdump -n -l -s 128 --immediate-mode -i ${device} '${filter}' 2>&1`;
  const program = Program.start('tcpdump', ['sh', '-c', tcpdump], { netns: ns.name });
  let seen = 0;
  program.onLine((line) => (seen += / IP6? /.test(line) ? 1 : 0));
  await program.line((line) => line.includes('listening on'));
  return {
    count: async () => {
      await settle(() => seen);
      await program.stop('SIGINT');
      return seen;
    },
  };
}

/** Counts the datagrams that reach a socket until asked. */
async function listen(ns: Namespace, host: string, port: number): Promise<{ count(): Promise<number> }> {
  const script = `
const socket = require('node:dgram').createSocket(process.argv[1].includes(':') ? { type: 'udp6', ipv6Only: true } : 'udp4');
socket.on('message', () => console.log('datagram'));
socket.bind({ port: Number(process.argv[2]), address: process.argv[1], exclusive: true }, () => { socket.setRecvBufferSize(1 << 20); console.log('ready'); });
`;
  const program = Program.start('listener', [process.execPath, '-e', script, host, String(port)], { netns: ns.name });
  let seen = 0;
  program.onLine((line) => (seen += line === 'datagram' ? 1 : 0));
  await program.line((line) => line === 'ready');
  return {
    count: async () => {
      await settle(() => seen);
      await program.stop('SIGKILL');
      return seen;
    },
  };
}

/** Sends `count` datagrams of 1,000 bytes from one socket, as fast as it can. */
async function flood(ns: Namespace, from: string, to: string, port: number, count: number): Promise<void> {
  const script = `
const [from, to, port, count] = process.argv.slice(1);
const socket = require('node:dgram').createSocket(from.includes(':') ? 'udp6' : 'udp4');
socket.bind(0, from, async () => {
  for (let i = 0; i < Number(count); i++) await new Promise((resolve) => socket.send(Buffer.alloc(1000), Number(port), to, resolve));
  socket.close();
});
`;
  await ns.run(process.execPath, '-e', script, from, to, String(port), String(count));
}

/** Waits until a counter has stood still for 300 ms. */
async function settle(get: () => number): Promise<void> {
  for (let last = -1; ; ) {
    const now = get();
    if (now === last) return;
    last = now;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}
