import { call } from './error.ts';
import { TC_STAT } from './layout.ts';
import { shim } from './library.ts';
import { Records } from './records.ts';

/** A qdisc or a class with its counters: `tc -s qdisc show`, `tc -s class show`. */
export interface TcStat {
  /** major << 16 | minor. */
  readonly handle: number;
  /** The same; TC_H_ROOT 0xffffffff, TC_H_INGRESS 0xfffffff1 (ingress and clsact). */
  readonly parent: number;
  readonly isClass: boolean;
  /** "htb", "bfifo", ... */
  readonly kind: string;
  /** Of an HTB class: guaranteed and most, in bytes a second; else 0. */
  readonly rate: number;
  readonly ceil: number;
  readonly bytes: number;
  readonly packets: number;
  readonly drops: number;
  readonly overlimits: number;
  /** Packets waiting. */
  readonly qlen: number;
  /** Bytes waiting. */
  readonly backlog: number;
}

const F = TC_STAT.fields;
const FIRST_GUESS = 256;

/**
 * Reads the statistics of every qdisc and class of a device. A device that is not there has none.
 *
 * @param netns path of a network namespace; ours where undefined.
 * @throws HeadgateError HG_NO_SHIM, HG_KERNEL.
 */
export function getTcStats(netns: string | undefined, ifindex: number): TcStat[] {
  for (let room = FIRST_GUESS; ; ) {
    const records = new Records(TC_STAT.size, room);
    const count = call('reading tc statistics', (error) =>
      shim().hg_tc_stats(netns ?? null, ifindex, records.bytes, room, error),
    );
    if (count <= room) return Array.from({ length: count }, (_, i) => readStat(records, i * TC_STAT.size));
    room = count * 2;
  }
}

const readStat = (records: Records, at: number): TcStat => ({
  handle: records.u32(at, F.handle),
  parent: records.u32(at, F.parent),
  isClass: records.u32(at, F.is_class) !== 0,
  kind: records.text(at, F.kind),
  rate: records.u64(at, F.rate),
  ceil: records.u64(at, F.ceil),
  bytes: records.u64(at, F.bytes),
  packets: records.u64(at, F.packets),
  drops: records.u32(at, F.drops),
  overlimits: records.u32(at, F.overlimits),
  qlen: records.u32(at, F.qlen),
  backlog: records.u32(at, F.backlog),
});

/**
 * Reads the first `n` values, summed over all processors, of the per-cpu array map `map` that BPF program `progId` uses.
 *
 * @throws HeadgateError HG_NO_SHIM, HG_NOT_ROOT, HG_KERNEL (no such program or map, or a map of another kind).
 */
export function getBpfCounters(progId: number, map: string, n: number): number[] {
  const values = new BigUint64Array(n);
  const count = call('reading BPF counters', (error) => shim().hg_bpf_counters(progId, map, values, n, error));
  return Array.from(values.subarray(0, Math.min(n, count)), Number);
}
