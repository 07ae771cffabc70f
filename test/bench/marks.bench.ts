// Marks: how many can be written in a second, in batches and one by one; and how long it takes from the kernel's event of a new flow
// until its mark stands, as a third program hears both (read_marks.c), with the service and with a program in C that marks each.

import { expect, test } from 'vitest';
import { MarkBatch, MarkWriter } from '../../src/kernel/index.ts';
import { conntrackDump } from '../../src/kernel/sources.ts';
import { BenchLab, MARKED, median, native, type Running, rests } from './bench-lab.ts';
import { note } from './report.ts';

const MARKS = 50_000;
const ROUNDS = 5;

test('marks a second', () =>
  BenchLab.with(async (lab) => {
    lab.storm(MARKS, 0, 0);
    const writer = MarkWriter.open(lab.ns.path);
    const all = new MarkBatch(MARKS);
    const single: MarkBatch[] = [];
    await conntrackDump({ netns: lab.ns.path }).forEach((batch) => {
      for (const record of batch) {
        if (record.kind !== 'dumped') continue;
        all.add(record.words, record.word, 1 << 24, 0x7f000000);
        const one = new MarkBatch(1);
        one.add(record.words, record.word, 2 << 24, 0x7f000000);
        single.push(one);
      }
    });
    expect(all.count).toBe(MARKS);
    const rate = (write: () => void) => {
      const began = process.hrtime.bigint();
      write();
      return MARKS / (Number(process.hrtime.bigint() - began) / 1e9);
    };
    const together: number[] = [];
    const apart: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      together.push(rate(() => expect(writer.writeBatch(all).every((status) => status === 0)).toBe(true)));
      apart.push(
        rate(() => {
          for (const one of single) if (writer.writeBatch(one)[0] !== 0) throw new Error('a mark was not written');
        }),
      );
    }
    writer.close();
    note('marks a second', [
      { what: 'in one call', value: median(together), unit: '' },
      { what: 'a call and a message each', value: median(apart), unit: '' },
      { what: 'in one call against each', value: median(together) / median(apart), unit: '', goal: { least: 3 } },
    ]);
  }));

/** Median and 99th percentile in ms. */
async function delays(lab: BenchLab, { child }: Running, flows: number, rate: number): Promise<[number, number]> {
  await lab.flush();
  // The ends of a hundred thousand flows at once are a storm of their own.
  await rests(child.pid!);
  const reader = await lab.start([native('read_marks'), String(flows)], /ready/);
  lab.storm(flows, rate, 0);
  const said = await reader.end();
  const [count, middle, late, , lost] = said.trim().split('\n').at(-1)!.split(' ').map(Number);
  // An id (CTA_ID) is not quite unique: some flows are taken for others.
  expect(lost).toBe(0);
  expect(count).toBeGreaterThan(flows * 0.999);
  return [middle! / 1000, late! / 1000];
}

test('from an event to the mark', { timeout: 300_000 }, () =>
  BenchLab.with(async (lab) => {
    const programs: readonly [string, () => Promise<Running>][] = [
      ['the service', () => lab.up(MARKED)],
      ['C, each flow by itself', () => lab.start([native('mark_flows')], /ready/)],
    ];
    const found: { what: string; value: number; unit: string; goal?: { most: number } }[] = [];
    for (const [name, start] of programs) {
      const running = await start();
      await lab.flush();
      lab.storm(50_000, 20_000, 0);
      await rests(running.child.pid!);
      for (const [rate, flows, most] of [
        [1000, 3000, 2],
        [50_000, 100_000, 10],
      ] as const) {
        const rounds: [number, number][] = [];
        for (let round = 0; round < ROUNDS; round++) rounds.push(await delays(lab, running, flows, rate));
        const what = `${name}, ${rate.toLocaleString('en')} new flows a second`;
        found.push({ what: `${what}: median`, value: median(rounds.map(([middle]) => middle)), unit: 'ms' });
        const late = { what: `${what}: p99`, value: median(rounds.map(([, p99]) => p99)), unit: 'ms' };
        found.push(name === 'the service' ? { ...late, goal: { most } } : late);
      }
      await running.end('SIGTERM');
    }
    note('from the event of a flow to its mark', found);
  }),
);
