/**
 * The tins of cake, which stand for queues where the tree is cake. Their parts of the rate are cake's own
 * (cake_config_diffserv3() and its like, net/sched/sch_cake.c): a policy can choose among them, and change none.
 *
 * skb->priority of `HANDLE:N` picks the Nth tin as `tc -s qdisc` lists them (cake_select_tin()).
 */

/** How cake divides itself (tc-cake(8), PRIORITY QUEUE PARAMETERS). */
export type TinMode = 'besteffort' | 'diffserv3' | 'diffserv4' | 'diffserv8';

/** A tin as it stands for a queue. */
export interface Tin {
  /** Its place, from 1: the minor that picks it. */
  readonly minor: number;
  /** As tc-cake(8) calls it. */
  readonly name: string;
  /** What it is sure of when every other one is busy, as a part of the rate. */
  readonly part: number;
}

/** Tins for queues, in the order of the queues. */
export interface Tins {
  readonly mode: TinMode;
  readonly tins: readonly Tin[];
}

/** Bands of prio, at most (TCQ_PRIO_BANDS, linux/pkt_sched.h). */
export const MAX_BANDS = 16;
/** More queues than that cake has no tins for. */
export const MAX_TINS = 8;

/** Below its threshold a tin goes first, above it waits for those that are below theirs. */
type Threshold = readonly [name: string, threshold: number];

/** From the first minor on. Best Effort, whose threshold is the whole rate, gets what the others leave: it is always used. */
const SHARED: readonly { readonly mode: TinMode; readonly thresholds: readonly Threshold[] }[] = [
  { mode: 'besteffort', thresholds: [['Best Effort', 1]] },
  {
    mode: 'diffserv3',
    thresholds: [
      ['Bulk', 1 / 16],
      ['Best Effort', 1],
      ['Voice', 1 / 4],
    ],
  },
  {
    mode: 'diffserv4',
    thresholds: [
      ['Bulk', 1 / 16],
      ['Best Effort', 1],
      ['Video', 1 / 2],
      ['Voice', 1 / 4],
    ],
  },
];

/**
 * The tins whose parts are nearest to the shares of up to four queues. With more, the eight of diffserv8 in the order
 * of the queues, the first in the tin that goes first; of those the first three can take everything.
 *
 * @param shares of 1 to {@link MAX_TINS} queues, 0..1 each
 */
export function chooseTins(shares: readonly number[]): Tins {
  if (shares.length > 4) return { mode: 'diffserv8', tins: eightTins(shares.length) };
  const sum = shares.reduce((a, b) => a + b, 0) || 1;
  const wanted = shares.map((share) => share / sum);
  const candidates = SHARED.flatMap(({ mode, thresholds }) =>
    arrangements(thresholds.length, shares.length)
      .filter((places) => places.some((place) => thresholds[place]![1] === 1))
      .map((places) => ({ mode, tins: tinsAt(thresholds, places) })),
  );
  const distance = ({ tins }: Tins) => tins.reduce((d, { part }, i) => d + Math.abs(part - wanted[i]!), 0);
  // Of the equally near the first: the fewest tins, the least minor.
  return candidates.reduce((best, next) => (distance(next) < distance(best) - 1e-9 ? next : best));
}

/** The tins at these places, one of which is Best Effort's: the others are sure of their thresholds. */
function tinsAt(thresholds: readonly Threshold[], places: readonly number[]): Tin[] {
  const used = places.map((place) => thresholds[place]!);
  const others = used.reduce((sum, [, threshold]) => (threshold < 1 ? sum + threshold : sum), 0);
  return used.map(([name, threshold], i) => ({
    minor: places[i]! + 1,
    name,
    part: threshold < 1 ? threshold : 1 - others,
  }));
}

/** Each threshold is 7/8 of the one before; the last tin goes first. */
function eightTins(count: number): Tin[] {
  let left = 1;
  return Array.from({ length: count }, (_, i) => {
    const minor = MAX_TINS - i;
    const part = Math.min(left, (7 / 8) ** (minor - 1));
    left -= part;
    return { minor, name: `Tin ${minor - 1}`, part };
  });
}

/** All ways to choose `count` of `of` places, in order. */
function arrangements(of: number, count: number): number[][] {
  if (count > of) return [];
  if (count === 0) return [[]];
  return arrangements(of, count - 1).flatMap((chosen) =>
    Array.from({ length: of }, (_, place) => place).flatMap((place) =>
      chosen.includes(place) ? [] : [[...chosen, place]],
    ),
  );
}
