// From the start of the program until it steers, both starts of node in it, without certificates that this machine has each node read
// (bench-lab.ts); then until it knows a large table, against `conntrack -L`; and what it costs when nothing happens.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { BenchLab, median, pause, type Running, spentBy, WATCHED } from './bench-lab.ts';
import { note } from './report.ts';

const ROUNDS = 5;
/** V8 tidies up for some seconds after a start. */
const TIDY_MS = 30_000;
const IDLE_MS = 30_000;
const wait = async (running: Running, said: RegExp) => {
  while (!said.test(running.said())) await pause(2);
};
const seconds = async (act: () => Promise<unknown>): Promise<number> => {
  const began = performance.now();
  await act();
  return (performance.now() - began) / 1000;
};
const SHAPED = WATCHED.replace('device wan', 'device wan  download 100mbit');

test('the start', { timeout: 300_000 }, () =>
  BenchLab.with(async (lab) => {
    const empty: number[] = [];
    // The first finds out what the kernel can do, and is not counted.
    for (let round = 0; round <= ROUNDS; round++) {
      let running!: Running;
      empty.push(await seconds(async () => (running = await lab.up(SHAPED))));
      await running.end('SIGTERM');
    }
    // As many entries as this machine allows: nf_conntrack_max belongs to the whole machine, and is not ours to change.
    const most = Number(readFileSync('/proc/sys/net/netfilter/nf_conntrack_max', 'utf8'));
    const entries = Math.min(1_000_000, Math.floor(most * 0.9));
    lab.storm(entries, 0, 0);
    const listing: number[] = [];
    const knowing: number[] = [];
    for (let round = 0; round < 3; round++) {
      listing.push(await seconds(() => lab.ns.run('sh', '-c', 'conntrack -L > /dev/null 2>&1')));
      let running!: Running;
      knowing.push(
        await seconds(async () => {
          running = await lab.up(SHAPED);
          await wait(running, /"kind":"resync"/);
        }),
      );
      expect(running.said()).toContain(`"flows":${entries}`);
      await running.end('SIGTERM');
    }
    await lab.flush();
    const idle = await lab.up(SHAPED);
    await pause(TIDY_MS);
    const before = await spentBy(idle.child.pid!);
    await pause(IDLE_MS);
    const spent = (await spentBy(idle.child.pid!)) - before;
    await idle.end('SIGTERM');
    const count = entries.toLocaleString('en');
    note('start, and rest', [
      { what: 'steers, empty table', value: median(empty.slice(1)) * 1000, unit: 'ms', goal: { most: 400 } },
      { what: `conntrack -L > /dev/null, ${count} entries`, value: median(listing) * 1000, unit: 'ms' },
      { what: `steers, and knows ${count} entries`, value: median(knowing) * 1000, unit: 'ms' },
      { what: 'against conntrack -L', value: median(knowing) / median(listing), unit: '', goal: { most: 1.5 } },
      { what: 'processor while nothing happens', value: (spent / IDLE_MS) * 1e5, unit: '%', goal: { most: 0.05 } },
    ]);
  }),
);
