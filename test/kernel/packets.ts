// Packets by hand, from the outside in: ethernet(..., ipv4(..., udp(...))). Checksums of TCP, UDP and ICMP stay zero
// unless said otherwise: the classifier does not look at them, and conntrack makes no entry for a packet whose
// checksum is wrong, so a crafted packet leaves no flow behind for the next.

import { parseAddress } from '../../src/model/index.ts';

export type Bytes = Uint8Array;

const concat = (...parts: Bytes[]): Bytes => Uint8Array.from(Buffer.concat(parts));
const u16 = (...values: number[]): Bytes => Uint8Array.from(values.flatMap((v) => [(v >> 8) & 0xff, v & 0xff]));
const u32 = (value: number): Bytes => u16(value >>> 16, value & 0xffff);

function address(text: string): Bytes {
  const bytes = parseAddress(text);
  if (!bytes) throw new Error(`no address: ${text}`);
  return bytes;
}

export const hex = (bytes: Bytes): string => Buffer.from(bytes).toString('hex');

export const ETHERTYPE = {
  ipv4: 0x0800,
  ipv6: 0x86dd,
  arp: 0x0806,
  lldp: 0x88cc,
  vlan: 0x8100,
  qinq: 0x88a8,
  pppoe: 0x8864,
};
export const PROTOCOL = {
  hopByHop: 0,
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  routing: 43,
  fragment: 44,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  none: 59,
  destinationOptions: 60,
  sctp: 132,
};

export interface Link {
  readonly source: string;
  readonly destination: string;
}

const mac = (text: string): Bytes => Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));

export const ethernet = (link: Link, ethertype: number, payload: Bytes): Bytes =>
  concat(mac(link.destination), mac(link.source), u16(ethertype), payload);

/** A tag's four bytes in front of what it tags; goes behind an ethertype of `vlan` or `qinq`. */
export const vlanTag = (id: number, ethertype: number, payload: Bytes): Bytes => concat(u16(id, ethertype), payload);

/** PPPoE session data (RFC 2516); goes behind an ethertype of `pppoe`. */
export const pppoe = (pppProtocol: number, payload: Bytes, code = 0): Bytes =>
  concat(u16(0x1100 | code, 1, payload.length + 2, pppProtocol), payload);

export interface Ipv4 {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly id?: number;
  /** Of the fragment, in bytes. */
  readonly offset?: number;
  readonly more?: boolean;
  readonly options?: Bytes;
}

export function ipv4(ip: Ipv4, payload: Bytes): Bytes {
  const options = ip.options ?? new Uint8Array(0);
  const words = 5 + options.length / 4;
  const fragment = (ip.more ? 0x2000 : 0) | ((ip.offset ?? 0) >> 3);
  const start = u16(0x4000 | (words << 8), words * 4 + payload.length, ip.id ?? 0, fragment, 0x4000 | ip.protocol);
  const end = concat(address(ip.source), address(ip.destination), options);
  return concat(start, u16(checksum(concat(start, end))), end, payload);
}

export interface Ipv6 {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly hopLimit?: number;
}

export const ipv6 = (ip: Ipv6, payload: Bytes): Bytes =>
  concat(
    u32(0x60000000),
    u16(payload.length, (ip.protocol << 8) | (ip.hopLimit ?? 64)),
    address(ip.source),
    address(ip.destination),
    payload,
  );

/** A hop-by-hop, routing or destination options header of `units` times 8 bytes. */
export const extension = (next: number, payload: Bytes, units = 1): Bytes => {
  const length = units * 8;
  // PadN fills it (RFC 8200, section 4.2); as a routing header that is type 1, no segments left... of no use to anyone.
  const body = new Uint8Array(length);
  body.set([next, units - 1, 1, Math.min(length - 4, 255)]);
  return concat(body, payload);
};

export const authentication = (next: number, payload: Bytes): Bytes =>
  concat(Uint8Array.from([next, 4, 0, 0]), new Uint8Array(20), payload);

export const fragmentHeader = (
  next: number,
  at: { id: number; offset?: number; more?: boolean },
  payload: Bytes,
): Bytes => concat(u16(next << 8, (at.offset ?? 0) | (at.more ? 1 : 0)), u32(at.id), payload);

export interface Ports {
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export const udp = (ports: Ports, size = 8): Bytes =>
  concat(u16(ports.sourcePort, ports.destinationPort, 8 + size, 0xbad), new Uint8Array(size));

export const TCP_FLAGS = { syn: 2, ack: 16 };
export const tcp = (ports: Ports, flags = TCP_FLAGS.ack, size = 0): Bytes =>
  concat(
    u16(ports.sourcePort, ports.destinationPort),
    u32(1),
    u32(1),
    u16(0x5000 | flags, 1024, 0, 0),
    new Uint8Array(size),
  );

/** An ICMP or ICMPv6 message: of an error the body is the packet that it quotes. */
export const icmp = (type: number, body: Bytes = new Uint8Array(8), code = 0): Bytes =>
  concat(u16((type << 8) | code, 0, 1, 1), body);

function checksum(bytes: Bytes): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A UDP packet with the checksum that it needs between these addresses, so that conntrack takes it. */
export function withUdpChecksum(packet: Bytes, source: string, destination: string): Bytes {
  const whole = Uint8Array.from(packet);
  whole.set([0, 0], 6);
  const pseudo = concat(address(source), address(destination), u32(whole.length), u32(PROTOCOL.udp));
  whole.set(u16(checksum(concat(pseudo, whole)) || 0xffff), 6);
  return whole;
}
