import type { Leaf, QueuePolicy } from '../language/index.ts';
import type { Rate } from '../model/index.ts';

/** One HTB tree: the link's rate, and a class for each queue of the policy. A value; nothing of it exists yet. */
export interface Tree {
  readonly rate: Rate;
  readonly classes: readonly TreeClass[];
}

export interface TreeClass {
  readonly queue: string;
  /** 1..126: minor of the classid, and the number in the conntrack mark. */
  readonly minor: number;
  /** Guaranteed, bit/s. */
  readonly rate: Rate;
  /** Most it may borrow up to, bit/s. */
  readonly ceil: Rate;
  /** Bytes that may go at once at the guaranteed rate, and at the ceiling. */
  readonly burst: number;
  readonly cburst: number;
  /** Bytes per round when classes of one priority borrow. */
  readonly quantum: number;
  /** 0..7; a lower number borrows first. */
  readonly prio: number;
  readonly leaf: LeafQdisc;
}

export type LeafQdisc =
  | { readonly kind: 'bfifo' /** bytes */; readonly limit: number }
  | { readonly kind: 'fq_codel' | 'sfq' };

/** The leaf qdiscs that this kernel has. bfifo is in every kernel that has tc. */
export type Leaves = ReadonlySet<Leaf>;

/** Best first, where the policy names none. */
export const LEAF_PREFERENCE: readonly Leaf[] = ['fq_codel', 'sfq', 'bfifo'];

/** HTB knows eight priorities (TC_HTB_NUMPRIO); queues behind the eighth share the last. */
const PRIORITIES = 8;
/** Time that a burst may last: 1 ms holds 1 Gbit/s to 95 % where tc's default lost a third (docs/decisions/0003). */
const BURST_SECONDS = 0.001;
/** One full frame with tags on top of that, or a slow class could never send one. */
const FRAME_BYTES = 1600;
const MIN_RATE: Rate = 8000;
/** What a bfifo holds: enough to keep one TCP flow busy over a usual round trip. */
const LEAF_SECONDS = 0.05;
/** Two packets of 64 KB as GSO makes them, which count 69 KB with all their headers: a leaf for less drops each one whole. */
const LEAF_LEAST_BYTES = 140_000;

/**
 * The tree for `queues` on a link of `rate` bit/s. Queues are served in their order: the first borrows first.
 *
 * A leaf that the kernel lacks becomes the best one that it has.
 */
export function computeTree(queues: readonly QueuePolicy[], rate: Rate, leaves: Leaves): Tree {
  const classes = queues.map((queue, i): TreeClass => {
    const ceil = Math.max(MIN_RATE, Math.round(rate * queue.ceiling));
    const guaranteed = Math.min(ceil, Math.max(MIN_RATE, Math.round(rate * queue.share)));
    return {
      queue: queue.name,
      minor: i + 1,
      rate: guaranteed,
      ceil,
      burst: burstOf(guaranteed),
      cburst: burstOf(ceil),
      quantum: Math.round(clamp(guaranteed / 8 / 100, 1514, 60_000)),
      prio: Math.min(i, PRIORITIES - 1),
      leaf: leafOf(queue.leaf, ceil, leaves),
    };
  });
  return { rate, classes };
}

/** Bytes of one burst at `rate`: see BURST_SECONDS. */
export const burstOf = (rate: Rate): number => Math.ceil((rate / 8) * BURST_SECONDS) + FRAME_BYTES;

function leafOf(wanted: Leaf | undefined, ceil: Rate, leaves: Leaves): LeafQdisc {
  const kind = wanted && leaves.has(wanted) ? wanted : (LEAF_PREFERENCE.find((leaf) => leaves.has(leaf)) ?? 'bfifo');
  if (kind !== 'bfifo') return { kind };
  return { kind, limit: Math.round(clamp((ceil / 8) * LEAF_SECONDS, LEAF_LEAST_BYTES, 16_000_000)) };
}

const clamp = (value: number, least: number, most: number): number => Math.max(least, Math.min(most, value));
