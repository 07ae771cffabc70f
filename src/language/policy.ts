import type {
  CountKey,
  Direction,
  Family,
  FlowFacts,
  MarkField,
  Origin,
  Prefix,
  Rate,
  TcpState,
} from '../model/index.ts';

/** A policy as its author meant it: checked, frozen, and knowing nothing of the kernel. */
export interface Policy {
  /** Path of the file it came from, for messages. */
  readonly file: string;
  readonly links: readonly LinkPolicy[];
  /** In the order of the file, which is also their priority: the first is served first. A parent comes before its children. */
  readonly queues: readonly QueuePolicy[];
  /** Dynamic sets alone: those that some rule adds to. Others are resolved into the conditions. */
  readonly sets: readonly DynamicSet[];
  readonly rules: readonly Rule[];
  /** Where a flow goes when no rule matches: the name of a leaf queue for each origin. */
  readonly defaults: Readonly<Record<Origin, string>>;
  readonly expects: readonly Expectation[];
  /** The bits of the mark that are to be ours; absent: any that nobody else uses. */
  readonly marks?: MarkField | undefined;
  /** What the live pipeline has to subscribe to, and no more. */
  readonly needs: Needs;
}

/** A device whose traffic is shaped. What is absent must come from the command line. */
export interface LinkPolicy {
  readonly name: string;
  readonly device?: string | undefined;
  /** Rate of what arrives; absent: not shaped. */
  readonly download?: Rate | undefined;
  /** Rate of what leaves; absent: not shaped. */
  readonly upload?: Rate | undefined;
  /** What the line adds to each packet; absent: nothing. */
  readonly overhead?: Overhead | undefined;
  /** Default htb. */
  readonly tree: TreeKind;
  /** Transmit queues of each ifb, 1..256, each of which hands packets on by itself (ip-link(8)); absent: one. */
  readonly numtxqueues?: number | undefined;
  /** An ifb for each origin, with the part of the rate that is its queue's share and nothing beyond; absent: one for all. */
  readonly ifbPer?: 'origin' | undefined;
  /** Name of the link whose ifb and tree this one's arriving packets use: `share tree with NAME`. It has no rates of its own then. */
  readonly shareTreeWith?: string | undefined;
  /** Other people's nft chains of family netdev that the redirect may switch off for what arrives; absent: none. */
  readonly bypass?: 'netdev-ingress' | undefined;
  /** A root qdisc of somebody else makes room for the upload's, and is put back; absent: the link is refused. */
  readonly replace?: 'root-qdisc' | undefined;
  /** `create`: a packet that arrives with no conntrack entry makes one, before it is classified. Default query. */
  readonly conntrack?: 'query' | 'create' | undefined;
}

export type TreeKind = 'htb' | 'prio' | 'cake';

export interface Overhead {
  /** The preset's name, where one was written. */
  readonly preset?: string | undefined;
  /** Bytes added to each packet, -64..256: with a preset to the IP packet, else to what the kernel counts on the device. */
  readonly bytes: number;
  /** Least bytes that a packet takes on the line, 0..256. */
  readonly mpu: number;
  readonly linkLayer: 'ethernet' | 'atm' | 'ptm';
}

export type Leaf = 'bfifo' | 'fq_codel' | 'sfq' | 'cake' | 'tbf';

export interface QueuePolicy {
  readonly name: string;
  /** The queue that this one is nested in. Flows go to queues without children. */
  readonly parent?: string | undefined;
  /** Guaranteed part of the parent's (or link's) rate, above 0, at most 1. */
  readonly share: number;
  /** Most it may take when others leave room, above 0, at most 1; default 1. */
  readonly ceiling: number;
  /** The leaf qdisc wanted; absent: the best that the kernel has. */
  readonly leaf?: Leaf | undefined;
  /** Fairness within the queue: between flows (default of most leaves), or between inside hosts. */
  readonly fair?: 'flow' | 'host' | undefined;
}

/** A set that rules fill. The least recently added leaves first when it is full. */
export interface DynamicSet {
  readonly name: string;
  /** What it starts with, for ever. */
  readonly prefixes: readonly Prefix[];
}

export interface Rule {
  readonly name: string;
  /** `and` of no terms for a rule without condition. */
  readonly when: Condition;
  /** The flow's queue; absent for a rule that has other effects alone, which decides nothing. */
  readonly queue?: string | undefined;
  readonly effects: readonly Effect[];
  /** Leave the queue again when this holds; looks at the same flow. */
  readonly until?: Condition | undefined;
  readonly tier: Tier;
  /** Where it stands, 1-based. */
  readonly file: string;
  readonly line: number;
}

/** `kernel`: decided at the flow's first packet by nft. `live`: by the pipeline; `because` says which word needs it. */
export type Tier = { readonly kind: 'kernel' } | { readonly kind: 'live'; readonly because: readonly string[] };

export type Effect =
  | { readonly kind: 'add'; readonly end: 'local' | 'remote'; readonly set: string /** ms */; readonly for: number }
  /** A copy to an ifb of that name, to look at with tcpdump. */
  | { readonly kind: 'mirror'; readonly tap: string }
  /** Drop above the rate, instead of queueing. */
  | { readonly kind: 'police'; readonly rate: Rate };

export type Operator = '<' | '<=' | '>' | '>=' | '=' | '!=';

/** A condition on a flow, as a tree of frozen tagged nodes. Static sets are resolved: no names are left but dynamic ones. */
export type Condition =
  | { readonly kind: 'and' | 'or'; readonly terms: readonly Condition[] }
  | { readonly kind: 'not'; readonly term: Condition }
  // identity
  | { readonly kind: 'origin'; readonly origin: Origin }
  | { readonly kind: 'protocol'; readonly protocol: number }
  | { readonly kind: 'family'; readonly family: Family }
  | { readonly kind: 'address'; readonly end: 'local' | 'remote'; readonly prefixes: readonly Prefix[] }
  | { readonly kind: 'set'; readonly end: 'local' | 'remote'; readonly set: string }
  | { readonly kind: 'port'; readonly end: 'local' | 'remote'; readonly ranges: readonly PortRange[] }
  | { readonly kind: 'dscp' | 'zone'; readonly ranges: readonly NumberRange[] }
  | { readonly kind: 'nat'; readonly nat: 'source' | 'destination' | 'any' }
  /** Names compared whole, but for `*`, which stands for any run of characters. */
  | {
      readonly kind: 'device' | 'mac' | 'helper' | 'process' | 'unit' | 'cgroup' | 'domain';
      readonly patterns: readonly string[];
    }
  | { readonly kind: 'user'; readonly users: readonly (number | string)[] }
  /** The flow is of a swarm of peers. */
  | { readonly kind: 'p2p' }
  // memory
  | {
      readonly kind: 'measure';
      readonly measure: Measure;
      readonly direction: Direction;
      readonly operator: Operator;
      /** Bytes, packets, ms, bit/s, bytes a packet, or a plain number (ratio: out divided by in). */
      readonly value: number;
      /** `rate` alone, ms. */
      readonly window?: number | undefined;
    }
  | { readonly kind: 'tcp.state'; readonly states: readonly TcpState[] }
  // company
  | {
      readonly kind: 'count';
      readonly of: 'flows' | 'peers';
      readonly by: CountKey;
      readonly operator: Operator;
      readonly value: number;
    }
  // clock; a time range may run over midnight: first > last
  | { readonly kind: 'time'; readonly ranges: readonly NumberRange[] }
  | { readonly kind: 'day'; readonly days: readonly number[] }
  /** `for D`: the term has held that long, in ms, without a break. Timers are numbered over the whole policy from 0. */
  | { readonly kind: 'held'; readonly term: Condition; readonly for: number; readonly timer: number };

export type Measure = 'bytes' | 'packets' | 'rate' | 'age' | 'idle' | 'size' | 'ratio';

/** Default window of `rate`, ms. */
export const RATE_WINDOW = 5000;

/** Numbers from `first` to `last`, both included. */
export interface NumberRange {
  readonly first: number;
  readonly last: number;
}
/** Ports from `first` to `last`, both included, 0..65535. */
export type PortRange = NumberRange;

/** An `expect` line: a flow as facts, and where it has to land. */
export interface Expectation {
  readonly facts: FlowFacts;
  /** The flow as it was written. */
  readonly text: string;
  readonly queue: string;
  readonly file: string;
  readonly line: number;
}

/** Sources that the live pipeline opens for this policy. */
export interface Needs {
  /** Conntrack event groups. A policy of kernel rules alone needs none. */
  readonly events: readonly ('new' | 'update' | 'destroy')[];
  /** Byte and packet counters, polled for watched flows. */
  readonly counters: boolean;
  readonly timers: boolean;
  /** DNS answers, sampled by NFLOG. */
  readonly dns: boolean;
  /** Socket, user, process, unit, cgroup. */
  readonly sockets: boolean;
  /** Whom each port talks to. */
  readonly p2p: boolean;
  /** First packets (MAC, DSCP, device), sampled by NFLOG. */
  readonly packets: boolean;
  readonly clock: boolean;
  readonly company: boolean;
}

/** What became of a flow: its queue, and the rule that said so; no rule: the default of its origin. */
export interface Decision {
  readonly queue: string;
  readonly rule?: Rule | undefined;
}
