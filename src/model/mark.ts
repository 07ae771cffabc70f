/**
 * The bits of the conntrack mark that are ours. The class of a flow stands in them as a number from 1;
 * 0 means "no class of its own: its origin decides". Bits outside the mask are never changed.
 */
export interface MarkField {
  /** One run of set bits, for example 0x7f000000. */
  readonly mask: number;
  /** Position of the mask's lowest bit. */
  readonly shift: number;
  /**
   * One more bit that is ours, right above the mask: the pipeline reads the counters of flows that have it. Absent where no
   * rule looks at counters, or the classes leave no bit.
   */
  readonly watch?: number | undefined;
}

/** 126 classes in the top byte, without the sign bit: clear of what mwan3, kube-proxy and Tailscale use by default. */
export const DEFAULT_MARK_FIELD: MarkField = { mask: 0x7f000000, shift: 24 };

/** Every bit of a mark. */
export const WHOLE_MARK = 0xffffffff;

/** Bits that a field has at least, for the eight tins of cake, and at most: a class's number is a byte. */
export const LEAST_MARK_BITS = 4;
export const MOST_MARK_BITS = 8;

/** The field of a mask; undefined where it is no run of {@link LEAST_MARK_BITS} to {@link MOST_MARK_BITS} bits. */
export function markFieldOf(mask: number): MarkField | undefined {
  if (!Number.isInteger(mask) || mask <= 0 || mask > WHOLE_MARK) return undefined;
  const shift = 31 - Math.clz32(mask & -mask);
  const run = mask >>> shift;
  const bits = 32 - Math.clz32(run);
  if (run !== 2 ** bits - 1 || bits < LEAST_MARK_BITS || bits > MOST_MARK_BITS) return undefined;
  return { mask, shift };
}

/** The same bits with the highest set apart as {@link MarkField.watch}; unchanged where classes up to `highest` need it. */
export function splitMarkField(field: MarkField, highest: number): MarkField {
  const watch = 2 ** (31 - Math.clz32(field.mask));
  const split = { mask: (field.mask - watch) >>> 0, shift: field.shift, watch };
  return highest <= roomOf(split) ? split : field;
}

/** All bits that are ours. */
export const ownBits = ({ mask, watch = 0 }: MarkField): number => (mask | watch) >>> 0;

/** The highest number of a class that the field has room for. */
export const roomOf = ({ mask, shift }: MarkField): number => mask >>> shift;

/** A mark or mask as nft, ip and tc write it. */
export const formatMark = (mark: number): string => `0x${mark.toString(16).padStart(8, '0')}`;

/** The class number that `mark` holds; 0 for none. */
export const classOfMark = (field: MarkField, mark: number): number => (mark & field.mask) >>> field.shift;

/** The bits to write for class `number`, within the mask. */
export const markOfClass = (field: MarkField, number: number): number => ((number << field.shift) & field.mask) >>> 0;
