import { formatMark } from './mark.ts';

/**
 * How somebody treats a mark as one number of 32 bits, so that other bits in it than theirs matter to them:
 * `compares` it, `restores` the packet's from the flow's, or `overwrites` the flow's.
 */
export type WholeUse = 'compares' | 'restores' | 'overwrites';

/** Bits of a mark that somebody other than we reads or writes. */
export interface MarkUse {
  /** Name of the software where it is known by its traces, else the place: `nft table inet fw`. */
  readonly who: string;
  /** Where it stands, and what it says, for the person who looks for it. */
  readonly where: string;
  /** The packet's mark (skb->mark), or the flow's (nf_conn.mark). */
  readonly of: 'packet' | 'ct';
  /** 0 where none are known. */
  readonly bits: number;
  readonly whole?: WholeUse | undefined;
}

/** Who it is, and what of the mark is theirs: `Tailscale (0x00ff0000)`. */
export const describeMarkUse = ({ who, bits }: MarkUse): string => (bits === 0 ? who : `${who} (${formatMark(bits)})`);
