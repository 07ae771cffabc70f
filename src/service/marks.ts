import type { Scene } from '../apply/index.ts';
import { type MarkSurvey, surveyMarks } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { DEFAULT_MARK_FIELD, type MarkField, roomOf } from '../model/index.ts';
import {
  chooseMarkField,
  type DatapathName,
  highestClass,
  type MarkChoice,
  markWishOf,
  warnOfMarkUses,
} from '../shape/index.ts';

/**
 * The bits of the mark that a policy gets in this network namespace.
 *
 * @param scene what was seen just now; its field is that of the run before, whose flows keep their class where they can stay
 * @throws HeadgateError HG_MARK_TAKEN, HG_MARK_NONE, HG_MARK_COMPARED
 */
export async function chooseMarksHere(
  policy: Policy,
  datapath: DatapathName,
  scene: Pick<Scene, 'devices' | 'qdiscs' | 'field'>,
): Promise<MarkChoice> {
  const { uses, unseen } = await surveyMarks({}, scene);
  const { field, warnings } = chooseMarkField(uses, { ...markWishOf(policy, datapath), before: scene.field });
  return { field, warnings: [...warnings, ...unseen.map(sayUnseen)] };
}

/** What has come to be in the way of the bits that are in force. Never rejects. */
export async function warnOfMarksHere(policy: Policy, datapath: DatapathName, field: MarkField): Promise<string[]> {
  const { uses, unseen } = await surveyMarks().catch((error: Error) => ({ uses: [], unseen: [error.message] }));
  return [...warnOfMarkUses(uses, field, markWishOf(policy, datapath)), ...unseen.map(sayUnseen)];
}

/** Why a policy cannot come to be in force with these bits, as the end of a sentence; undefined where it can. */
export function whyNotMarks({ marks, ...policy }: Policy, field: MarkField): string | undefined {
  if (marks && marks.mask !== field.mask) return 'it has other marks';
  return highestClass(policy) > roomOf(field) ? 'its queues have no room in the bits of the mark' : undefined;
}

/** Nobody else uses the bits that are ours by default: so they can be cleared by somebody who does not know better. */
export async function defaultIsFree(): Promise<MarkField | undefined> {
  const { uses }: MarkSurvey = await surveyMarks();
  return uses.some(({ bits }) => (bits & DEFAULT_MARK_FIELD.mask) !== 0) ? undefined : DEFAULT_MARK_FIELD;
}

const sayUnseen = (what: string): string => `which bits of the mark are free is not known for certain: ${what}`;
