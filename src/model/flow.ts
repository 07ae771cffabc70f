import { type Address, formatAddress, parseAddress } from './address.ts';

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

/** The same way back. */
export const turned = ({ source, sourcePort, destination, destinationPort }: Tuple): Tuple => ({
  source: destination,
  sourcePort: destinationPort,
  destination: source,
  destinationPort: sourcePort,
});

export interface End {
  readonly address: Address;
  /** Absent where the protocol has no ports. */
  readonly port?: number | undefined;
}

/** `address:port`, `[address]:port`, or the address alone. */
export function formatEnd({ address, port }: End): string {
  const text = formatAddress(address);
  if (port === undefined) return text;
  return address.length === 16 ? `[${text}]:${port}` : `${text}:${port}`;
}

/** Reads what {@link formatEnd} writes, and an address in brackets alone; undefined where the text is no end. */
export function parseEnd(text: string): End | undefined {
  const colon = text.lastIndexOf(':');
  const hasPort = colon > 0 && (text[colon - 1] === ']' || text.indexOf(':') === colon);
  const host = hasPort ? text.slice(0, colon) : text;
  const address = parseAddress(host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host);
  if (!address || !hasPort) return address && { address };
  const digits = text.slice(colon + 1);
  return /^\d{1,5}$/.test(digits) && Number(digits) <= 65_535 ? { address, port: Number(digits) } : undefined;
}

/**
 * What a policy can look at in a flow. `local` and `remote` are the two ends as seen from this side of the link,
 * whichever opened the connection, and with NAT undone. `in` is what arrives at this side, `out` what leaves it.
 *
 * Everything but the identity is optional: a source that is not there, or not asked, leaves it out, and then every
 * comparison with it is false (so its `not` is true). Optional is never zero.
 */
export interface FlowFacts {
  readonly origin: Origin;
  /** IPPROTO number, 0..255. */
  readonly protocol: number;
  readonly local: End;
  readonly remote: End;

  /** Name of the inside device that the flow's packets come from or go to. */
  readonly device?: string | undefined;
  /** Hardware address of the inside host: `aa:bb:cc:dd:ee:ff`, lower case. */
  readonly mac?: string | undefined;
  /** Of the packet that opened it, 0..63. */
  readonly dscp?: number | undefined;
  /** Conntrack zone, 0..65535. */
  readonly zone?: number | undefined;
  /** Which translations conntrack applied (IPS_SRC_NAT, IPS_DST_NAT). */
  readonly nat?: { readonly source: boolean; readonly destination: boolean } | undefined;
  /** Conntrack helper, such as `ftp`. */
  readonly helper?: string | undefined;

  /** Of the local socket, for flows that end on this box. */
  readonly user?: { readonly id: number; readonly name?: string | undefined } | undefined;
  /** Name of the process (comm). */
  readonly process?: string | undefined;
  /** systemd unit, such as `qbittorrent.service`. */
  readonly unit?: string | undefined;
  /** Path below the cgroup root, beginning with `/`. */
  readonly cgroup?: string | undefined;

  /** Names that DNS answers gave for the remote address, lower case, without the last dot. */
  readonly domains?: readonly string[] | undefined;

  /** It is of a swarm of peers, and what says so, in few words each. */
  readonly p2p?: { readonly holds: boolean; readonly evidence: readonly string[] } | undefined;

  readonly bytes?: Counter | undefined;
  readonly packets?: Counter | undefined;
  /** Since its first packet, ms. */
  readonly age?: number | undefined;
  /** Since its last packet, ms. */
  readonly idle?: number | undefined;
  /** Bits a second over the last `window` ms. */
  readonly rate?: ((direction: Direction, window: number) => number | undefined) | undefined;
  readonly tcpState?: TcpState | undefined;

  /** How many flows, or different remote addresses, there are with this flow's value of the key. */
  readonly count?: ((of: 'flows' | 'peers', by: CountKey) => number | undefined) | undefined;
  /** Local time. */
  readonly clock?: { /** 0..1439 */ readonly minute: number /** 0: Sunday */; readonly day: number } | undefined;
  /** The dynamic set has this address now. */
  readonly inSet?: ((set: string, address: Address) => boolean) | undefined;
  /** For how long, in ms, the condition that a `for` waits on has held for this flow; 0 where it does not. `timer` numbers them. */
  readonly held?: ((timer: number) => number | undefined) | undefined;
}

/** `total` is both together. */
export type Direction = 'in' | 'out' | 'total';
/** A direction that is not known is left out; then the two together are not known either. */
export interface Counter {
  readonly in?: number | undefined;
  readonly out?: number | undefined;
}

/** What company is counted by. */
export type CountKey = 'local' | 'remote' | 'local.port' | 'remote.port' | 'unit';
export const COUNT_KEYS: readonly CountKey[] = ['local', 'remote', 'local.port', 'remote.port', 'unit'];

/** As `conntrack -L` writes them, in lower case with `_` (linux/netfilter/nf_conntrack_tcp.h), by their number. */
export const TCP_STATES = [
  'none',
  'syn_sent',
  'syn_recv',
  'established',
  'fin_wait',
  'close_wait',
  'last_ack',
  'time_wait',
  'close',
  'syn_sent2',
] as const;
export type TcpState = (typeof TCP_STATES)[number];

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

/** With DCCP and UDP-Lite: those whose ends have ports, as conntrack tells them (nf_conntrack_proto.c). */
const WITH_PORTS: readonly number[] = [PROTOCOLS.tcp, PROTOCOLS.udp, 33, PROTOCOLS.sctp, 136];

/** The protocol's ends have ports. */
export const hasPorts = (protocol: number): boolean => WITH_PORTS.includes(protocol);

const names = new Map<number, string>(Object.entries(PROTOCOLS).map(([name, number]) => [number, name]));

/** The protocol's name, or its number as text. */
export const protocolName = (protocol: number): string => names.get(protocol) ?? String(protocol);
