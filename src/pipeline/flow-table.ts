import type { FlowRecord } from '../kernel/index.ts';
import { ORIGINS, type Origin } from '../model/index.ts';
import { KEY_WORDS, KeyIndex } from './key-index.ts';

/** Flows kept at most; beyond it new ones are still decided and marked, but not remembered. */
export const MAX_FLOWS = 2_000_000;
/** Ends remembered while a dump runs; beyond it the dump is not trusted to remove. */
export const MAX_TOMBSTONES = 100_000;

/** What the table takes from a conntrack record. */
export type FlowIdentity = Pick<FlowRecord, 'words' | 'word' | 'id'>;

/** Where a row's fields stand, in 32-bit words. Key and reply tuple are as in `struct hg_flow` (native-shim/include/headgate.h). */
const ROW = {
  key: 0,
  reply: KEY_WORDS,
  id: 21,
  /** Of the last resync that saw it: see {@link FlowTable.endDump}. */
  generation: 22,
  /** Origin, how it was found, TCP state, NAT, helper. */
  state: 23,
  /** Class numbers: in the mark as far as we know, and as the kernel first told it. */
  classes: 24,
  /** 1 + index of the rule that decided; 0: the default of its origin. */
  rule: 25,
  /** A double: ms since 1970. */
  began: 26,
  /** The same. */
  decided: 28,
} as const;
const ROW_WORDS = 30;
const COPIED_WORDS = ROW.id;

/** The lowest bits of `state`: place in {@link ORIGINS}, which to look for costs a tenth of {@link FlowTable.add}. */
const ORIGIN_NUMBERS: Readonly<Record<Origin, number>> = { local: 0, remote: 1, new: 2 };
const SILENT = 1 << 2;
const WATCHED = 1 << 3;
const WITH_PORTS = 1 << 4;
const TCP_KNOWN = 1 << 5;
const TCP_SHIFT = 8;
const NAT_SHIFT = 12;
/** Decided by the policy before, whose rules {@link FlowTable.ruleOf} counts. */
const FORMER = 1 << 6;
const HELPER_SHIFT = 16;
/** Names of helpers that are told apart; of a flow with another one it is not known. The kernel has a dozen. */
const MAX_HELPERS = 255;
const FIRST_ROWS = 1024;
/** Rows that are copied when it grows, at most. */
const MANY_ROWS = 16_384;

/** What is known of a flow when it comes into the table. */
export interface FlowStart {
  readonly origin: Origin;
  /** Its ends have ports. */
  readonly ports: boolean;
  /**
   * It was there before anybody listened. With nf_conntrack_events = 2, the default, the kernel never tells of such a
   * flow, not even its end (nf_ct_ecache_ext_add() in net/netfilter/nf_conntrack_core.c): only a dump shows that.
   */
  readonly silent: boolean;
  /** Class number in its mark. */
  readonly class: number;
  /** IPS_SRC_NAT | IPS_DST_NAT of its status, shifted to bits 0 and 1. */
  readonly nat: number;
  readonly helper?: string | undefined;
  /** Ms since 1970, as is `now`. */
  readonly began: number;
  readonly now: number;
}

/**
 * The flows of this namespace by identity, kept equal to the kernel's table: by events, and after a loss by a dump,
 * reconciled by generation. An end that comes while the dump runs leaves a tombstone, since the dump's own socket may
 * still hold the flow.
 *
 * A flow is a row of {@link ROW_WORDS} words in one ArrayBuffer, found by {@link KeyIndex}: 120 bytes and 16 to 32 of the
 * index. Rows are numbers, and are used again after a flow's end. When it is full, the newest find no room.
 */
export class FlowTable {
  readonly #most: number;
  #words = new Uint32Array(FIRST_ROWS * ROW_WORDS);
  #bytes = new Uint8Array(this.#words.buffer);
  #halves = new Uint16Array(this.#words.buffer);
  #doubles = new Float64Array(this.#words.buffer);
  #index = new KeyIndex();
  readonly #helpers: string[] = [];
  /** Flows of each of {@link ORIGINS}. */
  readonly #perOrigin = new Uint32Array(ORIGINS.length);
  /** Rows below it have been used. */
  #end = 0;
  /** Heads a list of rows that are free again, each of which holds the next in its id; -1: none. */
  #free = -1;
  #size = 0;
  #generation = 1;
  #silent = 0;
  #refused = 0;
  #tombstones: Set<string> | undefined;
  /** Of a whole dump that is over: the first row that {@link takeGone} has not looked at; infinite: it has looked at all. */
  #unswept = Number.POSITIVE_INFINITY;

  /** @param most flows that it keeps */
  constructor(most = MAX_FLOWS) {
    this.#most = most;
  }

  get size(): number {
    return this.#size;
  }

  /** Flows of whose end no event will tell. */
  get silent(): number {
    return this.#silent;
  }

  /** Flows for which there was no room. */
  get refused(): number {
    return this.#refused;
  }

  get perOrigin(): Readonly<Record<Origin, number>> {
    const [local, remote, fresh] = this.#perOrigin as unknown as [number, number, number];
    return { local, remote, new: fresh };
  }

  /** The row of a record's flow, whatever its id; -1: it is not there. */
  find({ words, word }: FlowIdentity): number {
    return this.#index.find(words, word, this.#words, ROW_WORDS);
  }

  /** Adds a flow that is not there. Returns its row; -1: the table is full. */
  add(record: FlowIdentity, start: FlowStart): number {
    const row = this.#take();
    if (row < 0) {
      this.#refused++;
      return -1;
    }
    const { words, word } = record;
    const at = row * ROW_WORDS;
    const own = this.#words;
    for (let i = 0; i < COPIED_WORDS; i++) own[at + i] = words[word + i]!;
    own[at + ROW.id] = record.id;
    own[at + ROW.generation] = this.#generation;
    own[at + ROW.state] =
      ORIGIN_NUMBERS[start.origin] |
      (start.silent ? SILENT : 0) |
      (start.ports ? WITH_PORTS : 0) |
      (start.nat << NAT_SHIFT) |
      (this.#numberOf(start.helper) << HELPER_SHIFT);
    own[at + ROW.classes] = start.class | (start.class << 8);
    own[at + ROW.rule] = 0;
    this.#doubles[(at + ROW.began) >> 1] = start.began;
    this.#doubles[(at + ROW.decided) >> 1] = start.now;
    this.#index.add(own, at, row);
    this.#count(row, 1);
    return row;
  }

  /** Notes that the kernel still has the flow. */
  touch(row: number): void {
    this.#words[row * ROW_WORDS + ROW.generation] = this.#generation;
  }

  /** The row of a record's flow that ends; -1: it is not there, or is another one of the same identity, which stays. */
  findEnding(record: FlowIdentity): number {
    if (this.#tombstones && this.#tombstones.size < MAX_TOMBSTONES) this.#tombstones.add(graveOf(record));
    return this.findSame(record);
  }

  /** The row of a record's flow; -1: it is not there, or is another one of the same identity. */
  findSame(record: FlowIdentity): number {
    const row = this.find(record);
    return row >= 0 && this.idOf(row) === record.id ? row : -1;
  }

  del(row: number): void {
    const at = row * ROW_WORDS;
    this.#index.del(this.#words, at, ROW_WORDS);
    this.#count(row, -1);
    this.#words[at + ROW.generation] = 0;
    this.#words[at + ROW.id] = this.#free;
    this.#free = row;
  }

  /** Forgets every flow. */
  clear(): void {
    this.#allocate(FIRST_ROWS);
    this.#index = new KeyIndex();
    this.#perOrigin.fill(0);
    [this.#end, this.#free, this.#size, this.#silent] = [0, -1, 0, 0];
    this.#unswept = Number.POSITIVE_INFINITY;
  }

  /** Another policy comes: all that are there are {@link isFormer}. */
  makeFormer(): void {
    for (let row = 0; row < this.#end; row++) this.#words[row * ROW_WORDS + ROW.state]! |= FORMER;
  }

  /** It has not been decided by the policy in force yet. */
  isFormer(row: number): boolean {
    return (this.#words[row * ROW_WORDS + ROW.state]! & FORMER) !== 0;
  }

  /** It is about to be. */
  setCurrent(row: number): void {
    this.#words[row * ROW_WORDS + ROW.state]! &= ~FORMER;
  }

  /** A dump begins: from now on ends are remembered. */
  beginDump(): void {
    // 0 is that of free rows.
    this.#generation = this.#generation === 0xffffffff ? 1 : this.#generation + 1;
    this.#unswept = Number.POSITIVE_INFINITY;
    this.#tombstones = new Set();
  }

  /** The flow that a dump tells of has ended since it was read. */
  hasEnded(record: FlowIdentity): boolean {
    return this.#tombstones !== undefined && this.#tombstones.size > 0 && this.#tombstones.has(graveOf(record));
  }

  /** The dump is over. True: what it has not seen is gone, and {@link takeGone} tells it; false: it was incomplete, and tells nothing of what is gone. */
  endDump(complete: boolean): boolean {
    const trusted = complete && this.#tombstones !== undefined && this.#tombstones.size < MAX_TOMBSTONES;
    this.#tombstones = undefined;
    if (trusted) this.#unswept = 0;
    return trusted;
  }

  /** Rows that the last dump has not seen, to be removed, out of the next `most`. */
  takeGone(most: number): number[] {
    const from = this.#unswept;
    const to = from + most;
    this.#unswept = to < this.#end ? to : Number.POSITIVE_INFINITY;
    const gone: number[] = [];
    for (let row = from; row < to && row < this.#end; row++)
      if (this.has(row) && this.#words[row * ROW_WORDS + ROW.generation] !== this.#generation) gone.push(row);
    return gone;
  }

  /** There are rows that {@link takeGone} has not looked at yet. */
  get isSweeping(): boolean {
    return this.#unswept !== Number.POSITIVE_INFINITY;
  }

  /** Every flow's row. One that is removed meanwhile is left out, one that is added may be told or not. */
  *rows(): Generator<number> {
    for (let row = 0; row < this.#end; row++) if (this.has(row)) yield row;
  }

  /** The row holds a flow. */
  has(row: number): boolean {
    return this.#words[row * ROW_WORDS + ROW.generation] !== 0;
  }

  idOf(row: number): number {
    return this.#words[row * ROW_WORDS + ROW.id]!;
  }

  originOf(row: number): Origin {
    return ORIGINS[this.#words[row * ROW_WORDS + ROW.state]! & 3]!;
  }

  hasPorts(row: number): boolean {
    return (this.#words[row * ROW_WORDS + ROW.state]! & WITH_PORTS) !== 0;
  }

  /** IPS_SRC_NAT and IPS_DST_NAT as bits 0 and 1. */
  natOf(row: number): number {
    return (this.#words[row * ROW_WORDS + ROW.state]! >> NAT_SHIFT) & 3;
  }

  /** Name of its conntrack helper. */
  helperOf(row: number): string | undefined {
    return this.#helpers[((this.#words[row * ROW_WORDS + ROW.state]! >> HELPER_SHIFT) & 255) - 1];
  }

  /** TCP_CONNTRACK_*; undefined where it was not told. */
  tcpStateOf(row: number): number | undefined {
    const state = this.#words[row * ROW_WORDS + ROW.state]!;
    return state & TCP_KNOWN ? (state >> TCP_SHIFT) & 15 : undefined;
  }

  setTcpState(row: number, number: number): void {
    const at = row * ROW_WORDS + ROW.state;
    this.#words[at] = (this.#words[at]! & ~(15 << TCP_SHIFT)) | (number << TCP_SHIFT) | TCP_KNOWN;
  }

  /** Our bit that says "watched" is in its mark, as far as we know. */
  isWatched(row: number): boolean {
    return (this.#words[row * ROW_WORDS + ROW.state]! & WATCHED) !== 0;
  }

  setWatched(row: number, watched: boolean): void {
    const at = row * ROW_WORDS + ROW.state;
    this.#words[at] = watched ? this.#words[at]! | WATCHED : this.#words[at]! & ~WATCHED;
  }

  /** Class number that our bits of its mark hold, as far as we know. */
  classOf(row: number): number {
    return this.#words[row * ROW_WORDS + ROW.classes]! & 255;
  }

  setClass(row: number, number: number): void {
    const at = row * ROW_WORDS + ROW.classes;
    this.#words[at] = (this.#words[at]! & ~255) | number;
  }

  /** Class number that it had when it came into the table: for a new flow, what the kernel's own rules said. */
  firstClassOf(row: number): number {
    return (this.#words[row * ROW_WORDS + ROW.classes]! >> 8) & 255;
  }

  setFirstClass(row: number, number: number): void {
    const at = row * ROW_WORDS + ROW.classes;
    this.#words[at] = (this.#words[at]! & 255) | (number << 8);
  }

  /** Index of the rule that decided, in the policy; -1: the default of its origin. */
  ruleOf(row: number): number {
    return this.#words[row * ROW_WORDS + ROW.rule]! - 1;
  }

  setRule(row: number, index: number): void {
    this.#words[row * ROW_WORDS + ROW.rule] = index + 1;
  }

  /** Since when that decides it, ms since 1970. */
  decidedOf(row: number): number {
    return this.#doubles[(row * ROW_WORDS + ROW.decided) >> 1]!;
  }

  setDecided(row: number, time: number): void {
    this.#doubles[(row * ROW_WORDS + ROW.decided) >> 1] = time;
  }

  /** Ms since 1970. */
  beganOf(row: number): number {
    return this.#doubles[(row * ROW_WORDS + ROW.began) >> 1]!;
  }

  /** The flow's identity and reply tuple, as a record has them: words, and where they begin. Valid until a flow is added. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** The same memory. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  get halves(): Uint16Array {
    return this.#halves;
  }

  wordOf(row: number): number {
    return row * ROW_WORDS;
  }

  /** 1 + the name's place in the list; 0: none. */
  #numberOf(helper: string | undefined): number {
    if (helper === undefined) return 0;
    const place = this.#helpers.indexOf(helper);
    if (place >= 0) return place + 1;
    return this.#helpers.length < MAX_HELPERS ? this.#helpers.push(helper) : 0;
  }

  #take(): number {
    const row = this.#free;
    if (row >= 0) {
      this.#free = this.#words[row * ROW_WORDS + ROW.id]! | 0;
      return row;
    }
    if (this.#end >= this.#most) return -1;
    if (this.#end * ROW_WORDS === this.#words.length) this.#grow();
    return this.#end++;
  }

  /**
   * Grows, beyond a few rows, to all that there will ever be: to copy more would make everybody wait (190 ms at 260,000 flows). Pages that nobody has
   * written to take no memory.
   */
  #grow(): void {
    const words = this.#words;
    this.#allocate(Math.min(this.#most, this.#end < MANY_ROWS ? 2 * this.#end : this.#most));
    this.#words.set(words);
  }

  #allocate(rows: number): void {
    this.#words = new Uint32Array(rows * ROW_WORDS);
    this.#bytes = new Uint8Array(this.#words.buffer);
    this.#halves = new Uint16Array(this.#words.buffer);
    this.#doubles = new Float64Array(this.#words.buffer);
  }

  #count(row: number, step: 1 | -1): void {
    const state = this.#words[row * ROW_WORDS + ROW.state]!;
    this.#size += step;
    this.#perOrigin[state & 3]! += step;
    if (state & SILENT) this.#silent += step;
  }
}

/** Identity and id in a string. */
const graveOf = ({ words, word, id }: FlowIdentity): string =>
  String.fromCharCode(...new Uint16Array(words.buffer, words.byteOffset + word * 4, KEY_WORDS * 2)) + id;
