import { type Address, maskAddress, type Prefix } from '../../model/index.ts';
import { KIND, LINK } from './layout.ts';
import type { Overrun } from './packet-record.ts';
import type { Records } from './records.ts';

/** A network device as it is now. */
export interface LinkState {
  readonly kind: 'link' | 'linkGone';
  readonly ifindex: number;
  readonly name: string;
  /** IFF_* bits: 1 is up, 0x40 running. */
  readonly flags: number;
  readonly mtu: number;
  /** ARPHRD_*: 1 Ethernet, 65534 none (tun), 772 loopback. */
  readonly type: number;
}

/** An address of ours on a device. */
export interface LinkAddress {
  readonly kind: 'address' | 'addressGone';
  readonly ifindex: number;
  readonly address: Address;
  /** The network that the address is in. */
  readonly prefix: Prefix;
}

/** A unicast route of the main table. */
export interface LinkRoute {
  readonly kind: 'route' | 'routeGone';
  readonly prefix: Prefix;
  /** The output device; absent where there is none or several. */
  readonly ifindex?: number | undefined;
}

/** A qdisc, class, filter or chain of a device has been removed or replaced, by whomever. */
export interface TcGone {
  readonly kind: 'tcGone';
  readonly ifindex: number;
}

/** A table of nftables has been removed, or something in it but the elements of its sets. */
export interface TableGone {
  readonly kind: 'tableGone';
  /** At most its first 15 bytes. */
  readonly name: string;
}

/**
 * `restart`: everything is told anew; what was known before and is not told again by `ready` is gone.
 * `ready`: all is told; changes follow.
 */
export type LinkItem =
  | LinkState
  | LinkAddress
  | LinkRoute
  | TcGone
  | TableGone
  | { readonly kind: 'restart' | 'ready' }
  | Overrun;

const F = LINK.fields;

function readPrefix(records: Records, at: number): Prefix {
  const address = records.address(at, F.address, records.u8(at, F.family));
  const length = records.u8(at, F.prefix_length);
  return { address: maskAddress(address, length), length };
}

const readLink = (kind: LinkState['kind'], records: Records, at: number): LinkState => ({
  kind,
  ifindex: records.u32(at, F.ifindex),
  name: records.text(at, F.name),
  flags: records.u32(at, F.flags),
  mtu: records.u32(at, F.mtu),
  type: records.u16(at, F.type),
});

const readAddress = (kind: LinkAddress['kind'], records: Records, at: number): LinkAddress => ({
  kind,
  ifindex: records.u32(at, F.ifindex),
  address: records.address(at, F.address, records.u8(at, F.family)),
  prefix: readPrefix(records, at),
});

const readRoute = (kind: LinkRoute['kind'], records: Records, at: number): LinkRoute => ({
  kind,
  prefix: readPrefix(records, at),
  ifindex: records.u32(at, F.ifindex) || undefined,
});

/** Decodes record `index`. */
export function readLinkItem(records: Records, index: number): LinkItem | undefined {
  const at = index * LINK.size;
  switch (records.u16(at, F.head.kind)) {
    case KIND.link:
      return readLink('link', records, at);
    case KIND.linkGone:
      return readLink('linkGone', records, at);
    case KIND.address:
      return readAddress('address', records, at);
    case KIND.addressGone:
      return readAddress('addressGone', records, at);
    case KIND.route:
      return readRoute('route', records, at);
    case KIND.routeGone:
      return readRoute('routeGone', records, at);
    case KIND.tcGone:
      return { kind: 'tcGone', ifindex: records.u32(at, F.ifindex) };
    case KIND.tableGone:
      return { kind: 'tableGone', name: records.text(at, F.name) };
    case KIND.dumpStart:
      return { kind: 'restart' };
    case KIND.dumpEnd:
      return { kind: 'ready' };
    case KIND.overrun:
      return { kind: 'overrun', count: records.u32(at, F.head.count) };
    default:
      return undefined;
  }
}
