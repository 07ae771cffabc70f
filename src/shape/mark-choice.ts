import type { Policy } from '../language/index.ts';
import {
  DEFAULT_MARK_FIELD,
  describeMarkUse,
  formatMark,
  HeadgateError,
  LEAST_MARK_BITS,
  type MarkField,
  type MarkUse,
  markFieldOf,
  roomOf,
} from '../model/index.ts';
import { highestClass } from './classes.ts';
import type { DatapathName } from './datapath.ts';

/** What a field has to do. */
export interface MarkWish {
  /** What the policy asks for; absent: any. */
  readonly field?: MarkField | undefined;
  /** What flows have marks in already; taken where it is free. */
  readonly before?: MarkField | undefined;
  /** Highest number of a class. */
  readonly classes: number;
  /** Flows get marks: some rule has a queue, or the datapath knows flows by them. */
  readonly marks: boolean;
  /** The datapath puts the flow's mark into the packet's. */
  readonly inPackets: boolean;
}

export interface MarkChoice {
  readonly field: MarkField;
  /** What goes on all the same, as sentences for the person. */
  readonly warnings: readonly string[];
}

/** What a policy asks of a field on a datapath. */
export const markWishOf = (policy: Policy, datapath: DatapathName): MarkWish => ({
  field: policy.marks,
  classes: highestClass(policy),
  marks: policy.rules.some(({ queue }) => queue !== undefined) || MARK_ALL.has(datapath),
  inPackets: datapath === 'mark',
});

/** Those that mark every flow (datapath-chains.ts). */
const MARK_ALL: ReadonlySet<DatapathName> = new Set(['ct', 'mark']);

/**
 * The bits that are to be ours: the policy's, or the default, or others that nobody uses, best those whose packets' marks
 * nobody uses either. Pure.
 *
 * @throws HeadgateError HG_MARK_TAKEN where somebody uses the policy's bits; HG_MARK_NONE where no bits are left;
 * HG_MARK_COMPARED where somebody compares whole marks, and the policy does not name its bits
 */
export function chooseMarkField(uses: readonly MarkUse[], wish: MarkWish): MarkChoice {
  const hard = uses.filter(({ of }) => of === 'ct' || wish.inPackets || copiesWhole(uses));
  const free = freeField(uses, wish) ?? freeField(hard, wish);
  const field = wish.field ?? free;
  if (!field)
    throw new HeadgateError('HG_MARK_NONE', { bits: LEAST_MARK_BITS, classes: wish.classes, who: namesOf(hard) });
  const hit = hard.filter(({ bits }) => (bits & field.mask) !== 0);
  if (hit.length > 0)
    throw new HeadgateError('HG_MARK_TAKEN', {
      mask: formatMark(field.mask),
      who: namesOf(hit),
      where: placesOf(hit),
      free: free ? `marks ${formatMark(free.mask)} is free` : 'no others are free',
    });
  const fooled = listFooled(uses, wish);
  if (fooled.length > 0 && !wish.field)
    throw new HeadgateError('HG_MARK_COMPARED', {
      mask: formatMark(field.mask),
      who: namesOf(fooled),
      where: placesOf(fooled),
    });
  return { field, warnings: warningsOf(uses, fooled, field, wish) };
}

/**
 * What has come to be in the way of a field that is in force, as sentences for the person: it cannot be changed any more,
 * and nothing of anybody else's is.
 */
export function warnOfMarkUses(uses: readonly MarkUse[], field: MarkField, wish: Omit<MarkWish, 'field'>): string[] {
  const hit = uses.filter(({ of, bits }) => (of === 'ct' || wish.inPackets) && (bits & field.mask) !== 0);
  return [
    ...hit.map((use) => `${use.who} uses our bits ${formatMark(field.mask)} of the mark by now: ${use.where}`),
    ...warningsOf(uses, listFooled(uses, wish), field, wish),
  ];
}

/** The packet's mark becomes the flow's, or the other way, with all bits. */
const copiesWhole = (uses: readonly MarkUse[]): boolean =>
  uses.some(({ whole }) => whole === 'restores' || whole === 'overwrites');

/** Those who compare a whole mark that has our bits in it. */
function listFooled(uses: readonly MarkUse[], { marks, inPackets }: Pick<MarkWish, 'marks' | 'inPackets'>): MarkUse[] {
  const restored = uses.some(({ whole }) => whole === 'restores');
  return marks ? uses.filter(({ whole, of }) => whole === 'compares' && (of === 'ct' || restored || inPackets)) : [];
}

function warningsOf(
  uses: readonly MarkUse[],
  fooled: readonly MarkUse[],
  field: MarkField,
  { marks }: Pick<MarkWish, 'marks'>,
): string[] {
  const mask = formatMark(field.mask);
  const wiped = marks ? uses.filter(({ whole }) => whole === 'overwrites') : [];
  return [
    ...fooled.map((use) => `${use.who} compares the whole mark, and finds our bits ${mask} in it: ${use.where}`),
    ...wiped.map(
      (use) => `${use.who} overwrites the whole ct mark: its flows lose their class and go by origin: ${use.where}`,
    ),
  ];
}

/** The widest that is free, the one before first, then the default, then the highest; never narrower than {@link LEAST_MARK_BITS}. */
function freeField(uses: readonly MarkUse[], { classes, before }: MarkWish): MarkField | undefined {
  const used = uses.reduce((bits, use) => bits | use.bits, 0);
  return [...(before ? [before] : []), ...CANDIDATES].find(
    (field) => (field.mask & used) === 0 && roomOf(field) >= classes,
  );
}

/** No wider than the default, which has room for every policy. */
const CANDIDATES: readonly MarkField[] = [
  DEFAULT_MARK_FIELD,
  ...[7, 6, 5, LEAST_MARK_BITS].flatMap((bits) =>
    Array.from({ length: 33 - bits }, (_, i) => markFieldOf((2 ** bits - 1) * 2 ** (32 - bits - i))!),
  ),
];

const namesOf = (uses: readonly MarkUse[]): string => [...new Set(uses.map(describeMarkUse))].join(', ');
const placesOf = (uses: readonly MarkUse[]): string =>
  [...new Set(uses.map(({ where }) => where))].slice(0, 5).join('; ');
