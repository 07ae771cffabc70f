// No bit of the mark that is not ours ever changes, whatever happens: random flows, reloads, crashes and restarts, beside
// somebody else who uses marks. One gateway for all. Shown on the machine's own kernel (6.18: datapaths bpf and map).

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Namespace, Program } from '../../src/lab/index.ts';
import { DEFAULT_MARK_FIELD, formatMark, type MarkField, markFieldOf } from '../../src/model/index.ts';
import { Gateway, INSIDE, WAN, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { Foreigner, RULES, writePolicy } from './marks-lab.ts';

const INSIDE6 = 'fd00:a::2';
const WORLD6 = 'fd00:b::2';

/** Of each datapath and each field. */
const RUNS = 3;

let gateway: Gateway;
let inside: Host;
let world: Host;
let program: Program | undefined;
beforeAll(async () => {
  gateway = await Gateway.build();
  await lay6();
});
afterAll(() => gateway.close());

type Step =
  | {
      readonly kind: 'flow';
      readonly from: 'inside' | 'world';
      readonly port: number;
      readonly l4: 'udp' | 'tcp';
      readonly six: boolean;
    }
  | { readonly kind: 'reload'; readonly rules: keyof typeof RULES }
  | { readonly kind: 'hangup' | 'restart' | 'crash' | 'down' };

const PORTS = [5000, 5001] as const;
const SEEDED = 51413;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('flow' as const),
      from: fc.constantFrom('inside' as const, 'world' as const),
      port: fc.constantFrom(...PORTS),
      l4: fc.constantFrom('udp' as const, 'tcp' as const),
      six: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('reload' as const),
      rules: fc.constantFrom('none' as const, 'five' as const, 'all' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('hangup' as const, 'restart' as const, 'crash' as const, 'down' as const),
    }),
  },
);

describe.each(['bpf', 'map'])('no bit of anybody else’s ever changes (%s)', (datapath) => {
  it.each<[string, MarkField]>([
    ['the default bits', DEFAULT_MARK_FIELD],
    ['bits in the middle', markFieldOf(0x0003f800)!],
  ])(
    'under flows, reloads, crashes and down, with %s',
    async (_, field) => {
      const foreign = fc.integer({ min: 0, max: 0xffffffff }).map((mark) => (mark & ~field.mask) >>> 0);
      const steps = fc.array(step, { minLength: 6, maxLength: 10 });
      await fc.assert(
        fc.asyncProperty(fc.tuple(foreign, foreign, foreign), steps, (marks, more) =>
          holdsDuring(datapath, field, marks, more),
        ),
        { numRuns: RUNS, endOnFailure: true },
      );
    },
    240_000,
  );
});

async function holdsDuring(datapath: string, field: MarkField, marks: readonly number[], more: readonly Step[]) {
  const byPort = { [PORTS[0]]: marks[0]!, [PORTS[1]]: marks[1]!, [SEEDED]: marks[2]! };
  const file = await writePolicy(gateway.folder, policyRules(field, 'five'));
  const foreigner = await Foreigner.add(gateway.box, byPort, field);
  // So that every run has flows that are marked, and of both families.
  const steps: Step[] = [
    { kind: 'reload', rules: 'all' },
    { kind: 'flow', from: 'inside', port: 5000, l4: 'udp', six: true },
    { kind: 'flow', from: 'world', port: 5000, l4: 'udp', six: false },
    ...more,
  ];
  const start = async () => {
    program = await gateway.up(file, '--datapath', datapath);
  };
  const ours = (all: readonly number[]) => all.filter((mark) => (mark & field.mask) !== 0);
  let marked = 0;
  try {
    await start();
    for (const one of steps) {
      await take(one, field, start);
      const now = await foreigner.entries();
      expect(now.changed, JSON.stringify(one)).toEqual([]);
      marked += ours(now.marks).length;
    }
    expect(marked).toBeGreaterThan(0);
    await program!.stop('SIGTERM');
    const after = await foreigner.entries();
    expect(after.count).toBeGreaterThan(0);
    expect(after.changed).toEqual([]);
    expect(ours(after.marks)).toEqual([]);
    expect(await foreigner.counters()).toMatchObject({ 'changed-flow': 0, 'changed-packet': 0 });
    const flows = steps.filter(({ kind }) => kind === 'flow').length;
    expect((await foreigner.counters()).seen).toBeGreaterThanOrEqual(2 * flows);
  } finally {
    await program?.stop('SIGTERM');
    await gateway.box.run('nft', 'delete', 'table', 'inet', 'foreign');
    await gateway.box.run('conntrack', '-F').catch(() => {});
  }
}

const policyRules = (field: MarkField, rules: keyof typeof RULES): string =>
  `marks ${formatMark(field.mask)}\n${RULES[rules]}`;

async function take(one: Step, field: MarkField, start: () => Promise<void>): Promise<void> {
  if (one.kind === 'flow') {
    const [from, address, port] =
      one.from === 'inside'
        ? [inside, one.six ? WORLD6 : WORLD, one.port]
        : [world, one.six ? INSIDE6 : WAN, one.six ? one.port : SEEDED];
    await from.ask({ transport: one.l4, address, port, size: 200, times: 1 });
  } else if (one.kind === 'reload') {
    await writePolicy(gateway.folder, policyRules(field, one.rules));
    expect((await gateway.headgate('reload')).status).toBe(0);
  } else if (one.kind === 'hangup') process.kill(program!.pid!, 'SIGHUP');
  else {
    if (one.kind === 'crash') await program!.stop('SIGKILL');
    else if (one.kind === 'restart') await program!.stop('SIGTERM');
    else expect((await gateway.headgate('down')).status).toBe(0);
    await start();
  }
}

async function lay6(): Promise<void> {
  const { box } = gateway;
  const add = (ns: Namespace, address: string, device: string) =>
    ns.run('ip', 'address', 'add', address, 'dev', device, 'nodad');
  await box.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1', 'net.netfilter.nf_conntrack_udp_timeout=600');
  await add(box, 'fd00:a::1/64', 'lan');
  await add(gateway.inside, `${INSIDE6}/64`, 'eth0');
  await add(box, 'fd00:b::1/64', 'wan');
  await add(gateway.world, `${WORLD6}/64`, 'up0');
  await gateway.inside.run('ip', '-6', 'route', 'add', 'default', 'via', 'fd00:a::1');
  await gateway.world.run('ip', '-6', 'route', 'add', 'fd00:a::/64', 'via', 'fd00:b::1');
  [inside, world] = await Promise.all([Host.start(gateway.inside), Host.start(gateway.world)]);
  for (const l4 of ['udp', 'tcp'] as const) {
    for (const port of PORTS) {
      for (const address of [WORLD, WORLD6]) await world.serve(l4, address, port);
      await inside.serve(l4, INSIDE6, port);
    }
    await inside.serve(l4, INSIDE, SEEDED);
  }
}
