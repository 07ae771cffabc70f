import type { Namespace } from './namespace.ts';
import { Program } from './program.ts';

/** Round trips of one series of echo requests. */
export interface PingResult {
  /** Median, in ms; undefined where nothing came back. */
  readonly p50: number | undefined;
  /** 95th percentile, in ms. */
  readonly p95: number | undefined;
  /** 0..100. */
  readonly lossPct: number;
}

/**
 * Pings `address`, ten times a second for `seconds`, then waits up to two seconds for what is still under way.
 * An answer that comes later counts as lost. The equivalent: `ping -n -i 0.1 -c N -W 2 ADDRESS`.
 */
export async function ping(
  host: Namespace,
  address: string,
  seconds: number,
  signal?: AbortSignal,
): Promise<PingResult> {
  const count = Math.max(1, Math.round(seconds * 10));
  const argv = ['env', 'LC_ALL=C', 'ping', '-n', '-i', '0.1', '-c', String(count), '-W', '2', address] as const;
  const trips = new Map<number, number>();
  const program = Program.start(`ping ${address}`, argv, { netns: host.name });
  program.onLine((line) => {
    const reply = parseReply(line);
    if (reply && !trips.has(reply.sequence)) trips.set(reply.sequence, reply.ms);
  });
  const abort = () => void program.stop('SIGTERM');
  signal?.addEventListener('abort', abort);
  try {
    await program.finish([0, 1]); // 1: nothing came back
  } finally {
    signal?.removeEventListener('abort', abort);
  }
  signal?.throwIfAborted();
  return summarize([...trips.values()], count);
}

/** Reads a line of ping's output; undefined where it is no reply. */
export function parseReply(line: string): { sequence: number; ms: number } | undefined {
  const match = /\bicmp_seq=(\d+) .*\btime=([\d.]+) ms/.exec(line);
  return match ? { sequence: Number(match[1]), ms: Number(match[2]) } : undefined;
}

export function summarize(trips: readonly number[], sent: number): PingResult {
  const sorted = [...trips].sort((a, b) => a - b);
  return {
    p50: percentile(sorted, 0.5),
    p95: percentile(sorted, 0.95),
    lossPct: (100 * (sent - sorted.length)) / sent,
  };
}

/** The nearest-rank percentile of ascending values. */
const percentile = (sorted: readonly number[], part: number): number | undefined =>
  sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)];
