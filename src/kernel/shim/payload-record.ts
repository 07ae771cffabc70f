import type { Family, Tuple } from '../../model/index.ts';
import { KIND, PAYLOAD } from './layout.ts';
import type { Overrun } from './packet-record.ts';
import { familyOfNumber, type Records } from './records.ts';

/** What a packet of UDP or TCP carries, sent up by a rule's `log group`. */
export interface PayloadSample {
  readonly kind: 'payload';
  readonly group: number;
  readonly family: Family;
  /** 6 or 17. */
  readonly protocol: number;
  /** With ports. */
  readonly tuple: Tuple;
  /** Of TCP: number of the first byte. */
  readonly sequence: number;
  /** Bytes that the packet carries; {@link data} has the first 4096 of them. */
  readonly size: number;
  readonly data: Uint8Array;
}

export type PayloadItem = PayloadSample | Overrun;

const F = PAYLOAD.fields;

/** Decodes record `index`; its data are a copy. */
export function readPayload(records: Records, index: number): PayloadItem | undefined {
  const at = index * PAYLOAD.size;
  const kind = records.u16(at, F.head.kind);
  if (kind === KIND.overrun) return { kind: 'overrun', count: records.u32(at, F.head.count) };
  const family = familyOfNumber(records.u8(at, F.family));
  if (kind !== KIND.payload || family === undefined) return undefined;
  const start = at + F.data.offset;
  return {
    kind: 'payload',
    group: records.u16(at, F.group),
    family,
    protocol: records.u8(at, F.protocol),
    tuple: records.tuple(at, F.tuple, records.u8(at, F.family), records.u16(at, F.head.flags)),
    sequence: records.u32(at, F.sequence),
    size: records.u32(at, F.size),
    data: Uint8Array.from(records.bytes.subarray(start, start + records.u32(at, F.length))),
  };
}
