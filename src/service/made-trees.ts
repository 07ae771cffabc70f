import { changedTrees, listTrees } from '../apply/index.ts';
import { run } from '../kernel/index.ts';
import { type ChangedTree, type LinkShape, treesOf } from '../shape/index.ts';

/**
 * What the kernel said of our trees when they had just been made: by that is told what somebody has changed since. The
 * kernel rounds what it is told, and the right to make a tree a second time and compare is dropped at the start.
 */
export class MadeTrees {
  #words = new Map<string, string>();

  /** The trees of these links are as they were made. @throws HeadgateError HG_KERNEL: then nothing is known of any */
  async remember(shapes: readonly LinkShape[]): Promise<void> {
    this.#words = new Map();
    this.#words = await listTrees(treesOf(shapes), (argv) => run(argv));
  }

  /** Those of them that are there, and not as they were made. @throws HeadgateError HG_KERNEL */
  async listChanged(shapes: readonly LinkShape[]): Promise<ChangedTree[]> {
    const trees = treesOf(shapes);
    const now = await listTrees(trees, (argv) => run(argv));
    // What is missing as a whole is the keepers' business; what was absent then came to be since, as it was to be.
    return changedTrees(trees, this.#words, now);
  }
}
