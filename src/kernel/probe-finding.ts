import { type Finding, HeadgateError } from '../model/index.ts';
import { TIMED_OUT } from './command.ts';

export const YES: Finding = { answer: 'yes' };

/** What the kernel or the tool said, without the command that it said it to. */
export const said = (error: unknown): string => {
  if (!(error instanceof HeadgateError)) return error instanceof Error ? error.message : String(error);
  return String(error.fields.said ?? error.fields.problem ?? error.message);
};

/** True where a failure tells of us, not of the kernel: a right that we lack, a part of ours that is missing, a hang. */
const isOurs = (error: unknown): boolean =>
  !(error instanceof HeadgateError) ||
  error.code !== 'HG_KERNEL' ||
  error.fields.status === TIMED_OUT ||
  /operation not permitted|permission denied|read-only file system/i.test(said(error));

/** Yes where `attempt` comes to its end; else what stopped it. */
export async function tryOut(attempt: () => Promise<unknown>): Promise<Finding> {
  try {
    await attempt();
    return YES;
  } catch (error) {
    if (error instanceof HeadgateError && error.code === 'HG_NO_TOOL') throw error;
    return { answer: isOurs(error) ? 'unknown' : 'no', why: said(error) };
  }
}

/** Handles each item, `lanes` at a time. */
export async function inLanes<T>(
  lanes: number,
  items: readonly T[],
  handle: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (const item of waiting) await handle(item);
    }),
  );
}
