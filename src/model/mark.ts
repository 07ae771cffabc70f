/**
 * The bits of the conntrack mark that are ours. The class of a flow stands in them as a number from 1;
 * 0 means "no class of its own: its origin decides". Bits outside the mask are never changed.
 */
export interface MarkField {
  /** One run of set bits, for example 0x7f000000. */
  readonly mask: number;
  /** Position of the mask's lowest bit. */
  readonly shift: number;
}

/** 126 classes in the top byte, without the sign bit: clear of what mwan3, kube-proxy and Tailscale use by default. */
export const DEFAULT_MARK_FIELD: MarkField = { mask: 0x7f000000, shift: 24 };

/** The class number that `mark` holds; 0 for none. */
export const classOfMark = (field: MarkField, mark: number): number => (mark & field.mask) >>> field.shift;

/** The bits to write for class `number`, within the mask. */
export const markOfClass = (field: MarkField, number: number): number => ((number << field.shift) & field.mask) >>> 0;
