import type { U32Key } from './tc-filter.ts';

/**
 * What is never queued, for datapaths without a program: IGMP, DHCP, neighbour and router discovery, multicast listener
 * discovery. native-shim/bpf/icmp.h says why, and why with these hop limits. A link does not work without them.
 */

const key = (at: number, mask: number, value: number): U32Key => ({ at, mask, value });

const IPV4_PROTOCOL = (protocol: number) => key(8, 0x00ff0000, protocol << 16);
/** UDP over IPv4 without options, whole or the first fragment, to a port. */
const IPV4_UDP_TO = (port: number) => [
  key(0, 0xff000000, 0x45000000),
  key(4, 0x00001fff, 0),
  IPV4_PROTOCOL(17),
  key(20, 0x0000ffff, port),
];
const IPV6_NEXT_AND_HOPS = (next: number, hops: number) => key(4, 0x0000ffff, (next << 8) | hops);
/** The message type, of which `mask` counts. Under the type 8-bit code and checksum follow. */
const ICMPV6_TYPE = (at: number, type: number, mask = 0xff) => key(at, (mask << 24) >>> 0, (type << 24) >>> 0);

const ND = (type: number, mask?: number) => [IPV6_NEXT_AND_HOPS(58, 255), ICMPV6_TYPE(40, type, mask)];
/** Behind a hop-by-hop header of eight bytes, which holds the router alert (RFC 2710, 3810). */
const MLD = (type: number, mask?: number) => [
  IPV6_NEXT_AND_HOPS(0, 1),
  key(40, 0xffff0000, 58 << 24),
  ICMPV6_TYPE(48, type, mask),
];

/** As keys of u32, from the IP header on. */
export const LEFT_ALONE_U32: Readonly<Record<'ipv4' | 'ipv6', readonly (readonly U32Key[])[]>> = {
  ipv4: [[IPV4_PROTOCOL(2)], IPV4_UDP_TO(67), IPV4_UDP_TO(68)],
  ipv6: [
    [key(4, 0x0000ff00, 17 << 8), key(40, 0x0000fffe, 546)],
    ND(133),
    ND(134, 0xfe),
    ND(136, 0xfe),
    MLD(130, 0xfe),
    MLD(132),
    MLD(143),
  ],
};

/** As matches of nft, for a chain of family inet or netdev. */
export const LEFT_ALONE_NFT: readonly string[] = [
  'meta l4proto igmp',
  'meta protocol ip udp dport { 67, 68 }',
  'meta protocol ip6 udp dport { 546, 547 }',
  'icmpv6 type 133-137 ip6 hoplimit 255',
  'icmpv6 type { 130, 131, 132, 143 } ip6 hoplimit 1',
];
