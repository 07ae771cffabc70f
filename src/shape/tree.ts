import { type Leaf, type Overhead, type Policy, type QueuePolicy, shareOf, type TreeKind } from '../language/index.ts';
import { chooseTins, type Rate, type TinMode } from '../model/index.ts';
import { leafQueues, numberedQueues } from './classes.ts';
import { LINK_MINOR } from './names.ts';

/** The tree of one direction: the link's rate, and a class for each queue of the policy. A value; nothing of it exists yet. */
export interface Tree {
  /**
   * `prio`: the queue before always goes first, shares do not count, nor do ceilings but for a leaf tbf. `cake`: a queue
   * is a tin, sure of what the tin is, and may take everything; ceilings and leaves do not count.
   */
  readonly kind: TreeKind;
  readonly rate: Rate;
  /** Of cake alone. */
  readonly cake?: Cake | undefined;
  /** What the line adds to each packet. */
  readonly overhead?: Overhead | undefined;
  /** A class that holds others comes before them. */
  readonly classes: readonly TreeClass[];
}

/** What a cake at the root is told beside its rate. */
export interface Cake {
  readonly mode: TinMode;
  readonly fair?: CakeFairness | undefined;
}

/**
 * Between whom cake is fair before it is fair by flows: the hosts on this side, which are the receivers of what arrives
 * and the senders of what leaves, or nobody. Absent: as cake does by itself, hosts at both ends.
 */
export type CakeFairness = 'receivers' | 'senders' | 'flows';

export interface TreeClass {
  readonly queue: string;
  /** A leaf's: the number of its queue, 1..126, which is also that in the conntrack mark. Of one that holds others: above {@link LINK_MINOR}. */
  readonly minor: number;
  /** Minor of the class that it is in; the whole link's is {@link LINK_MINOR}. */
  readonly parent: number;
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
  /** Absent: it holds other classes, or is a tin. */
  readonly leaf?: LeafQdisc | undefined;
}

/** A shaper of its own below a queue: what is above `rate` waits. */
export interface TbfLeaf {
  readonly kind: 'tbf';
  readonly rate: Rate;
  /** Bytes that may go at once. */
  readonly burst: number;
  /** Bytes that may wait. */
  readonly limit: number;
  readonly overhead?: Overhead | undefined;
}

export type LeafQdisc =
  | { readonly kind: 'bfifo' /** bytes */; readonly limit: number }
  | TbfLeaf
  | { readonly kind: 'cake'; readonly fair?: CakeFairness | undefined }
  | { readonly kind: 'fq_codel' | 'sfq' };

/** Qdiscs that a kernel may lack. HTB it must have. */
export type Qdisc = Leaf | 'prio';

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
/** The largest packet that GSO makes, unless somebody raised it (gso_max_size). */
export const GSO_BYTES = 65_536;
/** VDSL2's PTM sends 65 bytes for 64 (ITU-T G.992.3 annex N; cake counts it so). */
const PTM = 64 / 65;

/** What a tree is made from. */
export interface TreePlan {
  readonly kind?: TreeKind | undefined;
  readonly policy: Pick<Policy, 'queues' | 'links'>;
  /** Those of the policy's queues that the tree is for, a parent before its children; absent: all. */
  readonly queues?: readonly QueuePolicy[] | undefined;
  /** Of the link, bit/s. */
  readonly rate: Rate;
  readonly overhead?: Overhead | undefined;
  /** Which way its packets go, as seen from this side. */
  readonly direction: 'download' | 'upload';
  /** Those that the kernel has. */
  readonly leaves: ReadonlySet<Qdisc>;
}

/**
 * The tree for the plan's queues. Queues are served in their order: the first borrows first. A nested queue's share
 * is a part of what its parent is sure of, its ceiling a part of the parent's ceiling.
 *
 * A leaf that the kernel lacks becomes the best one that it has.
 */
export function computeTree(plan: TreePlan): Tree {
  const { kind = 'htb', policy, queues = policy.queues, rate: line, overhead } = plan;
  if (kind === 'cake') return cakeTree(plan);
  const rate = overhead?.linkLayer === 'ptm' ? Math.floor(line * PTM) : line;
  const names = new Set(queues.map(({ name }) => name));
  const flat = numberedQueues(policy).filter(({ queue }) => names.has(queue.name));
  const made = new Map<string, TreeClass>();
  for (const queue of kind === 'prio' ? flat.map((f) => f.queue) : queues) {
    const parent = kind === 'prio' || queue.parent === undefined ? undefined : made.get(queue.parent);
    const place = flat.findIndex((f) => f.queue.name === queue.name);
    const ceil = Math.max(MIN_RATE, Math.round((parent?.ceil ?? rate) * queue.ceiling));
    const guaranteed = Math.min(ceil, Math.max(MIN_RATE, Math.round((parent?.rate ?? rate) * queue.share)));
    made.set(queue.name, {
      queue: queue.name,
      minor: flat[place]?.number ?? LINK_MINOR + made.size + 1,
      parent: parent?.minor ?? LINK_MINOR,
      rate: guaranteed,
      ceil,
      burst: burstOf(guaranteed),
      cburst: burstOf(ceil),
      quantum: Math.round(clamp(guaranteed / 8 / 100, 1514, 60_000)),
      // Of a class that holds others HTB takes the priorities of those.
      prio: place < 0 ? 0 : Math.min(place, PRIORITIES - 1),
      leaf: place < 0 ? undefined : leafOf(queue, { ...plan, rate: keepsCeiling(kind, queue) ? ceil : rate }),
    });
  }
  return { kind, rate, overhead, classes: [...made.values()] };
}

/** A tin for each queue. Cake counts what the line adds by itself, PTM included. */
function cakeTree({ policy: { queues }, rate, overhead, direction }: TreePlan): Tree {
  const flat = leafQueues(queues);
  const { mode, tins } = chooseTins(flat.map((queue) => shareOf(queue, queues)));
  const classes = flat.map(({ name }, i): TreeClass => {
    const { minor, part } = tins[i]!;
    const sure = Math.round(rate * part);
    return {
      ...{ queue: name, minor, parent: 0, rate: sure, ceil: rate },
      ...{ burst: burstOf(sure), cburst: burstOf(rate), quantum: 0, prio: 0 },
    };
  });
  return {
    kind: 'cake',
    rate,
    overhead,
    cake: { mode, fair: fairness(flat, direction) },
    classes,
  };
}

/** One cake is fair in one way: between hosts where any of its queues is to be. */
function fairness(queues: readonly QueuePolicy[], direction: TreePlan['direction']): CakeFairness | undefined {
  if (queues.some(({ fair }) => fair === 'host')) return direction === 'download' ? 'receivers' : 'senders';
  return queues.some(({ fair }) => fair === 'flow') ? 'flows' : undefined;
}

/** Bytes of one burst at `rate`: see BURST_SECONDS. */
export const burstOf = (rate: Rate): number => Math.ceil((rate / 8) * BURST_SECONDS) + FRAME_BYTES;

/** Bytes that may wait, 50 ms of the rate: it keeps one TCP flow busy over a usual round trip. Not packets: one of GRO is up to 64 KB. */
const limitOf = (rate: Rate): number => Math.round(clamp((rate / 8) * LEAF_SECONDS, LEAF_LEAST_BYTES, 16_000_000));

/** In a prio a queue without a shaper of its own takes all that those before it leave. */
const keepsCeiling = (kind: TreeKind, { leaf }: QueuePolicy): boolean => kind !== 'prio' || leaf === 'tbf';

/** `rate`: the most that comes to it. */
function leafOf(queue: QueuePolicy, { rate, overhead, direction, leaves }: TreePlan): LeafQdisc {
  // Of these qdiscs cake alone tells hosts apart.
  const wanted = queue.fair === 'host' ? 'cake' : queue.leaf;
  const kind = wanted && leaves.has(wanted) ? wanted : (LEAF_PREFERENCE.find((leaf) => leaves.has(leaf)) ?? 'bfifo');
  if (kind === 'bfifo') return { kind, limit: limitOf(rate) };
  if (kind === 'tbf') return { kind, overhead, ...bucketOf(rate) };
  if (kind !== 'cake') return { kind };
  return { kind, fair: fairness([queue], direction) };
}

/**
 * A TBF cuts up a GSO packet that is larger than its bucket, which costs time: from 10 mbit on a whole one fits. At less a
 * bucket of that size would let seconds of the rate go at once.
 */
function bucketOf(rate: Rate): Pick<TbfLeaf, 'rate' | 'burst' | 'limit'> {
  const part = Math.round((rate / 8) * LEAF_SECONDS);
  const burst = Math.max(burstOf(rate), Math.min(GSO_BYTES, part));
  return { rate, burst, limit: clamp(part, 2 * burst, 16_000_000) };
}

const clamp = (value: number, least: number, most: number): number => Math.max(least, Math.min(most, value));
