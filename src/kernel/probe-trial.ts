import type { Capability } from '../model/index.ts';
import { type Ends, request } from './probe-frames.ts';

/** What a trial has for itself in the scratch namespace. */
export interface Place {
  /** An end of a veth pair, up, with an address. */
  readonly device: string;
  /** Its other end. */
  readonly peer: string;
  /** An ifb, up. */
  readonly ifb: string;
  readonly ends: Ends;
}

/** Packets that are sent at once. */
export interface Round {
  /** The device that they leave by: the peer, for what is to arrive; the device itself, for what is to leave. */
  readonly by: 'peer' | 'device';
  /** As hex. */
  readonly frames: readonly string[];
  /** skb->mark. */
  readonly mark?: number | undefined;
}

/** One capability, how to try it, and the counters that tell whether packets went as they should. */
export interface Trial {
  readonly capability: Capability;
  /** Without these it cannot be tried: where it fails then, that says nothing of it. */
  readonly needs: readonly Capability[];
  /** Lines for `tc -batch`. */
  tc?(place: Place): readonly string[];
  /** A ruleset for `nft -f`; loaded before the lines for tc. */
  nft?(place: Place): string;
  /** One sent after the other; default: one request that arrives. */
  rounds?(place: Place): readonly Round[];
  /** The device has a qdisc of this kind, and so many packets went through it. */
  readonly qdisc?: { readonly kind: string; readonly packets: number } | undefined;
  /** Packets that the ifb takes in. */
  readonly ifb?: { readonly least: number; readonly most?: number | undefined } | undefined;
  /** What packets look like, in nft's words, when they come to the stack: each is counted, and must be seen. */
  readonly arrives?: readonly string[] | undefined;
  /** The counter of its own ruleset ({@link ownCounter}) has to count. */
  readonly counts?: boolean | undefined;
  /** What to say where it was accepted and the packets did not go as they should. */
  readonly wrong: string;
}

export interface Attempt {
  readonly trial: Trial;
  readonly place: Place;
}

export const roundsOf = ({ trial, place }: Attempt): readonly Round[] =>
  trial.rounds?.(place) ?? [{ by: 'peer', frames: [request(place.ends)] }];
