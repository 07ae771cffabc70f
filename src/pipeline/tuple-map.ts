import type { Command } from '../model/index.ts';
import { changeTuples, flushTuples, MAX_TUPLES, type MapKey } from '../shape/index.ts';

/** Tuples that one run of nft changes at most: it then takes some hundred milliseconds. */
export const MAX_CHANGES = 8192;

interface Entry {
  readonly key: MapKey;
  /** Undefined: the flow has ended. */
  wanted: number | undefined;
  /** What the kernel's map has. */
  written: number | undefined;
}

/**
 * Keeps the kernel's map from arriving tuples to classes (src/shape/datapath-map.ts) as the flows are: changes are collected
 * while one run of nft goes on, and are the next one. A run that fails leaves the maps as they were; then both are
 * emptied and filled anew, since somebody else has been at them.
 *
 * It holds {@link MAX_TUPLES} of each family. Flows beyond that are not in it, and so go where unknown ones go.
 */
export class TupleMap {
  readonly #run: (command: Command) => Promise<unknown>;
  readonly #failed: (error: unknown) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #size = { 4: 0, 6: 0 };
  readonly #changed = new Set<Entry>();
  #running: Promise<void> | undefined;
  /** A flow has found no room, and that was said. */
  #full = false;
  /** A run has failed: who knows what is in the kernel's maps. */
  #doubtful = false;

  /** @param failed hears why the map could not be written, when the next change tries again; and once that it is full */
  constructor(run: (command: Command) => Promise<unknown>, failed: (error: unknown) => void) {
    this.#run = run;
    this.#failed = failed;
  }

  /** Gives a tuple a class, or none any more. */
  set(key: MapKey, number: number | undefined): void {
    let entry = this.#entries.get(key.text);
    if (!entry) {
      if (number === undefined) return;
      if (this.#size[key.family] >= MAX_TUPLES) {
        if (!this.#full)
          this.#failed(new Error(`it has room for ${MAX_TUPLES} flows; others go where unknown ones go`));
        this.#full = true;
        return;
      }
      entry = { key, wanted: undefined, written: undefined };
      this.#entries.set(key.text, entry);
      this.#size[key.family]++;
    }
    entry.wanted = number;
    this.#changed.add(entry);
  }

  /** Has what was set since the last time written. Resolves when the kernel has it, and all before it. */
  flush(): Promise<void> {
    if (this.#changed.size > 0) this.#running ??= this.#write().finally(() => (this.#running = undefined));
    return this.#running ?? Promise.resolve();
  }

  /** The kernel's maps were made anew, and are empty: all is written once more. */
  refill(): void {
    this.#doubtful = true;
    for (const entry of this.#entries.values()) this.#changed.add(entry);
    void this.flush();
  }

  async #write(): Promise<void> {
    try {
      for (let emptied = false; this.#changed.size > 0; ) {
        if (this.#doubtful) await this.#empty();
        const batch = [...this.#changed].slice(0, MAX_CHANGES);
        for (const entry of batch) this.#changed.delete(entry);
        try {
          await this.#change(batch);
        } catch (error) {
          this.#doubtful = true;
          // All of them once more, what this batch was about among them.
          for (const entry of this.#entries.values()) this.#changed.add(entry);
          if (emptied) throw error;
          emptied = true;
        }
      }
    } catch (error) {
      this.#failed(error);
    }
  }

  async #change(entries: readonly Entry[]): Promise<void> {
    const changes = entries.flatMap((entry) =>
      entry.wanted === entry.written ? [] : [{ entry, key: entry.key, from: entry.written, to: entry.wanted }],
    );
    if (changes.length > 0) await this.#run(changeTuples(changes));
    for (const { entry, to } of changes) entry.written = to;
    for (const entry of entries)
      if (entry.written === undefined && entry.wanted === undefined && !this.#changed.has(entry)) this.#forget(entry);
  }

  #forget({ key }: Entry): void {
    if (this.#entries.delete(key.text)) this.#size[key.family]--;
  }

  async #empty(): Promise<void> {
    await this.#run(flushTuples());
    for (const entry of this.#entries.values()) entry.written = undefined;
    this.#doubtful = false;
  }
}
