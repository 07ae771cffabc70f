// Conntrack records as the shim packs them, for tests of the pipeline without a kernel; and who a flow is.

import { type FlowKind, FlowRecord, type MarkBatch } from '../../src/kernel/index.ts';
import { FLAG, FLOW, KEY_BYTES, KIND } from '../../src/kernel/shim/layout.ts';
import { Records } from '../../src/kernel/shim/records.ts';
import type { Address, Tuple } from '../../src/model/index.ts';
import { encode } from './shim-encode.ts';

/** What a record says; what is left out is as of a flow whose counters, state and times the kernel does not tell. */
export interface News {
  readonly id?: number;
  readonly zone?: number;
  readonly protocol?: number;
  readonly mark?: number;
  readonly count?: number;
  readonly interrupted?: boolean;
  readonly original?: Tuple;
  readonly reply?: Tuple;
  /** Bytes and packets of the original direction, then of the reply. */
  readonly counters?: readonly [bytes: number, packets: number, replyBytes: number, replyPackets: number];
  readonly status?: number;
  readonly tcpState?: number;
  /** Ms since 1970. */
  readonly start?: number;
}

export function record(kind: FlowKind, news: News = {}): FlowRecord {
  const {
    id = 1,
    zone = 0,
    protocol = 6,
    mark = 0,
    count = 1,
    original,
    reply,
    counters,
    status,
    tcpState,
    start,
  } = news;
  const flags =
    (news.interrupted ? FLAG.interrupted : 0) |
    (counters ? FLAG.counters : 0) |
    (status === undefined ? 0 : FLAG.status) |
    (tcpState === undefined ? 0 : FLAG.tcpState) |
    (start === undefined ? 0 : FLAG.start) |
    (original?.sourcePort === undefined ? 0 : FLAG.ports);
  const bytes = encode(FLOW, {
    'head.kind': KIND[kind],
    'head.flags': flags,
    'head.count': count,
    id,
    zone,
    protocol,
    mark,
    family: original?.source.length === 16 ? 10 : 2,
    ...(original && tupleFields('original', original)),
    ...(reply && tupleFields('reply', reply)),
    ...(counters && {
      original_bytes: counters[0],
      original_packets: counters[1],
      reply_bytes: counters[2],
      reply_packets: counters[3],
    }),
    status: status ?? 0,
    tcp_state: tcpState ?? 0,
    start_ns: BigInt(Math.round((start ?? 0) * 1e6)),
  });
  const records = new Records(FLOW.size, 1);
  records.bytes.set(bytes);
  return new FlowRecord(records);
}

const tupleFields = (name: string, { source, destination, sourcePort = 0, destinationPort = 0 }: Tuple) => ({
  [`${name}.src`]: padded(source),
  [`${name}.dst`]: padded(destination),
  [`${name}.src_port`]: sourcePort,
  [`${name}.dst_port`]: destinationPort,
});

function padded(address: Address): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(address);
  return bytes;
}

/** Who a flow is: zone, family, protocol and original tuple, as 44 bytes in a latin1 string. */
export const identityOf = ({ words, word }: FlowRecord): string =>
  Buffer.from(words.buffer, words.byteOffset + 4 * word, KEY_BYTES).toString('latin1');

/** What a batch asks for: of each flow the source port of its original tuple, and mark and mask. */
export const requestsOf = ({ words }: MarkBatch): { port: number; mark: number; mask: number }[] =>
  Array.from({ length: words.length / 13 }, (_, i) => ({
    port: new Uint16Array(words.buffer, words.byteOffset)[i * 26 + 18]!,
    mark: words[i * 13 + 11]!,
    mask: words[i * 13 + 12]!,
  }));
