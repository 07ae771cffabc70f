import { concat, defer, EMPTY, ignoreElements, lastValueFrom, type Observable, tap, timer } from 'rxjs';
import type { FlowNews } from './classifier.ts';
import { type Counts, countsOf, type Reading } from './flow-memory.ts';
import type { FlowTable } from './flow-table.ts';

/** Ms between the two readings that tell rates. */
export const RATE_MS = 1000;

/**
 * Reads the counters of all flows of a table once, or twice {@link RATE_MS} apart for their rates; by row. Empty where the kernel does
 * not count (nf_conntrack_acct).
 */
export async function readCounters(
  table: FlowTable,
  dump: () => Observable<Iterable<FlowNews>>,
  twice: boolean,
): Promise<ReadonlyMap<number, Reading>> {
  const readings = new Map<number, Reading & { readonly time: number }>();
  const reading = defer(dump).pipe(
    tap((batch) => {
      for (const record of batch) {
        if (record.kind !== 'dumped') continue;
        const row = table.findSame(record);
        if (row < 0) continue;
        const counts = countsOf(record, table.originOf(row));
        if (!counts) continue;
        const { id, time } = record;
        const before = readings.get(row);
        const passed = before?.id === id ? time - before.time : 0;
        const rate = before && passed > 0 ? ratesOf(before.bytes, counts.bytes, passed) : undefined;
        readings.set(row, { id, time, ...counts, rate });
      }
    }),
    ignoreElements(),
  );
  const again = twice ? concat(timer(RATE_MS).pipe(ignoreElements()), reading) : EMPTY;
  await lastValueFrom(concat(reading, again), { defaultValue: undefined });
  return readings;
}

const ratesOf = (before: Counts, after: Counts, ms: number): Counts => ({
  in: ((after.in - before.in) * 8000) / ms,
  out: ((after.out - before.out) * 8000) / ms,
});
