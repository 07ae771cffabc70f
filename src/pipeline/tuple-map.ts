import type { Command } from '../model/index.ts';
import { changeTuples, flushTuples, MAX_TUPLES, type MapKey } from '../shape/index.ts';

/** Tuples that one run of nft changes at most: it then takes some hundred milliseconds. */
export const MAX_CHANGES = 8192;

/** The commands that change what the kernel has, and what is said when it is full. */
export interface TupleCommands<K extends MapKey> {
  readonly full: string;
  change(changes: readonly { key: K; from: number | undefined; to: number | undefined }[]): Command;
  flush(): Command;
}

const CLASSES: TupleCommands<MapKey> = {
  full: `it has room for ${MAX_TUPLES} flows of each family; others go where unknown ones go`,
  change: changeTuples,
  flush: flushTuples,
};

interface Entry<K> {
  readonly key: K;
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
 * It holds {@link MAX_TUPLES} of each family, and of each place where there are several. Flows beyond that are not in it.
 */
export class TupleMap<K extends MapKey = MapKey> {
  readonly #commands: TupleCommands<K>;
  readonly #run: (command: Command) => Promise<unknown>;
  readonly #failed: (error: unknown) => void;
  readonly #entries = new Map<string, Entry<K>>();
  /** Entries of each place and family: those have room for {@link MAX_TUPLES} each. */
  readonly #sizes = new Map<string, number>();
  readonly #changed = new Set<Entry<K>>();
  #running: Promise<void> | undefined;
  /** A flow has found no room, and that was said. */
  #full = false;
  /** Who knows what is in the kernel's maps: a run has failed, or another process has filled them. */
  #doubtful: boolean;

  /**
   * @param failed hears why the map could not be written, when the next change tries again; and once that it is full
   * @param found the maps were there before, and are emptied when the first flows are known
   */
  constructor(
    run: (command: Command) => Promise<unknown>,
    failed: (error: unknown) => void,
    commands: TupleCommands<K> = CLASSES,
    found = false,
  ) {
    this.#commands = commands;
    this.#run = run;
    this.#failed = failed;
    this.#doubtful = found;
  }

  /** Gives a tuple a class, or none any more. */
  set(key: K, number: number | undefined): void {
    let entry = this.#entries.get(nameOf(key));
    if (!entry) {
      if (number === undefined) return;
      const size = this.#sizes.get(placeOf(key)) ?? 0;
      if (size >= MAX_TUPLES) {
        if (!this.#full) this.#failed(new Error(this.#commands.full));
        this.#full = true;
        return;
      }
      entry = { key, wanted: undefined, written: undefined };
      this.#entries.set(nameOf(key), entry);
      this.#sizes.set(placeOf(key), size + 1);
    }
    entry.wanted = number;
    this.#changed.add(entry);
  }

  /** Has what was set since the last time written. Resolves when the kernel has it, and all before it. */
  flush(): Promise<void> {
    if (this.#changed.size > 0) this.#running ??= this.#write().finally(() => (this.#running = undefined));
    return this.#running ?? Promise.resolve();
  }

  /** Empties what the kernel has, and fills it anew. */
  reset(): Promise<void> {
    this.#doubtful = true;
    for (const entry of this.#entries.values()) this.#changed.add(entry);
    this.#running ??= this.#write().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #write(): Promise<void> {
    try {
      for (let emptied = false; this.#doubtful || this.#changed.size > 0; ) {
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

  async #change(entries: readonly Entry<K>[]): Promise<void> {
    const changes = entries.flatMap((entry) =>
      entry.wanted === entry.written ? [] : [{ entry, key: entry.key, from: entry.written, to: entry.wanted }],
    );
    if (changes.length > 0) await this.#run(this.#commands.change(changes));
    for (const { entry, to } of changes) entry.written = to;
    for (const entry of entries)
      if (entry.written === undefined && entry.wanted === undefined && !this.#changed.has(entry)) this.#forget(entry);
  }

  #forget({ key }: Entry<K>): void {
    if (this.#entries.delete(nameOf(key))) this.#sizes.set(placeOf(key), this.#sizes.get(placeOf(key))! - 1);
  }

  async #empty(): Promise<void> {
    await this.#run(this.#commands.flush());
    for (const entry of this.#entries.values()) entry.written = undefined;
    this.#doubtful = false;
  }
}

const placeOf = ({ place = '', family }: MapKey): string => place + family;
const nameOf = ({ place = '', text }: MapKey): string => place + text;
