/**
 * How Headgate's objects are recognised in the kernel: by rare handles and by the ifb's alias, so that
 * `down`, `status` and the next `up` need no memory of their own.
 */

/** Handle of the HTB on the ifb. Rare, because skb->priority survives forwarding of IPv6: it must fit no other device's tree. */
export const DOWNLOAD_MAJOR = 0x7fe0;
/** Handle of the HTB on the link itself, for what leaves. */
export const UPLOAD_MAJOR = 0x7fe1;
/** Class that holds all queues of a tree, with the link's whole rate. Above every queue's number. */
export const LINK_MINOR = 0x100;
/** Leaf qdisc below class N has handle LEAF_MAJOR + N. */
export const LEAF_MAJOR = 0x7f00;
/** Preference (tc's `pref`) of our filters. */
export const FILTER_PREF = 0x7fe0;
/** Our nft table, family inet. */
export const TABLE = 'headgate';

const ALIAS = 'headgate';

/** 32-bit tc handle from its two halves. */
export const handle = (major: number, minor: number): number => ((major << 16) | minor) >>> 0;

/** As tc writes it: `7fe0:3`, `7fe0:`. */
export const formatHandle = (major: number, minor = 0): string =>
  `${major.toString(16)}:${minor ? minor.toString(16) : ''}`;

/**
 * Name of the ifb for a device: `hg-DEVICE`, or, where that is over the kernel's 15 characters (IFNAMSIZ), a cut
 * name with a hash. It never equals the device's own name: a redirect to itself would loop.
 */
export function ifbName(device: string): string {
  const name = `hg-${device}`;
  if (name.length <= 15) return name;
  let hash = 0;
  for (const char of device) hash = (Math.imul(hash, 31) + char.codePointAt(0)!) >>> 0;
  return `hg-${device.slice(0, 6)}-${hash.toString(36).padStart(5, '0').slice(-5)}`;
}

/** What the ifb's alias says: whose it is, and what was made beside it. */
export interface Ownership {
  readonly link: string;
  readonly device: string;
  /** We added clsact to the device, so we remove it. */
  readonly clsact: boolean;
}

export const formatAlias = (o: Ownership): string =>
  `${ALIAS} link=${o.link} device=${o.device} clsact=${o.clsact ? 'ours' : 'found'}`;

/** Reads an alias written by {@link formatAlias}; undefined for everyone else's. */
export function parseAlias(alias: string | undefined): Ownership | undefined {
  const match = /^headgate link=(\S+) device=(\S+) clsact=(ours|found)$/.exec(alias ?? '');
  return match ? { link: match[1]!, device: match[2]!, clsact: match[3] === 'ours' } : undefined;
}
