import { type Capability, type Finding, HeadgateError, messageOf } from '../model/index.ts';
import { TIMED_OUT } from './command.ts';

/** What is known so far. */
export type Findings = Partial<Record<Capability, Finding>>;

export const YES: Finding = { answer: 'yes' };

/** What a refusal in these words means: a right that we lack tells nothing of the kernel. */
export const refusal = (why: string): Finding => ({
  answer: /operation not permitted|permission denied|read-only file system/i.test(why) ? 'unknown' : 'no',
  why,
});

/** What the kernel or the tool said, without the command that it said it to. */
export const said = (error: unknown): string => {
  if (!(error instanceof HeadgateError)) return messageOf(error);
  return String(error.fields.said ?? error.fields.problem ?? error.message);
};

/**
 * Yes where `attempt` comes to its end; else what stopped it, which may be a fault of ours, or a hang.
 *
 * @throws HeadgateError HG_NO_TOOL
 */
export async function tryOut(attempt: () => Promise<unknown>): Promise<Finding> {
  try {
    await attempt();
    return YES;
  } catch (error) {
    if (!(error instanceof HeadgateError) || error.code !== 'HG_KERNEL') {
      if (error instanceof HeadgateError && error.code === 'HG_NO_TOOL') throw error;
      return { answer: 'unknown', why: said(error) };
    }
    return error.fields.status === TIMED_OUT ? { answer: 'unknown', why: said(error) } : refusal(said(error));
  }
}
