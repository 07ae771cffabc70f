import type { Address } from './address.ts';

/**
 * Who opened a connection, seen from this side of the link.
 *
 * `local`: this side (the box itself or a host behind it); its arriving packets are answers.
 * `remote`: the other side. `new`: not known yet: no conntrack entry, or neither end can be placed.
 */
export type Origin = 'local' | 'remote' | 'new';
export const ORIGINS: readonly Origin[] = ['local', 'remote', 'new'];

/** One direction of a conntrack entry. Ports are absent for protocols without any; `icmp` is there for ICMP and ICMPv6. */
export interface Tuple {
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort?: number | undefined;
  readonly destinationPort?: number | undefined;
  readonly icmp?: { readonly type: number; readonly code: number; readonly id: number } | undefined;
}

export interface End {
  readonly address: Address;
  /** Absent where the protocol has no ports. */
  readonly port?: number | undefined;
}

/**
 * What a policy can look at in a flow. `local` and `remote` are the two ends as seen from this side of the link,
 * whichever opened the connection, and with NAT undone.
 */
export interface FlowFacts {
  readonly origin: Origin;
  /** IPPROTO number, 0..255. */
  readonly protocol: number;
  readonly local: End;
  readonly remote: End;
}

/** IP protocol numbers by the names that a policy uses (IANA protocol numbers; /etc/protocols). */
export const PROTOCOLS = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  icmpv6: 58,
  sctp: 132,
} as const;

const names = new Map<number, string>(Object.entries(PROTOCOLS).map(([name, number]) => [number, name]));

/** The protocol's name, or its number as text. */
export const protocolName = (protocol: number): string => names.get(protocol) ?? String(protocol);
