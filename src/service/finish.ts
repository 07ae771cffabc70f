import { drain, MOST_DRAIN_MS, runOperations, whyItStays } from '../apply/index.ts';
import type { Journal } from '../kernel/index.ts';
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
  journal: Pick<Journal, 'finish' | 'end'>,
  failed: (about: string, error: unknown) => void,
  hurry: AbortSignal,
): Promise<void> {
  journal.finish(operations.map(({ about, command }) => ({ about, undo: command })));
  for (const operation of operations) {
    const { about, empties } = operation;
    const isEmpty = !empties || (await drain(empties, hurry).catch(() => false));
    if (!isEmpty && !hurry.aborted)
      failed(about, new Error(`packets wait there still after ${MOST_DRAIN_MS / 1000} s; they are lost`));
    const why = await whyItStays(operation.command);
    if (why) failed(about, new Error(`it stays: ${why}`));
    else await runOperations([operation]).catch((error) => failed(about, error));
  }
  await journal.end().catch((error) => failed('the journal', error));
}
