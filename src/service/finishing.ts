import { delFiles, type Journal } from '../kernel/index.ts';
import type { Operation } from '../shape/index.ts';
import { finish } from './finish.ts';

/** The ends of changes, of which one at a time is under way. */
export class Finishing {
  readonly #failed: (about: string, error: unknown) => void;
  readonly #hurry = new AbortController();
  #ended: Promise<void> = Promise.resolve();

  /** @param failed hears what was not removed as it should have been */
  constructor(failed: (about: string, error: unknown) => void) {
    this.#failed = failed;
  }

  /** Resolves when what has begun has come to its end. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** There is no way back any more: what is not used goes ({@link finish}), and then these files. */
  begin(operations: readonly Operation[], journal: Journal, files: readonly string[]): Promise<void> {
    this.#ended = finish(operations, journal, this.#failed, this.#hurry.signal).then(() => delFiles(files));
    return this.#ended;
  }

  /** From now on nothing is waited for. */
  hurry(): Promise<void> {
    this.#hurry.abort();
    return this.#ended;
  }
}
