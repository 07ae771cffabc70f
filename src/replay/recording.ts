import { type End, ORIGINS, type Origin } from '../model/index.ts';
import { KEY_WORDS } from '../pipeline/index.ts';

/** 32-bit words of a flow's identity, and of its reply tuple behind it, as conntrack records have them (FlowTable). */
export const FLOW_WORDS = KEY_WORDS + 10;
const [AF_INET, AF_INET6] = [2, 10];

export interface RecordedFlow {
  readonly protocol: number;
  readonly local: End;
  readonly remote: End;
  readonly origin: Origin;
  readonly zone: number;
  /** When it was told of, and when it began, ms since 1970; NaN: earlier than anybody looked. */
  readonly time: number;
  readonly began: number;
}

/** Bytes in, bytes out, packets in, packets out. */
export type Totals = readonly [number, number, number, number];

const NOTHING: Totals = [0, 0, 0, 0];

/** What was recorded, in columns: two million flows take some 400 MB. */
export class Recording {
  /** Queue, and rule that led there; of recordings of ours alone. */
  readonly places: { readonly queue: string; readonly rule: string | null }[] = [];
  #words = new Uint32Array(FLOW_WORDS * 1024);
  #bytes = new Uint8Array(this.#words.buffer);
  #began = new Float64Array(1024);
  #ended = new Float64Array(1024);
  #told = new Float64Array(1024);
  #totals = new Float64Array(4096);
  #origins = new Uint8Array(1024);
  #last = new Int32Array(1024);
  #times = new Float64Array(2048);
  #happened = new Uint32Array(2048);
  /** What flows had carried when they were told of, where that is known. */
  readonly #before = new Map<number, Totals>();
  #flows = 0;
  #events = 0;
  /** Times that recording began, 0 where conntrack printed it: a flow is in it once for each in which it was there. */
  runs = 0;
  /** Flows of whose counters there is one reading, and no end. */
  listed = false;
  /** Flows of which the first news was of their middle or their end. */
  unbegun = 0;
  /** Gaps and overruns. */
  losses = 0;
  /** Lines that could not be read: the last one of a run that was killed. */
  torn = 0;

  get flows(): number {
    return this.#flows;
  }

  get events(): number {
    return this.#events;
  }

  timeOf(event: number): number {
    return this.#times[event]!;
  }

  /** Which flow an event is about, and whether it ends it. */
  eventOf(event: number): { readonly flow: number; readonly ends: boolean } {
    const what = this.#happened[event]!;
    return { flow: what >>> 1, ends: (what & 1) === 1 };
  }

  /** A flow begins; returns its number. */
  add({ protocol, local, remote, origin, zone, time, began }: RecordedFlow): number {
    const flow = this.#flows++;
    if (flow === this.#began.length) this.#grow();
    const at = flow * FLOW_WORDS;
    const bytes = new Uint8Array(this.#words.buffer, at * 4, FLOW_WORDS * 4);
    const halves = new Uint16Array(this.#words.buffer, at * 4, FLOW_WORDS * 2);
    bytes.fill(0);
    halves[0] = zone;
    bytes[2] = local.address.length === 4 ? AF_INET : AF_INET6;
    bytes[3] = protocol;
    const [opener, answerer] = origin === 'local' ? [local, remote] : [remote, local];
    putTuple(bytes, halves, 4, opener, answerer);
    putTuple(bytes, halves, KEY_WORDS * 4, answerer, opener);
    this.#began[flow] = began;
    this.#told[flow] = time;
    this.#ended[flow] = Number.NaN;
    this.#totals.fill(Number.NaN, flow * 4, flow * 4 + 4);
    this.#origins[flow] = ORIGINS.indexOf(origin);
    this.#last[flow] = -1;
    this.#happen(time, flow << 1);
    return flow;
  }

  /** Nobody has told of its end. */
  isOpen(flow: number): boolean {
    return Number.isNaN(this.#ended[flow]!);
  }

  end(flow: number, time: number, totals: Totals | undefined): void {
    this.#ended[flow] = time;
    if (totals) this.setTotals(flow, totals);
    this.#happen(time, (flow << 1) | 1);
  }

  setTotals(flow: number, totals: Totals): void {
    this.#totals.set(totals, flow * 4);
  }

  /** What it had carried when it was told of. */
  setBefore(flow: number, before: Totals): void {
    this.#before.set(flow, before);
  }

  /** Where it was last, by the policy that ran. */
  setPlace(flow: number, place: number): void {
    this.#last[flow] = place;
  }

  /** -1: not recorded. */
  placeOf(flow: number): number {
    return this.#last[flow]!;
  }

  originOf(flow: number): Origin {
    return ORIGINS[this.#origins[flow]!]!;
  }

  beganOf(flow: number): number {
    return this.#began[flow]!;
  }

  /** Flows of which nobody told what they carried. */
  get uncounted(): number {
    let count = 0;
    for (let flow = 0; flow < this.#flows; flow++) if (Number.isNaN(this.#totals[flow * 4]!)) count++;
    return count;
  }

  /** Both directions, from when it was told of; 0 where that is not known. */
  bytesOf(flow: number): number {
    const [arrived, left] = this.#before.get(flow) ?? NOTHING;
    return this.#totals[flow * 4]! + this.#totals[flow * 4 + 1]! - arrived - left || 0;
  }

  /**
   * Puts into `totals` what it had carried at a time, if that came evenly from when it was told to its end. False: not known.
   */
  readTotals(flow: number, time: number, totals: Float64Array): boolean {
    const at = flow * 4;
    if (Number.isNaN(this.#totals[at]!)) return false;
    const from = this.#told[flow]!;
    const to = this.#ended[flow]!;
    // Also where it has no end, or one at once.
    const part = time < to ? (time - from) / (to - from) : 1;
    const before = this.#before.get(flow) ?? NOTHING;
    for (let i = 0; i < 4; i++) totals[i] = Math.floor(before[i]! + (this.#totals[at + i]! - before[i]!) * part);
    return true;
  }

  protocolOf(flow: number): number {
    return this.#bytes[flow * FLOW_WORDS * 4 + 3]!;
  }

  get words(): Uint32Array {
    return this.#words;
  }

  #happen(time: number, what: number): void {
    const event = this.#events++;
    if (event === this.#times.length) {
      this.#times = grown(this.#times, new Float64Array(event * 2));
      this.#happened = grown(this.#happened, new Uint32Array(event * 2));
    }
    this.#times[event] = time;
    this.#happened[event] = what;
  }

  #grow(): void {
    const room = this.#began.length * 2;
    this.#words = grown(this.#words, new Uint32Array(room * FLOW_WORDS));
    this.#bytes = new Uint8Array(this.#words.buffer);
    this.#began = grown(this.#began, new Float64Array(room));
    this.#told = grown(this.#told, new Float64Array(room));
    this.#ended = grown(this.#ended, new Float64Array(room));
    this.#totals = grown(this.#totals, new Float64Array(room * 4));
    this.#origins = grown(this.#origins, new Uint8Array(room));
    this.#last = grown(this.#last, new Int32Array(room));
  }
}

function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}

function putTuple(bytes: Uint8Array, halves: Uint16Array, at: number, source: End, destination: End): void {
  bytes.set(source.address, at);
  bytes.set(destination.address, at + 16);
  halves[(at + 32) >> 1] = source.port ?? 0;
  halves[(at + 34) >> 1] = destination.port ?? 0;
}
