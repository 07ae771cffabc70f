import type { Origin } from '../model/index.ts';

/**
 * How Headgate's objects are recognised in the kernel: by rare handles and by the ifb's alias, so that
 * `down`, `status` and the next `up` need no memory of their own.
 */

/** Handle of the HTB on the ifb. Rare, because skb->priority survives forwarding of IPv6: it must fit no other device's tree. */
export const DOWNLOAD_MAJOR = 0x7fe0;
/** Handle of the HTB on the link itself, for what leaves. */
export const UPLOAD_MAJOR = 0x7fe1;
/** Where a tree does not shape by itself (prio), the shaper at the root above it has the tree's handle less this. */
const SHAPER_BELOW = 0x10;
export const shaperMajor = (major: number): number => major - SHAPER_BELOW;
/** Class that holds all queues of a tree, with the link's whole rate. Above every queue's number. */
export const LINK_MINOR = 0x100;
/** Leaf qdisc below class N has handle LEAF_MAJOR + N. */
export const LEAF_MAJOR = 0x7f00;
/** Preference (tc's `pref`) of the filter that every packet enters by, and the least of those behind it. */
export const FILTER_PREF = 0x7fe0;
/** Preference of the first of those filters that pick, behind that one, what is an ifb's, where a link has several. */
export const PICK_PREF = FILTER_PREF + 4;
/** Of every other generation of those: so another policy's can stand beside those in force. */
export const SECOND_PICK_PREF = PICK_PREF + 4;
/** Chain without filters on a clsact that we added: it says so as long as that is there, whatever else has gone. */
export const HOOK_CHAIN = 0x7fef;
/** Our nft table, family inet. */
export const TABLE = 'headgate';

const ALIAS = 'headgate';

/** 32-bit tc handle from its two halves. */
export const handle = (major: number, minor: number): number => ((major << 16) | minor) >>> 0;

/** As tc writes it: `7fe0:3`, `7fe0:`. */
export const formatHandle = (major: number, minor = 0): string =>
  `${major.toString(16)}:${minor ? minor.toString(16) : ''}`;

/**
 * Name of the ifb for a device: `hg-DEVICE`, of one for an origin `hg-DEVICE-ORIGIN`, or, where that is over the kernel's
 * 15 characters (IFNAMSIZ), a cut name with a hash. It never equals the device's own name: a redirect to itself would loop.
 */
export function ifbName(device: string, origin?: Origin): string {
  const whole = origin === undefined ? device : `${device}-${origin}`;
  const name = `hg-${whole}`;
  if (name.length <= 15) return name;
  let hash = 0;
  for (const char of whole) hash = (Math.imul(hash, 31) + char.codePointAt(0)!) >>> 0;
  return `hg-${device.slice(0, 6)}-${hash.toString(36).padStart(5, '0').slice(-5)}`;
}

/** The name that an ifb gets beside one that has its own: `hg_wan` beside `hg-wan`, and the other way round. */
export const besideName = (ifb: string): string => `hg${ifb[2] === '-' ? '_' : '-'}${ifb.slice(3)}`;

/** The ifb that keeps a copy of the root qdisc that was there before ours. */
export const formerName = (device: string): string => `hg=${ifbName(device).slice(3)}`;

export const isFormerName = (ifb: string): boolean => ifb.startsWith('hg=');

/** Its alias says by the device's index whose the root was: that stays when the device gets another name. */
export const formatFormerAlias = (index: number): string => `${ALIAS} former root of ${index}`;

/** Index of the device whose former root qdisc the ifb keeps; undefined for every other device. */
export function parseFormerAlias(alias: string | undefined): number | undefined {
  const index = /^headgate former root of (\d+)$/.exec(alias ?? '')?.[1];
  return index === undefined ? undefined : Number(index);
}

/** Longest alias that the kernel keeps (IFALIASZ, linux/if.h, with its closing zero). */
const ALIAS_LENGTH = 255;

/** A device whose arriving packets are redirected to the ifb. */
export interface Hook {
  readonly device: string;
  /** We added clsact to the device, so we remove it. */
  readonly clsact: boolean;
}

/** What the ifb's alias says: whose it is, and what was made beside it. */
export interface Ownership extends Hook {
  readonly link: string;
  /** The other devices that share the ifb and its tree. */
  readonly shared: readonly Hook[];
}

/** Every device that leads to the ifb, the one that it is named after first. */
export const hooksOf = ({ device, clsact, shared }: Ownership): Hook[] => [{ device, clsact }, ...shared];

/** The ownership with what is now true of one device. */
export function withHook(ownership: Ownership, hook: Hook): Ownership {
  if (hook.device === ownership.device) return { ...ownership, clsact: hook.clsact };
  return { ...ownership, shared: [...ownership.shared.filter(({ device }) => device !== hook.device), hook] };
}

export function formatAlias({ link, device, clsact, shared }: Ownership): string {
  const alias = `${ALIAS} link=${link} device=${device} clsact=${word(clsact)}`;
  // A device's name may hold any visible character but "/" and ":" (dev_valid_name()).
  return shared.length === 0
    ? alias
    : `${alias} shared=${shared.map((s) => `${s.device}:${word(s.clsact)}`).join(',')}`;
}

/** The kernel keeps the alias whole. */
export const fitsAlias = (ownership: Ownership): boolean => formatAlias(ownership).length <= ALIAS_LENGTH;

/** Reads an alias written by {@link formatAlias}; undefined for everyone else's. */
export function parseAlias(alias: string | undefined): Ownership | undefined {
  const match = /^headgate link=(\S+) device=(\S+) clsact=(ours|found)(?: shared=(\S+))?$/.exec(alias ?? '');
  if (!match) return undefined;
  const [, link, device, clsact, shared] = match;
  return {
    link: link!,
    device: device!,
    clsact: clsact === 'ours',
    shared: [...(shared ?? '').matchAll(/([^:]+):(ours|found)(?:,|$)/g)].map(([, name, whose]) => ({
      device: name!,
      clsact: whose === 'ours',
    })),
  };
}

const word = (clsact: boolean): string => (clsact ? 'ours' : 'found');
