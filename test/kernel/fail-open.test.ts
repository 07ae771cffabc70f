// Whatever happens to the link, its ifb, the service and what others have beside it, in whatever order: a stream of packets goes
// on while the link is up, also where the service is dead, and nothing of ours leads to an ifb that is down or gone for longer than
// a moment, unless the service hangs.
// Shown on the machine's own kernel (6.18: cls_bpf, HTB, u32).
//
// HEADGATE_RUNS=100 for more runs, HEADGATE_SEED=N for those of a seed.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import { Gateway, WORLD } from './gateway.ts';
import { Heartbeat } from './heartbeat.ts';
import { PATIENCE, soon } from './soon.ts';

const RUNS = Number(process.env.HEADGATE_RUNS ?? 8);
const SEED = Number(process.env.HEADGATE_SEED ?? Date.now() & 0x7fffffff);
/** Things that happen in one run. */
const STEPS = 14;
/** Ms without an answer, at most, where nothing happens to the link itself. Most of it is the machine's, when it is busy. */
const LONGEST_GAP = 1000 * PATIENCE;

const policyOf = (rate: string) => `link wan { device wan  download ${rate}  upload 20mbit }
queue mine { share 70% }  queue theirs { share 10% }
rule less when udp and remote.port 9 -> theirs
default local -> mine  remote -> theirs  new -> theirs
`;

/** A gateway with what is known of it. */
class World {
  readonly gateway: Gateway;
  readonly file: string;
  program: Program | undefined;
  service: 'runs' | 'stopped' | 'dead' = 'dead';
  /** What the link is called; undefined: it was deleted. */
  device: string | undefined = 'wan';
  up = true;
  /** The ifb was touched while the service hung: until it goes on or ends, packets may be lost (docs/limits.md). */
  blind = false;
  reloads = 0;
  readonly heartbeat: Heartbeat;

  constructor(gateway: Gateway) {
    this.gateway = gateway;
    this.heartbeat = Heartbeat.start(gateway.box, WORLD);
    this.file = join(gateway.folder, 'test.gate');
  }

  box = (command: string): Promise<string> => this.gateway.box.run(...(command.split(' ') as [string, ...string[]]));
  /** What may fail: somebody was quicker, or it is not there. */
  try = (command: string): Promise<unknown> => this.box(command).catch(() => {});

  /** Packets must pass now. */
  get flows(): boolean {
    return this.device !== undefined && this.up && !this.blind;
  }

  /** Nothing of ours is there, and of others and of the link all is as it was at the beginning. */
  async reset(): Promise<void> {
    const { device } = this;
    if (device === undefined) await STEPS_BY_NAME['link made again']!.do(this);
    else {
      await this.try(`tc qdisc del dev ${device} root`);
      await this.try(`tc qdisc del dev ${device} clsact`);
      if (device !== 'wan') await STEPS_BY_NAME['link renamed']!.do(this);
      await this.setLink('up');
      await this.box(`ip route replace default via ${WORLD}`);
    }
    await writeFile(this.file, policyOf('50mbit'));
  }

  async setLink(state: 'up' | 'down'): Promise<void> {
    await this.box(`ip link set ${this.device} ${state}`);
    this.up = state === 'up';
  }

  async ifb(command: (name: string) => string): Promise<void> {
    const name = /(\S+):/.exec((await this.box('ip -o link show type ifb')).replace(/^\d+: /, ''))?.[1];
    if (!name) return;
    this.blind ||= this.service === 'stopped';
    await this.try(command(name));
  }

  async start(): Promise<void> {
    this.program = this.gateway.start([this.file]);
    const { ended } = this.program;
    const ready = this.gateway.ready(this.program).then(
      () => undefined,
      () => ended,
    );
    const ending = await Promise.race([ready, ended]);
    this.blind = false;
    if (ending === undefined) this.service = 'runs';
    // No device, or somebody else's qdisc or filter.
    else expect([3, 4]).toContain(ending.status);
  }

  async signal(signal: NodeJS.Signals): Promise<void> {
    process.kill(this.program!.pid!, signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM') {
      await this.program!.ended;
      this.service = 'dead';
    } else this.service = signal === 'SIGSTOP' ? 'stopped' : 'runs';
    // Killed, it leaves a guard, who looks.
    if (signal !== 'SIGSTOP') this.blind = false;
  }
}

/** What can happen, and when; it may come to nothing. */
const STEPS_BY_NAME: Record<string, { when?: (world: World) => boolean; do: (world: World) => Promise<unknown> }> = {
  'link down': { when: (w) => w.device !== undefined, do: (w) => w.setLink('down') },
  'link up': { when: (w) => w.device !== undefined, do: (w) => w.setLink('up') },
  'link deleted': {
    when: (w) => w.device !== undefined,
    do: async (w) => {
      await w.box(`ip link del ${w.device}`);
      w.device = undefined;
    },
  },
  'link made again': {
    when: (w) => w.device === undefined,
    do: async (w) => {
      await w.gateway.layWan();
      w.up = true;
      w.device = 'wan';
    },
  },
  'link renamed': {
    when: (w) => w.device !== undefined,
    do: async (w) => {
      const name = w.device === 'wan' ? 'away' : 'wan';
      await w.box(`ip link set ${w.device} name ${name}`);
      w.device = name;
    },
  },
  'ifb down': { do: (w) => w.ifb((name) => `ip link set ${name} down`) },
  'ifb up': { do: (w) => w.ifb((name) => `ip link set ${name} up`) },
  'ifb deleted': { do: (w) => w.ifb((name) => `ip link del ${name}`) },
  'ifb renamed': {
    do: (w) => w.ifb((name) => `ip link set ${name} name ${name === 'hg-wan' ? 'hg-other' : 'hg-wan'}`),
  },
  'foreign root': { do: (w) => w.try(`tc qdisc replace dev ${w.device} root handle 1: pfifo`) },
  'no root': { do: (w) => w.try(`tc qdisc del dev ${w.device} root`) },
  'foreign filter': {
    do: (w) => w.try(`tc filter add dev ${w.device} ingress pref 5 protocol ip u32 match u32 0 0 flowid :1`),
  },
  'no foreign filter': { do: (w) => w.try(`tc filter del dev ${w.device} ingress pref 5`) },
  'no filters': { do: (w) => w.try(`tc filter del dev ${w.device} ingress`) },
  'no hook': { do: (w) => w.try(`tc qdisc del dev ${w.device} clsact`) },
  'no nft': { do: (w) => w.box('nft flush ruleset') },
  'service started': { when: (w) => w.service === 'dead', do: (w) => w.start() },
  'service killed': { when: (w) => w.service !== 'dead', do: (w) => w.signal('SIGKILL') },
  'service stopped': { when: (w) => w.service === 'runs', do: (w) => w.signal('SIGSTOP') },
  'service goes on': { when: (w) => w.service === 'stopped', do: (w) => w.signal('SIGCONT') },
  reloaded: {
    when: (w) => w.service === 'runs',
    do: async (w) => {
      await writeFile(w.file, policyOf(w.reloads++ % 2 ? '50mbit' : '40mbit'));
      const { status, stderr } = await w.gateway.headgate('reload');
      // Another's tree stands where ours is to change.
      expect([0, 1, 4, 5], stderr).toContain(status);
    },
  },
  'taken down': {
    when: (w) => w.service !== 'stopped',
    do: async (w) => {
      expect((await w.gateway.headgate('down')).status).toBe(0);
      [w.service, w.blind] = ['dead', false];
      await w.program?.ended;
    },
  },
};

/** What holds after each step, in a moment. */
async function settled(world: World): Promise<void> {
  if (world.flows) await world.heartbeat.since(Date.now());
  if (world.service === 'stopped') return;
  await soon(async () => {
    const links = await world.box('ip -o link show');
    for (const [, name] of links.matchAll(/^\d+: ([^:@]+)/gm)) {
      const filters = await world.box(`tc filter show dev ${name} ingress`).catch(() => '');
      for (const [, to] of filters.matchAll(/Redirect to device (\S+)\)/g))
        expect(links).toMatch(new RegExp(`: ${to}: <[^>]*UP`));
    }
  });
}

/** One thing happens; the longest time without an answer meanwhile, in ms, where packets had to pass all the time. */
async function step(world: World, name: string): Promise<number> {
  const [flowed, begin] = [world.flows && !name.startsWith('link '), Date.now()];
  await STEPS_BY_NAME[name]!.do(world);
  await settled(world);
  const gap = flowed && world.flows ? await world.heartbeat.longestGap(begin, Date.now()) : 0;
  expect(gap, `ms without an answer: ${name}`).toBeLessThanOrEqual(LONGEST_GAP);
  return gap;
}

/** @returns the longest gap, and the step that it was in */
async function live(world: World, steps: readonly string[]): Promise<readonly [gap: number, name: string]> {
  const done: string[] = [];
  let longest: readonly [number, string] = [0, ''];
  try {
    await world.start();
    await settled(world);
    for (const name of steps) {
      const { when = () => true } = STEPS_BY_NAME[name]!;
      if (!when(world)) continue;
      done.push(name);
      const gap = await step(world, name);
      if (gap > longest[0]) longest = [gap, name];
    }
    if (world.service === 'stopped') await world.signal('SIGCONT');
    expect((await world.gateway.headgate('down')).status).toBe(0);
    await world.program?.ended;
    [world.service, world.blind] = ['dead', false];
    const left = [
      await world.box('ip link show type ifb'),
      await world.box('tc qdisc show'),
      await world.box('nft list tables'),
    ].join('');
    expect(left).not.toMatch(/hg[-_=]|htb 7f|headgate/);
    await world.reset();
    return longest;
  } catch (error) {
    throw new Error(
      `after ${done.join(', ')}: ${error instanceof Error ? error.message : error}\n${(world.program?.output ?? []).slice(-6).join('\n')}`,
      { cause: error },
    );
  }
}

it(
  `any ${STEPS} of ${Object.keys(STEPS_BY_NAME).length} things, ${RUNS} times (HEADGATE_SEED=${SEED})`,
  async ({ annotate }) => {
    const steps = fc.array(fc.constantFrom(...Object.keys(STEPS_BY_NAME)), { minLength: STEPS, maxLength: STEPS });
    const gaps: (readonly [number, string])[] = [];
    const gateway = await Gateway.build();
    const world = new World(gateway);
    try {
      await writeFile(world.file, policyOf('50mbit'));
      // One that failed is not followed by others, so all runs can have the gateway.
      const run = async (names: readonly string[]) => void gaps.push(await live(world, names));
      await fc.assert(fc.asyncProperty(steps, run), { seed: SEED, numRuns: RUNS, endOnFailure: true });
      await annotate(`longest without an answer: ${gaps.map(([gap, name]) => `${gap} ms (${name})`).join(', ')}`);
    } finally {
      if (world.service === 'stopped') process.kill(world.program!.pid!, 'SIGCONT');
      await world.heartbeat.stop();
      await gateway.close();
    }
  },
  120_000 + 120_000 * RUNS * PATIENCE,
);
