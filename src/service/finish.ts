import { drain, MOST_DRAIN_MS, runOperations } from '../apply/index.ts';
import type { Journal, Step } from '../kernel/index.ts';
import type { Operation } from '../shape/index.ts';

/**
 * The end of a change: what nothing is sent to any more goes, each thing when it has run empty. What is killed meanwhile
 * the next recover() finishes. Never rejects.
 *
 * @param failed hears what was removed before it was empty, and what could not be removed
 * @param hurry nothing is waited for any more
 */
export async function finish(
  operations: readonly Operation[],
  journal: Pick<Journal, 'end'>,
  failed: (about: string, error: unknown) => void,
  hurry: AbortSignal,
): Promise<void> {
  for (const operation of operations) {
    const { about, empties } = operation;
    if (empties && !(await drain(empties, hurry)))
      failed(about, new Error(`packets wait there still after ${MOST_DRAIN_MS / 1000} s; they are lost`));
    await runOperations([operation]).catch((error) => failed(about, error));
  }
  await journal.end().catch((error) => failed('the journal', error));
}

/** For the journal. */
export const stepsOf = (operations: readonly Operation[]): Step[] =>
  operations.map(({ about, command }) => ({ about, undo: command }));
