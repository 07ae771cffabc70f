import { runCommand, type Where } from '../kernel/index.ts';
import type { Operation } from '../shape/index.ts';
import { checkFilters } from './read-back.ts';

/**
 * Runs the operations in order. Where one fails, it and all before it are undone, last first, and its error is
 * thrown. Inverses that fail are passed over: the object is gone, or was never made.
 */
export async function runOperations(operations: readonly Operation[], where: Where = {}): Promise<void> {
  for (const [i, operation] of operations.entries()) {
    try {
      await runCommand(operation.command, where);
      if (operation.filters) await checkFilters(operation.filters, where);
    } catch (error) {
      await undoOperations(operations.slice(0, i + 1), where);
      throw error;
    }
  }
}

async function undoOperations(operations: readonly Operation[], where: Where = {}): Promise<void> {
  for (const { undo } of [...operations].reverse()) if (undo) await runCommand(undo, where).catch(() => {});
}
