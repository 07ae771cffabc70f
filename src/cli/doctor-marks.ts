import type { Scene } from '../apply/index.ts';
import { surveyMarks } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { describeMarkUse, formatMark, HeadgateError, type MarkUse } from '../model/index.ts';
import { chooseMarkField, type DatapathName, markWishOf } from '../shape/index.ts';

/** Whose bits of the mark are whose. */
export interface MarksHere {
  /** Those that are ours now, by the table in the kernel; absent: none. */
  readonly inForce?: string | undefined;
  /** Those that `up` would take, or what it would say. */
  readonly wouldTake: string | HeadgateError;
  readonly warnings: readonly string[];
  readonly uses: readonly MarkUse[];
  /** What could not be looked at. */
  readonly unseen: readonly string[];
}

export async function lookAtMarks(policy: Policy, datapath: DatapathName, { field }: Scene): Promise<MarksHere> {
  const { uses, unseen } = await surveyMarks();
  const seen = { inForce: field && formatMark(field.mask), uses, unseen };
  try {
    const choice = chooseMarkField(uses, { ...markWishOf(policy, datapath), before: field });
    return { ...seen, wouldTake: formatMark(choice.field.mask), warnings: choice.warnings };
  } catch (error) {
    if (!(error instanceof HeadgateError)) throw error;
    return { ...seen, wouldTake: error, warnings: [] };
  }
}

/** For the terminal. */
export function formatMarks({ inForce, wouldTake, warnings, uses, unseen }: MarksHere): string[] {
  const others = [...new Set(uses.map(describeMarkUse))];
  return [
    typeof wouldTake === 'string'
      ? `bits of the mark: ${inForce === undefined ? `up takes ${wouldTake}` : `${inForce} are ours`}`
      : `up refuses: ${wouldTake.message}`,
    ...(typeof wouldTake === 'string' ? [] : [`  ${wouldTake.hint}`]),
    ...(others.length > 0 ? [`  used by others: ${others.join(', ')}`] : []),
    ...warnings.map((warning) => `  ${warning}`),
    ...unseen.map((what) => `  could not look at ${what}`),
  ];
}
