import type { Family, Tuple } from '../../model/index.ts';
import { FLAG, FLOW, KIND } from './layout.ts';
import type { Records } from './records.ts';

export type FlowKind = 'new' | 'update' | 'destroy' | 'dumped' | 'dumpStart' | 'dumpEnd' | 'overrun' | 'failed';

const KINDS: FlowKind[] = [];
for (const kind of ['new', 'update', 'destroy', 'dumped', 'dumpStart', 'dumpEnd', 'overrun', 'failed'] as const)
  KINDS[KIND[kind]] = kind;

const F = FLOW.fields;

/**
 * One record of a {@link ConntrackBatch}, read in place: nothing is allocated but what a getter returns. It stands on
 * one record at a time and is worth nothing once the batch has been handled: copy what must stay.
 *
 * `overrun`, `dumpStart`, `dumpEnd` have a `count` and no flow.
 */
export class FlowRecord {
  readonly #records: Records;
  #at = 0;

  constructor(records: Records) {
    this.#records = records;
  }

  /** Stands on record `index` of the batch. */
  moveTo(index: number): this {
    this.#at = index * FLOW.size;
    return this;
  }

  get kind(): FlowKind {
    return KINDS[this.#records.u16(this.#at, F.head.kind)] ?? 'failed';
  }

  // Methods, not accessors: those that are private V8 looks up anew each time.
  #flags(): number {
    return this.#records.u16(this.#at, F.head.flags);
  }

  #has(flag: number): boolean {
    return (this.#flags() & flag) !== 0;
  }

  /** `overrun`: events lost where they come by a ring, else overruns of the socket, told at once; `dumpStart`: number of the attempt; `dumpEnd`: attempts made. */
  get count(): number {
    return this.#records.u32(this.#at, F.head.count);
  }

  /** `dumpEnd`: the kernel called the last attempt interrupted, too; entries may be missing or told twice. */
  get interrupted(): boolean {
    return this.#has(FLAG.interrupted);
  }

  /** When the shim received it, in milliseconds since 1970, with a fraction. */
  get time(): number {
    return this.#records.time(this.#at, F.head.time_ns);
  }

  /** CTA_ID: a hash of the entry's address, reused by the kernel; not unique in a large table. */
  get id(): number {
    return this.#records.u32(this.#at, F.id);
  }

  get zone(): number {
    return this.#records.u16(this.#at, F.zone);
  }

  get family(): Family {
    return this.#records.u8(this.#at, F.family) === 2 ? 4 : 6;
  }

  /** IPPROTO number. */
  get protocol(): number {
    return this.#records.u8(this.#at, F.protocol);
  }

  /** The batch's memory by 32-bit words, in host byte order; see {@link word}. */
  get words(): Uint32Array {
    return this.#records.words;
  }

  /** Where in {@link words} the flow's identity begins: 11 words of zone, family, protocol and original tuple, and then 10 of the reply tuple. */
  get word(): number {
    return (this.#at + F.zone.offset) >> 2;
  }

  /** Its ends have ports. */
  get hasPorts(): boolean {
    return this.#has(FLAG.ports);
  }

  /** IPS_* bits of linux/netfilter/nf_conntrack_common.h. */
  get status(): number | undefined {
    return this.#has(FLAG.status) ? this.#records.u32(this.#at, F.status) : undefined;
  }

  /** The ct mark; the kernel leaves it out where it is 0. */
  get mark(): number {
    return this.#records.u32(this.#at, F.mark);
  }

  /** Seconds until the entry goes when nothing more comes. */
  get timeout(): number | undefined {
    return this.#has(FLAG.timeout) ? this.#records.u32(this.#at, F.timeout) : undefined;
  }

  /** TCP_CONNTRACK_* of linux/netfilter/nf_conntrack_tcp.h: 3 is established. */
  get tcpState(): number | undefined {
    return this.#has(FLAG.tcpState) ? this.#records.u8(this.#at, F.tcp_state) : undefined;
  }

  /** Name of the conntrack helper that watches the flow; not in `destroy`. */
  get helper(): string | undefined {
    return this.#has(FLAG.helper) ? this.#records.text(this.#at, F.helper) : undefined;
  }

  /** When the flow began, as {@link time}; needs the sysctl nf_conntrack_timestamp. */
  get start(): number | undefined {
    return this.#has(FLAG.start) ? this.#records.time(this.#at, F.start_ns) : undefined;
  }

  /** When the flow ended: in `destroy`, and as `start`. */
  get stop(): number | undefined {
    return this.#has(FLAG.stop) ? this.#records.time(this.#at, F.stop_ns) : undefined;
  }

  /** Counters need the sysctl nf_conntrack_acct, and come with `destroy` and `dumped`. */
  get originalPackets(): number | undefined {
    return this.#has(FLAG.counters) ? this.#records.u64(this.#at, F.original_packets) : undefined;
  }

  get originalBytes(): number | undefined {
    return this.#has(FLAG.counters) ? this.#records.u64(this.#at, F.original_bytes) : undefined;
  }

  get replyPackets(): number | undefined {
    return this.#has(FLAG.counters) ? this.#records.u64(this.#at, F.reply_packets) : undefined;
  }

  get replyBytes(): number | undefined {
    return this.#has(FLAG.counters) ? this.#records.u64(this.#at, F.reply_bytes) : undefined;
  }

  /** Of both directions. */
  get packets(): number | undefined {
    return this.#has(FLAG.counters)
      ? this.#records.u64(this.#at, F.original_packets) + this.#records.u64(this.#at, F.reply_packets)
      : undefined;
  }

  /** Of both directions, from the network header on. */
  get bytes(): number | undefined {
    return this.#has(FLAG.counters)
      ? this.#records.u64(this.#at, F.original_bytes) + this.#records.u64(this.#at, F.reply_bytes)
      : undefined;
  }

  /** The direction of the first packet, before translation. */
  original(): Tuple {
    return this.#records.tuple(this.#at, F.original, this.#records.u8(this.#at, F.family), this.#flags());
  }

  /** The answers' direction: what arrives, so after translation. */
  reply(): Tuple {
    return this.#records.tuple(this.#at, F.reply, this.#records.u8(this.#at, F.family), this.#flags());
  }
}

/** Conntrack records in the order in which the kernel told them, overruns in their place. Valid until the handler returns. */
export class ConntrackBatch implements Iterable<FlowRecord> {
  readonly length: number;
  readonly #record: FlowRecord;

  constructor(record: FlowRecord, length: number) {
    this.#record = record;
    this.length = length;
  }

  /** Record `index`; the same object every time, standing elsewhere. */
  at(index: number): FlowRecord {
    return this.#record.moveTo(index);
  }

  // Neither a generator nor a result each: it would cost as much as the reading itself.
  [Symbol.iterator](): Iterator<FlowRecord> {
    const result: IteratorResult<FlowRecord, undefined> = { done: false, value: this.#record };
    let next = 0;
    return {
      next: () => {
        if (next === this.length) return { done: true, value: undefined };
        this.#record.moveTo(next++);
        return result;
      },
    };
  }
}
