import type { Family, Tuple } from '../../model/index.ts';
import { FLAG, KIND, PACKET } from './layout.ts';
import { familyOfNumber, type Records } from './records.ts';

/** Messages that the kernel had to drop, for the reader was too slow: `count` times the socket ran over. */
export interface Overrun {
  readonly kind: 'overrun';
  readonly count: number;
}

/** A packet that a rule's `log group` sent up: its header fields, not its contents. */
export interface PacketSample {
  readonly kind: 'packet';
  /** Milliseconds since 1970, with a fraction: the packet's own time stamp where it has one. */
  readonly time: number;
  readonly group: number;
  /** The first 8 characters of the rule's log prefix. */
  readonly prefix: string;
  /** NF_INET_* hook: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting. */
  readonly hook: number;
  /** Absent where the packet did not arrive by a device; so for `outIfindex`. */
  readonly inIfindex?: number | undefined;
  readonly outIfindex?: number | undefined;
  readonly mac?: string | undefined;
  readonly ethertype: number;
  /** The packet's mark. */
  readonly mark: number;
  /** Bytes from the network header on. */
  readonly length: number;
  /** Absent, with all that follows, for what is not IP. */
  readonly family?: Family | undefined;
  readonly protocol?: number | undefined;
  readonly dscp?: number | undefined;
  /** IPv4: TTL. */
  readonly hopLimit?: number | undefined;
  /** A fragment after the first: it has no ports. */
  readonly fragment?: boolean | undefined;
  readonly tcpFlags?: number | undefined;
  readonly tuple?: Tuple | undefined;
}

export type PacketItem = PacketSample | Overrun;

const F = PACKET.fields;
const IPPROTO_TCP = 6;

/** Decodes record `index`. */
export function readPacket(records: Records, index: number): PacketItem | undefined {
  const at = index * PACKET.size;
  const kind = records.u16(at, F.head.kind);
  if (kind === KIND.overrun) return { kind: 'overrun', count: records.u32(at, F.head.count) };
  if (kind !== KIND.packet) return undefined;
  const flags = records.u16(at, F.head.flags);
  const family = familyOfNumber(records.u8(at, F.family));
  const mac = at + F.mac.offset;
  const sample: PacketSample = {
    kind: 'packet',
    time: records.time(at, F.head.time_ns),
    group: records.u16(at, F.group),
    prefix: records.text(at, F.prefix),
    hook: records.u8(at, F.hook),
    inIfindex: records.u32(at, F.in_ifindex) || undefined,
    outIfindex: records.u32(at, F.out_ifindex) || undefined,
    mac: flags & FLAG.mac ? records.bytes.toString('hex', mac, mac + 6).replace(/..\B/g, '$&:') : undefined,
    ethertype: records.u16(at, F.ethertype),
    mark: records.u32(at, F.mark),
    length: records.u32(at, F.length),
  };
  if (family === undefined) return sample;
  const protocol = records.u8(at, F.protocol);
  return {
    ...sample,
    family,
    protocol,
    dscp: records.u8(at, F.dscp),
    hopLimit: records.u8(at, F.hop_limit),
    fragment: (flags & FLAG.fragment) !== 0,
    tcpFlags: protocol === IPPROTO_TCP && flags & FLAG.ports ? records.u8(at, F.tcp_flags) : undefined,
    tuple: records.tuple(at, F.tuple, records.u8(at, F.family), flags),
  };
}
