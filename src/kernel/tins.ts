import { run, type Where } from './command.ts';

/** One tin of a cake at a device's root, with its counters. */
export interface TinStat {
  /** Bit/s up to which it goes first. */
  readonly threshold: number;
  /** What came in, also what was dropped later. */
  readonly bytes: number;
  readonly packets: number;
  readonly drops: number;
  /** Bytes waiting. */
  readonly backlog: number;
}

interface TcTin {
  readonly threshold_rate: number;
  readonly sent_bytes: number;
  readonly sent_packets: number;
  readonly drops: number;
  readonly backlog_bytes: number;
}

/** The tins of the cake at the root of a device, in the order of their minors; none where there is no cake. `tc -s qdisc show`. */
export async function listTins(device: string, where: Where = {}): Promise<TinStat[]> {
  const text = await run(['tc', '-statistics', '-json', 'qdisc', 'show', 'dev', device, 'root'], where);
  const roots = JSON.parse(text.trim() || '[]') as { kind: string; tins?: TcTin[] }[];
  return (roots.find(({ kind }) => kind === 'cake')?.tins ?? []).map((tin) => ({
    threshold: tin.threshold_rate * 8,
    bytes: tin.sent_bytes,
    packets: tin.sent_packets,
    drops: tin.drops,
    backlog: tin.backlog_bytes,
  }));
}
