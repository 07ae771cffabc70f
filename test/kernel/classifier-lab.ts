// The bench that the classifier is tried on, with the classifier on both ways of the box's `wan`:
//
//   world 192.0.2.2, 2001:db8::2 ── veth or tun ── wan 192.0.2.1, 2001:db8::1 box lan 10.0.0.1 ── 10.0.0.2 inside
//
// Classes 1, 2 and 3 are those of the origins local, remote and new; 4 and 5 are for marks. What is left alone goes
// past the classes: not through the ifb when it arrives, and by HTB's direct queue (default 0) when it leaves.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import {
  CLASSIFIER_OBJECT,
  type ClassifierConfig,
  DEADLINE_MAP,
  getBpfCounters,
  getTcStats,
  listDevices,
  listFilters,
  OUTCOMES,
  patchClassifier,
  setBpfValue,
  VERDICT_MAP,
  VERDICTS,
  type Verdict,
  verdictsOf,
} from '../../src/kernel/index.ts';
import { AccessLink, addVeth, Namespace } from '../../src/lab/index.ts';
import { type Bytes, hex } from './packets.ts';

export const BOX = { v4: '192.0.2.1', v6: '2001:db8::1', mac: '02:00:00:00:00:01' };
export const WORLD = { v4: '192.0.2.2', v6: '2001:db8::2', mac: '02:00:00:00:00:02' };
export const INSIDE = { v4: '10.0.0.2' };
export const BOX_LAN = { v4: '10.0.0.1' };

export const CONFIG = {
  markMask: 0x7f000000,
  markShift: 24,
  highestClass: 5,
  localClass: 1,
  remoteClass: 2,
  newClass: 3,
} as const;
const CLASSES = [1, 2, 3, 4, 5];

/** `in`: what arrives on `wan`, program `ingress`; `out`: what leaves by it, program `egress`. */
export type Way = 'in' | 'out';

/** Packets that were counted since an earlier reading, by verdict and by class. Zeros are left out. */
export interface Count {
  readonly verdicts: Partial<Record<Verdict, number>>;
  readonly classes: Record<number, number>;
}

export const INJECT = fileURLToPath(new URL('../../native-shim/build/inject', import.meta.url));
const ECHO = fileURLToPath(new URL('echo.mjs', import.meta.url));

/** A frame of which only the first bytes lie in the socket buffer's linear part. */
export interface PagedFrame {
  readonly linear: number;
  readonly bytes: Bytes;
}
export type Frame = Bytes | PagedFrame;

export const bytesOf = (frame: Frame): Bytes => (frame instanceof Uint8Array ? frame : frame.bytes);

export class ClassifierLab {
  readonly box: Namespace;
  readonly world: Namespace;
  readonly inside: Namespace;
  private link: AccessLink | undefined;
  private indexes: ReadonlyMap<string, number> = new Map();

  private constructor(box: Namespace, world: Namespace, inside: Namespace) {
    this.box = box;
    this.world = world;
    this.inside = inside;
  }

  static async build(link: 'veth' | 'tun' = 'veth'): Promise<ClassifierLab> {
    const made: Namespace[] = [];
    const add = async (label: string) => {
      const ns = await Namespace.add(label);
      made.push(ns);
      return ns;
    };
    try {
      const lab = new ClassifierLab(await add('box'), await add('world'), await add('inside'));
      await lab.lay(link);
      await lab.addTrees();
      lab.indexes = new Map((await listDevices({ netns: lab.box.name })).map(({ name, index }) => [name, index]));
      await lab.attach('in');
      await lab.attach('out');
      return lab;
    } catch (error) {
      await Promise.all(made.map((ns) => ns.del()));
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.link?.del();
    await Promise.all([this.box, this.world, this.inside].map((ns) => ns.del()));
  }

  /** Puts the classifier onto one way, in place of the one that is there; its counters begin at 0. */
  async attach(way: Way, config: Partial<ClassifierConfig> = {}): Promise<void> {
    const major = way === 'in' ? 0x7fe00000 : 0x7fe10000;
    const patched = patchClassifier(await readFile(CLASSIFIER_OBJECT), { ...CONFIG, major, ...config });
    const file = join(tmpdir(), `hg-${randomUUID()}.bpf.o`);
    await writeFile(file, patched);
    const where = way === 'in' ? ['ingress'] : ['parent', '7fe1:'];
    const section = way === 'in' ? 'ingress' : 'egress';
    const action = way === 'in' ? ['action', 'mirred', 'egress', 'redirect', 'dev', 'gate'] : [];
    const match = ['protocol', 'all', 'prio', '10', 'handle', '1', 'bpf', 'obj', file, 'sec', section];
    await this.box
      .run('tc', 'filter', 'replace', 'dev', 'wan', ...where, ...match, ...action)
      .finally(() => rm(file, { force: true }));
  }

  /** From so many ms on the classifier of that way lets everything pass. */
  async setDeadline(way: Way, ms: number): Promise<void> {
    const deadline = process.hrtime.bigint() + BigInt(ms) * 1_000_000n;
    expect(setBpfValue(await this.programOf(way), DEADLINE_MAP, deadline)).toBe(true);
  }

  /** Sends crafted frames towards `wan` (`in`), or out of it (`out`). */
  async inject(way: Way, ...frames: Frame[]): Promise<void> {
    const lines = frames.map((f) => (f instanceof Uint8Array ? hex(f) : `${f.linear} ${hex(f.bytes)}`));
    await (way === 'in' ? this.world : this.box).feed(`${lines.join('\n')}\n`, INJECT, 'wan');
  }

  async verdicts(way: Way): Promise<Record<Verdict, number>> {
    return verdictsOf(getBpfCounters(await this.programOf(way), VERDICT_MAP, VERDICTS.length));
  }

  private async programOf(way: Way): Promise<number> {
    const [filter] = await listFilters('wan', way === 'in' ? 'ingress' : '7fe1:', { netns: this.box.name });
    if (filter?.programId === undefined) throw new Error(`no classifier on way ${way}`);
    return filter.programId;
  }

  /** Packets that `wan` has received (`in`), or sent. What comes back from the ifb is not received twice. */
  async passed(way: Way): Promise<number> {
    const [link] = JSON.parse(await this.box.run('ip', '-json', '-stats', 'link', 'show', 'dev', 'wan'));
    return link.stats64[way === 'in' ? 'rx' : 'tx'].packets;
  }

  /** Packets that each class has sent. */
  classes(way: Way): Record<number, number> {
    const stats = getTcStats(this.box.path, this.indexes.get(way === 'in' ? 'gate' : 'wan')!);
    const classes = stats.filter(({ isClass }) => isClass);
    return Object.fromEntries(classes.map(({ handle, packets }) => [handle & 0xffff, packets]));
  }

  /**
   * Does something, and says what was counted meanwhile: as soon as that is what is `expected`, or after 5 s.
   * What hosts say of their own accord (ARP, neighbour discovery) is left alone, so no more of it is told than expected.
   */
  async counting(way: Way, act: () => Promise<unknown>, expected: Count): Promise<Count> {
    const quiet = expected.verdicts.left_alone ?? 0;
    const reading = await this.reader(way);
    await act();
    return until(
      async () => {
        const { verdicts, classes } = await reading();
        const { left_alone: leftAlone = 0, ...others } = verdicts;
        const alone = Math.min(leftAlone, quiet);
        return { verdicts: alone > 0 ? { ...others, left_alone: alone } : others, classes };
      },
      (count) => same(count, expected),
    );
  }

  /** Returns what tells the packets counted from now on. */
  async reader(way: Way): Promise<() => Promise<Count>> {
    const before = { verdicts: await this.verdicts(way), classes: this.classes(way) };
    return async () => ({
      verdicts: difference(await this.verdicts(way), before.verdicts),
      classes: difference(this.classes(way), before.classes),
    });
  }

  /**
   * Records what comes out of the classifier and the trees, as hex, with its tags: what the ifb has given back, or what
   * the world receives.
   */
  async capture(way: Way): Promise<{ frames(): string[]; stop(): Promise<void> }> {
    const [ns, device, direction] = way === 'in' ? [this.box, 'gate', 'out'] : [this.world, 'wan', 'in'];
    // The ring has a slot of snaplen bytes for each packet: 1,024 of them, more than any test sends at once.
    const output = ['-w', '-', '-U', '--immediate-mode', '-s', '16384', '-B', '16384'];
    const child = ns.start('tcpdump', '-i', device, '-Q', direction, ...output);
    const parts: Buffer[] = [];
    child.stdout!.on('data', (data: Buffer) => parts.push(data));
    const ended = once(child, 'close');
    await once(child.stderr!, 'data'); // "listening on ..."
    return {
      frames: () => readPcap(Buffer.concat(parts)).map(hex),
      stop: async () => {
        child.kill('SIGINT');
        await ended;
      },
    };
  }

  /** Starts an echo server, and waits until it listens. */
  async serve(ns: Namespace, transport: 'tcp' | 'udp', host: string, port: number): Promise<void> {
    const child = ns.start(process.execPath, ECHO, 'serve', transport, host, String(port));
    await new Promise<void>((resolve, reject) => {
      child.stdout!.once('data', () => resolve());
      child.once('exit', () => reject(new Error(`no echo server on ${host}:${port}`)));
    });
  }

  /** Sends `size` bytes to an echo server, from a given port or any; fails unless they come back. */
  async ask(
    ns: Namespace,
    transport: 'tcp' | 'udp',
    host: string,
    port: number,
    size = 100,
    sourcePort = 0,
  ): Promise<void> {
    const numbers = [port, size, sourcePort].map(String);
    await ns.run(process.execPath, ECHO, 'ask', transport, host, ...numbers);
  }

  private async lay(link: 'veth' | 'tun'): Promise<void> {
    const { box, world, inside } = this;
    for (const ns of [box, world, inside]) {
      // Nothing of its own accord: no link-local addresses, so no router solicitations.
      await ns.run(
        'sysctl',
        '-qw',
        'net.ipv6.conf.default.addr_gen_mode=1',
        'net.ipv6.conf.default.router_solicitations=0',
      );
    }
    await box.run(
      'sysctl',
      '-qw',
      'net.ipv4.ip_forward=1',
      'net.ipv6.conf.all.forwarding=1',
      'net.ipv4.icmp_ratelimit=0',
    );
    if (link === 'veth') {
      await addVeth(box, 'wan', world, 'wan');
      await box.run('ip', 'link', 'set', 'wan', 'address', BOX.mac, 'mtu', '9000');
      await world.run('ip', 'link', 'set', 'wan', 'address', WORLD.mac, 'mtu', '9000');
    } else {
      this.link = await AccessLink.add(box, 'wan', world, 'wan', { rateMbit: 1000, rttMs: 0, fifoMs: 1000 });
    }
    await addVeth(box, 'lan', inside, 'lan');
    await address(box, 'wan', BOX.v4, BOX.v6);
    await address(world, 'wan', WORLD.v4, WORLD.v6);
    await box.run('ip', 'address', 'add', `${BOX_LAN.v4}/24`, 'dev', 'lan');
    await inside.run('ip', 'address', 'add', `${INSIDE.v4}/24`, 'dev', 'lan');
    await inside.run('ip', 'route', 'add', 'default', 'via', BOX_LAN.v4);
    if (link === 'veth') {
      await neighbour(box, WORLD.v4, WORLD.mac);
      await neighbour(box, WORLD.v6, WORLD.mac);
      await neighbour(world, BOX.v4, BOX.mac);
      await neighbour(world, BOX.v6, BOX.mac);
    }
    await box.feed(TRACKING, 'nft', '-f', '-');
  }

  private async addTrees(): Promise<void> {
    const { box } = this;
    await box.run('ip', 'link', 'add', 'gate', 'type', 'ifb');
    await box.run('ip', 'link', 'set', 'gate', 'txqueuelen', '1000');
    const trees: [string, string][] = [
      ['gate', '7fe0'],
      ['wan', '7fe1'],
    ];
    const lines = trees.flatMap(([device, major]) => [
      `qdisc add dev ${device} root handle ${major}: htb default 0`,
      ...CLASSES.map((n) => `class add dev ${device} parent ${major}: classid ${major}:${n} htb rate 1gbit`),
    ]);
    await box.feed(`${[...lines, 'qdisc add dev wan clsact'].join('\n')}\n`, 'tc', '-batch', '-');
    await box.run('ip', 'link', 'set', 'gate', 'up');
  }
}

/** Asks again and again until the answer is `enough`, for 5 s; returns the last answer. */
export async function until<T>(ask: () => Promise<T>, enough: (answer: T) => boolean, patience = 5000): Promise<T> {
  const end = Date.now() + patience;
  for (;;) {
    const answer = await ask();
    if (enough(answer) || Date.now() > end) return answer;
  }
}

/** Packets seen: the sum of the outcomes. */
export const outcomes = (count: Count): number => OUTCOMES.reduce((sum, name) => sum + (count.verdicts[name] ?? 0), 0);

const same = (a: Count, b: Count): boolean => isDeepStrictEqual(a, b);

/** The packets of a capture file (pcap-savefile(5)), as far as they are there. */
function readPcap(file: Buffer): Buffer[] {
  const packets: Buffer[] = [];
  for (let at = 24; at + 16 <= file.length; ) {
    const end = at + 16 + file.readUInt32LE(at + 8);
    if (end > file.length) break;
    packets.push(file.subarray(at + 16, end));
    at = end;
  }
  return packets;
}

function difference<T extends Record<string | number, number>>(now: T, before: T): T {
  const entries = Object.entries(now).map(([key, value]) => [key, value - (before[key] ?? 0)] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== 0)) as T;
}

async function address(ns: Namespace, device: string, v4: string, v6: string): Promise<void> {
  await ns.run('ip', 'address', 'add', `${v4}/24`, 'dev', device);
  await ns.run('ip', 'address', 'add', `${v6}/64`, 'dev', device, 'nodad');
}

const neighbour = (ns: Namespace, host: string, mac: string) =>
  ns.run('ip', 'neighbour', 'replace', host, 'lladdr', mac, 'dev', 'wan', 'nud', 'permanent');

/** Any rule with `ct` makes the kernel track connections in a namespace. */
const TRACKING = `table inet tracking {
	chain input {
		type filter hook input priority 0; policy accept;
		ct state established accept
	}
}
`;
