import type { Family, Origin, Prefix, Rate } from '../model/index.ts';

/** A policy as its author meant it: checked, frozen, and knowing nothing of the kernel. */
export interface Policy {
  /** Path of the file it came from, for messages. */
  readonly file: string;
  readonly links: readonly LinkPolicy[];
  /** In the order of the file, which is also their priority: the first is served first. */
  readonly queues: readonly QueuePolicy[];
  readonly rules: readonly Rule[];
  /** Where a flow goes when no rule matches: the name of a queue for each origin. */
  readonly defaults: Readonly<Record<Origin, string>>;
}

/** A device whose traffic is shaped. What is absent must come from the command line. */
export interface LinkPolicy {
  readonly name: string;
  readonly device?: string | undefined;
  /** Rate of what arrives; absent: not shaped. */
  readonly download?: Rate | undefined;
  /** Rate of what leaves; absent: not shaped. */
  readonly upload?: Rate | undefined;
}

export type Leaf = 'bfifo' | 'fq_codel' | 'sfq';

export interface QueuePolicy {
  readonly name: string;
  /** Guaranteed part of the link's rate, above 0, at most 1. */
  readonly share: number;
  /** Most it may take when others leave room, above 0, at most 1; default 1. */
  readonly ceiling: number;
  /** The leaf qdisc wanted; absent: the best that the kernel has. */
  readonly leaf?: Leaf | undefined;
}

export interface Rule {
  readonly name: string;
  readonly when: Condition;
  /** Name of a queue. */
  readonly queue: string;
  /** 1-based line of the file. */
  readonly line: number;
}

/**
 * A condition on a flow, as a tree of frozen tagged nodes. Sets are resolved: no names are left in it.
 *
 * `and` of no terms always holds (a rule without `when`). A flow without ports is in no port range, so that
 * `not` of one holds for it.
 */
export type Condition =
  | { readonly kind: 'and' | 'or'; readonly terms: readonly Condition[] }
  | { readonly kind: 'not'; readonly term: Condition }
  | { readonly kind: 'origin'; readonly origin: Origin }
  | { readonly kind: 'protocol'; readonly protocol: number }
  | { readonly kind: 'family'; readonly family: Family }
  | { readonly kind: 'address'; readonly end: 'local' | 'remote'; readonly prefixes: readonly Prefix[] }
  | { readonly kind: 'port'; readonly end: 'local' | 'remote'; readonly ranges: readonly PortRange[] };

/** Ports from `first` to `last`, both included, 0..65535. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** What became of a flow: its queue, and the rule that said so; no rule: the default of its origin. */
export interface Decision {
  readonly queue: string;
  readonly rule?: Rule | undefined;
}
