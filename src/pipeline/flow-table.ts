import type { Decision } from '../language/index.ts';
import type { FlowFacts, Origin, Tuple } from '../model/index.ts';
import type { MapKey } from '../shape/index.ts';

/** A connection that conntrack knows, and what we made of it. */
export interface Flow extends FlowFacts {
  /** Identity: zone, family, protocol and original tuple, as the record's bytes. */
  readonly key: string;
  /** CTA_ID: tells two flows of one tuple apart that follow each other. */
  readonly id: number;
  readonly zone: number;
  readonly original: Tuple;
  /** What its arriving packets carry, where the datapath has a map of that. */
  readonly arriving?: MapKey | undefined;
  decision: Decision;
  /** Class number that our bits of the conntrack mark hold, as far as we know. */
  class: number;
  /** Of the last resync that saw it: see FlowTable.endDump. */
  generation: number;
  /**
   * It was there before anybody listened. With nf_conntrack_events = 2, the default, the kernel never tells of such a
   * flow, not even its end (nf_ct_ecache_ext_add() in net/netfilter/nf_conntrack_core.c): only a dump shows that.
   */
  readonly silent: boolean;
}

/** Flows kept at most; beyond it new ones are still decided and marked, but not remembered. */
export const MAX_FLOWS = 2_000_000;
/** Ends remembered while a dump runs; beyond it the dump is not trusted to remove. */
export const MAX_TOMBSTONES = 100_000;

/**
 * The flows of this namespace by identity, kept equal to the kernel's table: by events, and after a loss by a dump,
 * reconciled by generation. An end that comes while the dump runs leaves a tombstone, since the dump's own socket may
 * still hold the flow.
 */
export class FlowTable {
  readonly #flows = new Map<string, Flow>();
  readonly #perOrigin: Record<Origin, number> = { local: 0, remote: 0, new: 0 };
  #generation = 0;
  #silent = 0;
  #tombstones: Set<string> | undefined;

  get size(): number {
    return this.#flows.size;
  }

  /** Flows of whose end no event will tell. */
  get silent(): number {
    return this.#silent;
  }

  get perOrigin(): Readonly<Record<Origin, number>> {
    return this.#perOrigin;
  }

  get(key: string): Flow | undefined {
    return this.#flows.get(key);
  }

  values(): IterableIterator<Flow> {
    return this.#flows.values();
  }

  /** Adds a flow, or replaces an earlier one of the same identity whose end was missed. False: the table is full. */
  add(flow: Flow): boolean {
    const old = this.#flows.get(flow.key);
    if (!old && this.#flows.size >= MAX_FLOWS) return false;
    if (old) this.#count(old, -1);
    this.#count(flow, 1);
    this.#flows.set(flow.key, flow);
    flow.generation = this.#generation;
    return true;
  }

  /** Notes that the kernel still has the flow. */
  touch(flow: Flow): void {
    flow.generation = this.#generation;
  }

  /** Removes a flow that has ended, and returns it. Another flow of the same identity stays. */
  end(key: string, id: number): Flow | undefined {
    if (this.#tombstones && this.#tombstones.size < MAX_TOMBSTONES) this.#tombstones.add(id + key);
    const flow = this.#flows.get(key);
    if (!flow || flow.id !== id) return undefined;
    this.#del(flow);
    return flow;
  }

  /** A dump begins: from now on ends are remembered. */
  beginDump(): void {
    this.#generation++;
    this.#tombstones = new Set();
  }

  /** The flow that a dump tells of has ended since it was read. */
  hasEnded(key: string, id: number): boolean {
    return this.#tombstones?.has(id + key) ?? false;
  }

  /** The dump is over. Removes and returns what it has not seen, unless it was incomplete. */
  endDump(complete: boolean): Flow[] {
    const trusted = complete && (this.#tombstones?.size ?? 0) < MAX_TOMBSTONES;
    this.#tombstones = undefined;
    if (!trusted) return [];
    const gone: Flow[] = [];
    for (const flow of this.#flows.values()) if (flow.generation !== this.#generation) gone.push(flow);
    for (const flow of gone) this.#del(flow);
    return gone;
  }

  #del(flow: Flow): void {
    this.#flows.delete(flow.key);
    this.#count(flow, -1);
  }

  #count(flow: Flow, step: 1 | -1): void {
    this.#perOrigin[flow.origin] += step;
    if (flow.silent) this.#silent += step;
  }
}
