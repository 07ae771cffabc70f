import { spawn } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ADDRESSES,
  delLeftovers,
  Lab,
  type LabOptions,
  Namespace,
  parseReply,
  ping,
  receivedMbit,
  receivedRates,
  type Sample,
  summarize,
  TORRENT_PORT,
  Transfer,
} from '../../src/lab/index.ts';
import { soon } from './soon.ts';

const LINK: LabOptions = { rateMbit: 20, rttMs: 30, fifoMs: 250, nat: true };

let lab: Lab | undefined;
const build = async (options: Partial<LabOptions> = {}) => (lab = await Lab.build({ ...LINK, ...options }));

afterEach(async () => {
  await lab?.close();
  lab = undefined;
});

/** Two samples, at least `seconds` of the transfer's own time apart. */
async function measure(transfer: Transfer, seconds: number): Promise<[Sample, Sample]> {
  const first = await transfer.sample();
  let last = await transfer.sample();
  while (last.at - first.at < seconds * 1000) last = await transfer.sample();
  return [first, last];
}

describe('the access link', () => {
  it('has its round trip when idle, for IPv4 and IPv6', async () => {
    const { lan } = await build();
    for (const address of [ADDRESSES.world.v4, ADDRESSES.world.v6]) {
      const { p50, lossPct } = await ping(lan, address, 1);
      expect(lossPct).toBe(0);
      expect(p50).toBeGreaterThanOrEqual(30);
      expect(p50).toBeLessThan(33);
    }
  });

  it('carries its rate each way', async () => {
    const { lan, world } = await build();
    const web = await Transfer.serve(world, ADDRESSES.world.v4, 80);
    // One connection each: several that start at once lose so much that their data arrives in jumps.
    for (const wish of ['fetch', 'push'] as const) {
      const local = await Transfer.open(lan, wish, ADDRESSES.world.v4, 80, 1);
      const sink = wish === 'fetch' ? local : web;
      await measure(sink, 1);
      const rate = receivedMbit(...(await measure(sink, 2)));
      expect(rate, wish).toBeGreaterThan(18);
      expect(rate, wish).toBeLessThan(20);
      await local.stop();
    }
  });

  it('delays by its FIFO, and drops what finds that full', async () => {
    const { lan, world, link } = await build();
    const web = await Transfer.serve(world, ADDRESSES.world.v4, 80);
    const down = await Transfer.open(lan, 'fetch', ADDRESSES.world.v4, 80, 8);
    await measure(down, 2);
    const { p50 } = await ping(lan, ADDRESSES.world.v4, 2);
    expect(p50).toBeGreaterThan(130);
    expect(p50).toBeLessThan(30 + 250 + 5);
    await Promise.all([down.stop(), web.stop()]);
    const [toWorld, toBox] = await link.del();
    expect(toBox.drops).toBeGreaterThan(0);
    expect(toBox.bytes).toBeGreaterThan(4e6);
    expect(toWorld.drops).toBe(0);
    expect(toWorld.packets).toBeGreaterThan(1000);
  });

  it('takes its devices along when it ends by SIGTERM', async () => {
    const { box, link } = await build();
    expect(await box.run('ip', '-br', 'link', 'show', 'wan')).toContain('wan');
    process.kill(link.pid!, 'SIGTERM');
    await link.del();
    expect(await box.run('ip', '-br', 'link')).not.toContain('wan');
  });

  it('names what it cannot use', async () => {
    await expect(build({ rateMbit: 0 })).rejects.toMatchObject({
      code: 'HG_LAB',
      message: expect.stringMatching(/KBIT must be 1 to 1000000/),
    });
    expect(await ownNamespaces()).toEqual([]);
  });
});

describe('the lab', () => {
  it('hides the LAN host behind the box, and forwards the torrent port to it', async () => {
    const { box, lan, world } = await build({ rttMs: 4 });
    const torrent = await Transfer.serve(lan, ADDRESSES.lan.v4, TORRENT_PORT);
    const web = await Transfer.serve(world, ADDRESSES.world.v4, 80);
    const remote = await Transfer.open(world, 'push', ADDRESSES.box.v4, TORRENT_PORT, 8);
    const local = await Transfer.open(lan, 'push', ADDRESSES.world.v4, 80, 1);
    const rates = receivedRates(...(await measure(torrent, 1)));
    expect(rates).toHaveLength(8);
    expect(Math.min(...rates)).toBeGreaterThan(0);
    expect(receivedMbit(...(await measure(web, 1)))).toBeGreaterThan(0);

    const established = (peers: string) => world.run('ss', '-Htn', 'state', 'established', peers);
    expect(await established('( sport = :80 )')).toContain(`${ADDRESSES.box.v4}:`);
    expect(await established('( sport = :80 )')).not.toContain(ADDRESSES.lan.v4);
    expect(await box.run('conntrack', '-L', '-p', 'tcp', '--dport', String(TORRENT_PORT))).toContain(
      `src=${ADDRESSES.lan.v4}`,
    );
    await Promise.all([remote.stop(), local.stop()]);
  });

  it('routes without NAT when asked to, and IPv6 always', async () => {
    const { lan, world } = await build({ nat: false, rttMs: 4 });
    for (const family of ['v4', 'v6'] as const) {
      const torrent = await Transfer.serve(lan, ADDRESSES.lan[family], TORRENT_PORT);
      const remote = await Transfer.open(world, 'push', ADDRESSES.lan[family], TORRENT_PORT, 1);
      expect(receivedMbit(...(await measure(torrent, 1)))).toBeGreaterThan(0);
      await Promise.all([remote.stop(), torrent.stop()]);
    }
  });

  it('speaks CUBIC, whatever the machine prefers', async () => {
    const { lan, world } = await build({ rttMs: 4 });
    await Transfer.serve(world, ADDRESSES.world.v4, 80);
    await Transfer.open(lan, 'fetch', ADDRESSES.world.v4, 80, 1);
    for (const host of [lan, world]) expect(await host.run('ss', '-Htin', 'state', 'established')).toMatch(/\bcubic\b/);
  });

  it('says why a connection cannot be opened', async () => {
    const { lan } = await build({ rttMs: 4 });
    await expect(Transfer.open(lan, 'fetch', ADDRESSES.world.v4, 81, 1)).rejects.toMatchObject({
      code: 'HG_LAB',
      message: expect.stringMatching(/ECONNREFUSED/),
    });
  });

  it('leaves no namespace and no process', async () => {
    const { box, lan, world, link } = await build({ rttMs: 4 });
    const web = await Transfer.serve(world, ADDRESSES.world.v4, 80);
    const down = await Transfer.open(lan, 'fetch', ADDRESSES.world.v4, 80, 1);
    const pids = [link.pid!, web.pid!, down.pid!];
    for (const pid of pids) expect(isAlive(pid)).toBe(true);
    await lab!.close();
    await soon(() => expect(pids.filter(isAlive)).toEqual([])); // killed, and reaped by us soon
    expect(await ownNamespaces()).toEqual([]);
    expect([box, lan, world].map((ns) => ns.name)).toHaveLength(3);
  });
});

describe('leftovers', () => {
  it('are removed where their maker is dead, and only there', async () => {
    const mine = await Namespace.add('mine');
    const dead = await deadPid();
    const left = `hg-${dead}-0-box`;
    try {
      await mine.run('ip', 'netns', 'add', left);
      const removed = await delLeftovers();
      expect(removed).toContain(left);
      expect(removed).not.toContain(mine.name);
      const names = await listNamespaces();
      expect(names).not.toContain(left);
      expect(names).toContain(mine.name);
    } finally {
      await mine.del();
    }
  });
});

describe("ping's output", () => {
  it('is read by line', () => {
    expect(parseReply('64 bytes from 198.51.100.1: icmp_seq=12 ttl=63 time=30.4 ms')).toEqual({
      sequence: 12,
      ms: 30.4,
    });
    expect(parseReply('[1732296252.1] 64 bytes from ::1: icmp_seq=1 ttl=64 time=281 ms')?.ms).toBe(281);
    expect(parseReply('From 198.51.100.2 icmp_seq=3 Destination Host Unreachable')).toBeUndefined();
    expect(parseReply('rtt min/avg/max/mdev = 30.3/30.4/30.5/0.0 ms')).toBeUndefined();
  });

  it('is summed up by nearest rank', () => {
    const trips = Array.from({ length: 20 }, (_, i) => 20 - i);
    expect(summarize(trips, 25)).toEqual({ p50: 10, p95: 19, lossPct: 20 });
    expect(summarize([], 10)).toEqual({ p50: undefined, p95: undefined, lossPct: 100 });
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The id of a process that was ours and has ended. */
const deadPid = () =>
  new Promise<number>((resolve) => {
    const child = spawn('true');
    child.on('exit', () => resolve(child.pid!));
  });

const listNamespaces = () =>
  new Promise<string[]>((resolve) => {
    const child = spawn('ip', ['netns', 'list']);
    let text = '';
    child.stdout.on('data', (part) => (text += part));
    child.on('close', () => resolve(text.split('\n').flatMap((line) => line.split(' ')[0] || [])));
  });

const ownNamespaces = async () => (await listNamespaces()).filter((name) => name.startsWith(`hg-${process.pid}-`));
