import type { Origin } from '../model/index.ts';
import type { DatapathName } from '../shape/index.ts';

/**
 * One item of the event stream: what happened to a flow, a link, or to the stream itself.
 * Every item is a line of `headgate events --json` and carries a sequence number and the wall time.
 */
export type MonitorItem = { readonly seq: number /** ISO 8601, UTC */; readonly time: string } & MonitorEvent;

export type MonitorEvent =
  | ReadyEvent
  | FlowEvent
  | OverrunEvent
  | ResyncEvent
  | LinkEvent
  | TableEvent
  | PolicyEvent
  | ConfirmEvent
  | MissedEvent
  | WarningEvent;

/** Everything is in place: packets are being steered. */
export interface ReadyEvent {
  readonly kind: 'ready';
  readonly datapath: DatapathName;
  /** The bits of the ct mark that are ours: `0x7f000000`. */
  readonly marks: string;
  readonly links: readonly {
    readonly name: string;
    readonly device: string;
    readonly download?: number | undefined;
    readonly upload?: number | undefined;
    /** Device of the link whose tree it shares. */
    readonly shares?: string | undefined;
  }[];
}

export interface FlowEvent {
  /** `flow.known`: it was in the kernel's table before we looked. */
  readonly kind: 'flow.new' | 'flow.known' | 'flow.update' | 'flow.end';
  /** Name or number of the IP protocol. */
  readonly protocol: string;
  /** The end on this side, NAT undone: `address:port`, `[address]:port`, or the address alone. */
  readonly local: string;
  readonly remote: string;
  readonly origin: Origin;
  readonly queue: string;
  /** The rule that decided; absent: the default of its origin. */
  readonly rule?: string | undefined;
  readonly zone?: number | undefined;
  /** At the end, where the kernel counts (nf_conntrack_acct): both directions together. */
  readonly bytes?: number | undefined;
  readonly packets?: number | undefined;
}

/** The kernel dropped events for our socket; a resync follows. */
export interface OverrunEvent {
  readonly kind: 'overrun';
  /** Overruns reported at once. How many events each lost the kernel does not say. */
  readonly count: number;
}

/** The flow table was read from the kernel anew. */
export interface ResyncEvent {
  readonly kind: 'resync';
  /** `start`: the first look. `overrun`: events were lost. `sweep`: a look for flows of whose end no event tells. */
  readonly reason: 'start' | 'overrun' | 'sweep';
  readonly flows: number;
  /** Flows that were not known before, and that were known but are gone. */
  readonly added: number;
  readonly removed: number;
  /** False: the dump was interrupted as often as we try; what it told was taken, nothing was removed. */
  readonly complete: boolean;
}

export interface LinkEvent {
  readonly kind: 'link';
  readonly name: string;
  readonly device: string;
  readonly state: LinkState;
  readonly reason: string;
}

/**
 * `steering`: as the policy says. `watching`: the policy gives it no rate, so its flows are followed and nothing is
 * shaped. `open`: packets pass unshaped. `absent`: the device is not there.
 */
export type LinkState = 'steering' | 'watching' | 'open' | 'absent';

/** Our nft tables or taps were taken away by somebody: they are `restored`, or `lost`, and why. */
export interface TableEvent {
  readonly kind: 'table';
  readonly name: string;
  readonly state: 'restored' | 'lost';
  readonly reason: string;
}

/** A reload: the policy is being read (`reading`); then it was `changed`, or `kept` as it was, and why. */
export interface PolicyEvent {
  readonly kind: 'policy';
  readonly state: 'reading' | 'changed' | 'kept';
  readonly file: string;
  readonly reason: string;
}

/** What `--confirm` asks for: until then it is `waiting`; it is taken back when that has `expired`. */
export interface ConfirmEvent {
  readonly kind: 'confirm';
  readonly state: 'waiting' | 'confirmed' | 'expired';
  /** What is taken back: everything, or a reload. */
  readonly what: 'up' | 'reload';
  /** ISO 8601, UTC. */
  readonly until: string;
}

/** This reader was too slow: so many items were not sent to it. */
export interface MissedEvent {
  readonly kind: 'missed';
  readonly count: number;
}

export interface WarningEvent {
  readonly kind: 'warning';
  readonly message: string;
}
