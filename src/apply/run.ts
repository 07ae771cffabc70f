import { type Journal, listCountingRules, runCommand, type Where } from '../kernel/index.ts';
import type { Command } from '../model/index.ts';
import { ARRIVAL_FAMILY, type Operation, removedIfb, TABLE } from '../shape/index.ts';
import { losesRoot } from './former-root.ts';
import { inspect } from './inspect.ts';
import { checkFilters, checkRoot, checkTree } from './read-back.ts';
import { losesFilters } from './teardown.ts';

export interface RunOptions extends Where {
  /** Gets the way back of each step before it is tried. */
  readonly journal?: Pick<Journal, 'add'> | undefined;
}

/**
 * Runs the operations in order. Where one fails, it and all before it are undone, last first, and its error is
 * thrown. Inverses that fail are passed over: the object is gone, or was never made; see {@link undoSteps}.
 */
export async function runOperations(operations: readonly Operation[], options: RunOptions = {}): Promise<void> {
  for (const [i, { about, command, undo, filters, tree, root }] of operations.entries()) {
    try {
      if (undo) options.journal?.add({ about, undo });
      await runCommand(command, options);
      if (filters) await checkFilters(filters, options);
      if (tree) await checkTree(tree, options);
      if (root) await checkRoot(root, options);
    } catch (error) {
      await undoSteps(operations.slice(0, i + 1), options);
      throw error;
    }
  }
}

/**
 * Takes steps back, the last first. An ifb stays where a redirect that could not be taken back leads to it still, or where it
 * keeps a root qdisc that could not be put back; a clsact, where somebody else has filters on it.
 */
export async function undoSteps(
  steps: readonly { readonly undo?: Command | undefined }[],
  where: Where = {},
): Promise<void> {
  for (const { undo } of [...steps].reverse()) {
    if (!undo) continue;
    const ifb = removedIfb(undo);
    // Where nobody can tell, it may.
    if (ifb !== undefined && (await leadsTo(ifb, where).catch(() => true))) continue;
    if (await whyItStays(undo, where)) continue;
    await runCommand(undo, where).catch(() => {});
  }
}

/** Why a removal must not be, since what is not ours would go with it, as the end of a sentence; undefined: it may be. */
export async function whyItStays(command: Command, where: Where = {}): Promise<string | undefined> {
  if (await losesRoot(command, where)) return 'what it keeps could not be put back';
  if (await losesFilters(command, where)) return 'somebody else has filters there';
  return undefined;
}

/** Some redirect of ours sends packets to the ifb. @throws HeadgateError HG_KERNEL */
async function leadsTo(ifb: string, where: Where): Promise<boolean> {
  const scene = await inspect(where);
  const filters = [...scene.hooks.values()].flatMap(({ ingress }) => ingress);
  if (filters.some(({ redirected }) => redirected?.to === ifb)) return true;
  if (scene.arrivals !== 'ours') return false;
  return (await listCountingRules(ARRIVAL_FAMILY, TABLE, where)).some(({ forwardsTo }) => forwardsTo === ifb);
}
