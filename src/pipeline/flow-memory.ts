import type { FlowRecord } from '../kernel/index.ts';
import type { Rule, Watch } from '../language/index.ts';
import type { Origin } from '../model/index.ts';
import { RateWindow } from './rate-window.ts';

/** Bytes or packets, each way. */
export interface Counts {
  readonly in: number;
  readonly out: number;
}

/** What the kernel has counted of a flow, by direction of its entry: all four, or none. */
export type Counted = Partial<Pick<FlowRecord, 'originalBytes' | 'replyBytes' | 'originalPackets' | 'replyPackets'>>;

/** The same as seen from this side of the link. */
export interface Carried {
  readonly bytes: Counts;
  readonly packets: Counts;
}

/** Undefined: the kernel does not count (nf_conntrack_acct). */
export function countsOf(
  { originalBytes, replyBytes = 0, originalPackets = 0, replyPackets = 0 }: Counted,
  origin: Origin,
): Carried | undefined {
  if (originalBytes === undefined) return undefined;
  return origin === 'local'
    ? { bytes: { in: replyBytes, out: originalBytes }, packets: { in: replyPackets, out: originalPackets } }
    : { bytes: { in: originalBytes, out: replyBytes }, packets: { in: originalPackets, out: replyPackets } };
}

/** What the kernel has counted of a flow: bytes and packets since it began, and bit/s where it was read twice. */
export interface Reading extends Carried {
  /** The flow's: another one may have come to its row since. */
  readonly id: number;
  readonly rate?: Counts | undefined;
}

/** What was read of the flow that is in a row; undefined: nothing, or it was of another one. */
export function readingOf(
  readings: ReadonlyMap<number, Reading>,
  table: { idOf(row: number): number },
  row: number,
): Reading | undefined {
  const reading = readings.get(row);
  return reading?.id === table.idOf(row) ? reading : undefined;
}

/** Of all flows without a `for`: a map of its own is much of what a flow would cost. */
const NOTHING_HELD = new Map<number, number>();
const NO_EFFECTS: readonly Rule[] = [];

/**
 * What is remembered of one flow while a live rule may come to take it. It is used again for another one after the flow's end: what
 * lives as long as a flow does, the collector would copy twice, and stop everybody for it. Times are numbers, NaN where there is
 * none, never undefined: noting one then allocates nothing. A new field belongs in {@link begin} or {@link end}, too.
 */
export class FlowMemory {
  row!: number;
  watch!: Watch;
  /** When it began, ms since 1970, and with counters at 0; NaN: earlier than anybody looked. */
  fresh = Number.NaN;
  /** The rule that its queue came from last. */
  current: Rule | undefined;
  /** Live rules whose effects it meets. */
  effects: readonly Rule[] = NO_EFFECTS;
  /** When what its rules have put into sets has to be put there again, to stay, ms since 1970; Infinity: never. */
  renewal = Number.POSITIVE_INFINITY;
  /** Undefined until they have been read, and for a flow that the kernel does not count. */
  bytes: Counts | undefined;
  packets: Counts | undefined;
  rates: RateWindow | undefined;
  /** When a packet of it was counted last, ms since 1970, as near as the readings tell; NaN: that is not known. */
  #lastPacket = Number.NaN;
  /** That is when it was first looked at: it may have been silent for longer. */
  #olderThanLooked = false;
  /** By timer, since when what a `for` waits on has held, ms since 1970. */
  heldSince = NOTHING_HELD;
  /** The reading of counters that told of it last, by number; or that during which it came, or after which its mark was written anew. */
  reading = 0;
  /** Where it stands among what becomes due: DueTimes. */
  slot: number | undefined;

  constructor(row: number, watch: Watch, fresh?: number) {
    this.begin(row, watch, fresh);
  }

  /** Stands for another flow from now on; what {@link end} leaves is as in a new one. */
  begin(row: number, watch: Watch, fresh = Number.NaN): this {
    this.row = row;
    this.watch = watch;
    this.fresh = fresh;
    this.renewal = Number.POSITIVE_INFINITY;
    this.#lastPacket = fresh;
    this.#olderThanLooked = false;
    if (watch.held.length > 0) this.heldSince = new Map();
    this.reading = 0;
    this.slot = undefined;
    return this;
  }

  /** The flow has ended: nothing that it had is held for the next one. */
  end(): void {
    this.current = undefined;
    this.effects = NO_EFFECTS;
    this.bytes = undefined;
    this.packets = undefined;
    this.rates = undefined;
    this.heldSince = NOTHING_HELD;
  }

  /** Takes what was counted of the same flow under another policy. */
  inherit(before: FlowMemory): void {
    this.bytes = before.bytes;
    this.packets = before.packets;
    this.#lastPacket = before.#lastPacket;
    this.#olderThanLooked = before.#olderThanLooked;
    if (before.watch.windows.at(-1) === this.watch.windows.at(-1)) this.rates = before.rates;
  }

  /**
   * Ms since its last packet. Of a flow that was there before its counters were read it is not known until it moves, or has
   * been silent for longer than its rules ask about.
   */
  idle(now: number): number | undefined {
    if (Number.isNaN(this.#lastPacket)) return undefined;
    const idle = now - this.#lastPacket;
    return this.#olderThanLooked && idle <= (this.watch.idles.at(-1) ?? 0) ? undefined : idle;
  }

  /** Takes a reading of the kernel's counters. */
  read(time: number, bytes: Counts, packets: Counts): void {
    const { windows } = this.watch;
    if (windows.length > 0) {
      this.rates ??= new RateWindow(windows.at(-1)!, this.packets ? Number.NaN : this.fresh);
      this.rates.add(time, bytes.in, bytes.out);
    }
    if (packets.in !== this.packets?.in || packets.out !== this.packets.out) {
      this.#lastPacket = time;
      this.#olderThanLooked = this.packets === undefined && Number.isNaN(this.fresh);
    }
    this.bytes = bytes;
    this.packets = packets;
  }

  /** When time alone may change something next, ms since 1970; Infinity: never. `began` is that of the flow. */
  nextDue(now: number, began: number): number {
    const { ages, idles, held } = this.watch;
    return ages.length + idles.length + held.length === 0 ? this.renewal : this.#nextOf(this.watch, now, began);
  }

  #nextOf({ ages, idles, held }: Watch, now: number, began: number): number {
    let due = this.renewal;
    // A comparison with `>` holds a moment later than one with `>=`.
    const consider = (time: number) => {
      if (time >= now && time < due) due = time;
    };
    for (const age of ages) consider(began + age);
    for (const idle of idles) consider(this.#lastPacket + idle);
    for (const { timer, for: ms } of held) {
      const since = this.heldSince.get(timer);
      if (since !== undefined) consider(since + ms);
    }
    return due + 1;
  }
}
