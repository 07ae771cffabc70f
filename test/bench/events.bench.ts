// What one conntrack event costs, processor time of the whole process (user and system): the service with a live rule
// that every flow may come to be taken by, against conntrack -E, ulogd2 that writes JSON, and a reader in C that does nothing. Each
// hears the same storms in turn, in one run; the median of three rounds counts. A first storm, which does not count, is for
// node's compiler and everybody's caches: a service that has run for a minute has both. What was lost on the way to a consumer is not
// counted as an event of his. A storm of which the service lost any does not count, nor one of which another lost much, but for
// conntrack -E, which cannot follow the fast one. Then, how many a second the service can follow without a loss.

import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';
import { BenchLab, median, native, type Running, rests, spentByThreads, WATCHED } from './bench-lab.ts';
import { note } from './report.ts';

const LAG = 5000;
/** Flows of the first storm. */
const WARM = 100_000;
/** Flows a second: as many as the slowest can follow. */
const SLOW = 12_000;
const STORMS = [
  { rate: SLOW, flows: 90_000 },
  { rate: 50_000, flows: 200_000 },
] as const;
type Storm = (typeof STORMS)[number];
const PROFILED = 240_000;
/** Each flow's beginning, and the end of all but the last. */
const eventsOf = ({ flows }: Storm): number => 2 * flows - LAG;
/** Events a second that are asked for. */
const speedOf = (storm: Storm): number => Math.round((storm.rate * eventsOf(storm)) / storm.flows / 1000) * 1000;
/** The part of a storm that may be missed: the buffer of `conntrack -E` stays small, whatever `-b` says (1.4.7). */
const MOST_MISSED = 0.1;
const ROUNDS = 3;
const MOST_ROUNDS = 6;

interface Consumer {
  readonly name: string;
  /** It may lose what it cannot follow. */
  readonly overrun?: boolean;
  /** Resolves when it says that it listens; one that says nothing is given the first storm. */
  readonly start: () => Promise<Running>;
}

/** Ns an event of each storm; undefined: too many were lost, as may be on a busy machine. */
async function measure(lab: BenchLab, { start, overrun = false }: Consumer): Promise<(number | undefined)[]> {
  await lab.flush();
  const running = await start();
  const costs: (number | undefined)[] = [];
  try {
    const pid = running.child.pid!;
    lab.storm(WARM, SLOW, LAG);
    for (const storm of STORMS) {
      await rests(pid);
      await lab.flush();
      const before = await rests(pid);
      const lost = await lab.drops();
      const said = running.said().length;
      lab.storm(storm.flows, storm.rate, LAG);
      const spent = (await rests(pid)) - before;
      const events = eventsOf(storm);
      const missed = (await lab.drops()) - lost;
      const counts = !running.said().slice(said).includes('"overrun"') && (overrun || missed <= MOST_MISSED * events);
      costs.push(counts ? (spent / (events - missed)) * 1e9 : undefined);
    }
    return costs;
  } finally {
    await running.end('SIGTERM');
  }
}

test('an event', { timeout: 1_200_000 }, () =>
  BenchLab.with(async (lab) => {
    const ulogd = join(lab.folder, 'ulogd.conf');
    await writeFile(
      ulogd,
      `[global]
logfile="/dev/null"
plugin="ulogd_inpflow_NFCT.so"
plugin="ulogd_filter_IP2STR.so"
plugin="ulogd_output_JSON.so"
stack=ct1:NFCT,ip2str1:IP2STR,json1:JSON
[ct1]
event_mask=0x00000005
netlink_socket_buffer_size=33554432
netlink_socket_buffer_maxsize=33554432
hash_enable=0
[json1]
file="/dev/null"
`,
    );
    const consumers: Consumer[] = [
      { name: 'headgate up, whole service', start: () => lab.up(WATCHED) },
      { name: 'C, libnetfilter_conntrack, does nothing', start: () => lab.start([native('read_events')], /ready/) },
      // The faster storm is more than conntrack -E follows, and on a slow day more than ulogd2 does: what was read counts.
      { name: 'ulogd2, JSON to /dev/null', overrun: true, start: () => lab.start(['ulogd', '-c', ulogd]) },
      {
        name: 'conntrack -E to /dev/null',
        overrun: true,
        start: () => lab.start(['sh', '-c', `exec conntrack -E -e NEW,DESTROY -b ${32 << 20} > /dev/null 2>&1`]),
      },
    ];
    const found = consumers.map(() => STORMS.map((): number[] => []));
    const lacks = (rounds: readonly number[][]) => rounds.some(({ length }) => length < ROUNDS);
    for (let round = 0; round < MOST_ROUNDS && found.some(lacks); round++)
      for (const [i, consumer] of consumers.entries()) {
        if (!lacks(found[i]!)) continue;
        for (const [j, cost] of (await measure(lab, consumer)).entries())
          if (cost !== undefined && found[i]![j]!.length < ROUNDS) found[i]![j]!.push(cost);
      }
    for (const [i, { name }] of consumers.entries())
      expect(lacks(found[i]!), `${name}: too many rounds with a loss`).toBe(false);
    for (const [j, storm] of STORMS.entries()) {
      const costs = found.map((rounds) => median(rounds[j]!));
      const [own, c, json, text] = costs as [number, number, number, number];
      expect(Math.min(c, json, text)).toBeGreaterThan(0);
      note(`one event, of ${speedOf(storm).toLocaleString('en')} a second`, [
        ...consumers.map(({ name }, i) => ({ what: name, value: costs[i]!, unit: 'ns' })),
        { what: 'the service against conntrack -E', value: own / text, unit: '', goal: { most: 1 / 15 } },
        { what: 'the service against ulogd2', value: own / json, unit: '', goal: { most: 1 / 6 } },
        { what: 'the service against the reader in C', value: own / c, unit: '', goal: { most: 0.8 } },
      ]);
    }
  }),
);

test('events without a loss', { timeout: 120_000 }, () =>
  BenchLab.with(async (lab) => {
    const up = await lab.up(WATCHED);
    const pid = up.child.pid!;
    // As fast as it goes, until the ring has grown to its most, 32 MiB.
    for (let i = 0; i < 4; i++) {
      lab.storm(200_000, 0, LAG);
      await lab.flush();
      await rests(pid);
    }
    let [most, made, missed] = [0, 0, 0];
    // The last, as fast as it goes: what was made, and what of it was missed.
    for (const rate of [50_000, 100_000, 150_000, 200_000, 0]) {
      await lab.flush();
      await rests(pid);
      const before = up.said().length;
      // Two seconds' worth, and some that ends nothing.
      const flows = Math.max(2 * rate, 200_000);
      const seconds = lab.storm(flows, rate, LAG);
      await rests(pid);
      const overruns = [
        ...up
          .said()
          .slice(before)
          .matchAll(/"kind":"overrun","count":(\d+)/g),
      ];
      made = (2 * flows - LAG) / seconds;
      missed = overruns.reduce((sum, [, n]) => sum + Number(n), 0);
      if (overruns.length === 0) most = Math.max(most, made);
    }
    await up.end('SIGTERM');
    expect(most).toBeGreaterThan(0);
    note('events a second', [
      {
        what: 'the most that the service has followed without a loss, its ring grown to 32 MiB',
        value: most,
        unit: '',
      },
      { what: 'the most that were made here beside it', value: made, unit: '' },
      { what: 'events of that storm lost', value: missed, unit: '' },
    ]);
  }),
);

test('where the time of an event goes', { timeout: 180_000 }, () =>
  BenchLab.with(async (lab) => {
    const policy = join(lab.folder, 'bench.gate');
    await writeFile(policy, WATCHED);
    const profile = join(lab.folder, 'profile.json');
    const node = ['env', `PROFILE=${profile}`, process.execPath, '--import', packageFile('test/bench/profiled.mjs')];
    const up = await lab.start([...node, packageFile('dist/cli/headgate.js'), 'up', '--json', policy], /"ready"/);
    const pid = up.child.pid!;
    lab.storm(WARM, SLOW, LAG);
    await rests(pid);
    await lab.flush();
    await rests(pid);
    const flows = PROFILED;
    const events = 2 * flows - LAG;
    process.kill(pid, 'SIGUSR2');
    await rests(pid);
    const before = await spentByThreads(pid);
    lab.storm(flows, SLOW, LAG);
    await rests(pid);
    const after = await spentByThreads(pid);
    await up.end('SIGTERM');
    const [main, shim, others] = (['main', 'shim', 'others'] as const).map(
      (thread) => ((after[thread] - before[thread]) / events) * 1e9,
    ) as [number, number, number];
    const spent = spentIn(JSON.parse(await readFile(profile, 'utf8')));
    const all = [...spent.values()].reduce((sum, time) => sum + time, 0);
    expect(all).toBeGreaterThan(0);
    const most = [...spent].toSorted(([, a], [, b]) => b - a).slice(0, 16);
    note('where the time of one event goes, in the whole service, with a profiler that runs beside it', [
      { what: "the shim's thread: from the kernel's ring to a record", value: shim, unit: 'ns' },
      { what: "node's other threads: its collector and compiler", value: others, unit: 'ns' },
      { what: 'the main thread', value: main, unit: 'ns' },
      ...most.map(([what, time]) => ({
        what: `of it by itself: ${what}`,
        value: (main * time) / all,
        unit: 'ns',
      })),
    ]);
  }),
);

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Of a profile, us by function, idle time left out. */
function spentIn(profile: Profile): Map<string, number> {
  const names = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, url } }) => [
      id,
      `${functionName || 'anonymous'}${url ? `, ${basename(url)}` : ''}`,
    ]),
  );
  const spent = new Map<string, number>();
  for (const [i, sample] of profile.samples.entries()) {
    const name = names.get(sample)!;
    if (name !== '(idle)') spent.set(name, (spent.get(name) ?? 0) + profile.timeDeltas[i]!);
  }
  return spent;
}
