import { closeSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import type { Command } from '../model/index.ts';
import { getStatePath, inStateFolder, noPlace, type RecordKind } from './machine.ts';

/**
 * What is being done, and for a reload the record of what was applied before it. `finish`: it is done but for what has to be
 * removed, and there is no way back: the steps are those that remain.
 */
export interface Undertaking {
  readonly kind: 'up' | 'reload' | 'down' | 'finish';
  readonly applied?: string | undefined;
}

/** A step that was about to be tried, and how it is taken back; of `finish`, how it is done. */
export interface Step {
  readonly about: string;
  readonly undo: Command;
}

export interface JournalText extends Undertaking {
  readonly steps: readonly Step[];
}

/**
 * The way back, on the disk before each step is tried: whatever ends the process, the next one knows what was under way.
 * It lies in /run, as the kernel's objects do in the kernel: a machine that stops loses both.
 */
export class Journal {
  /** The one that has not ended. */
  static #open: Journal | undefined;
  readonly #path: string;
  readonly #file: number;

  private constructor(path: string, file: number) {
    this.#path = path;
    this.#file = file;
  }

  /** In the place of one that has not ended, where there is one. @throws HeadgateError HG_NO_PLACE */
  static async begin(undertaking: Undertaking): Promise<Journal> {
    const path = await getStatePath('journal');
    return inStateFolder(async () => {
      const journal = new Journal(path, openSync(path, 'w', 0o600));
      if (Journal.#open) closeSync(Journal.#open.#file);
      Journal.#open = journal;
      try {
        journal.#write(undertaking);
        return journal;
      } catch (error) {
        await journal.end();
        throw error;
      }
    });
  }

  /** @throws HeadgateError HG_NO_PLACE: then the step must not be tried */
  add(step: Step): void {
    try {
      this.#write(step);
    } catch (error) {
      throw noPlace(error);
    }
  }

  /** The whole line, or an error: a disk that is nearly full takes less than it is given. */
  #write(line: Undertaking | Step): void {
    writeFileSync(this.#file, `${JSON.stringify(line)}\n`);
  }

  /**
   * From here on it goes forward only: the way back gives place to what remains to be done, in one step. Where that cannot
   * be written, nothing is left written: a way back that is none any more would do harm.
   */
  finish(steps: readonly Step[]): void {
    if (Journal.#open !== this) return;
    const lines = [{ kind: 'finish' } satisfies Undertaking, ...steps];
    try {
      writeFileSync(`${this.#path}.new`, lines.map((line) => `${JSON.stringify(line)}\n`).join(''), { mode: 0o600 });
      renameSync(`${this.#path}.new`, this.#path);
    } catch {
      for (const path of [this.#path, `${this.#path}.new`]) rmSync(path, { force: true });
    }
  }

  /** All is done, or all is taken back. Where another is in its place, nothing. */
  async end(): Promise<void> {
    if (Journal.#open !== this) return;
    closeSync(this.#file);
    Journal.#open = undefined;
    await rm(this.#path, { force: true });
  }
}

/** What a process that is no more was about; undefined where none was interrupted, `damaged` where nobody can tell. */
export async function getJournal(): Promise<JournalText | 'damaged' | undefined> {
  const lines = (await readFile(await getStatePath('journal'), 'utf8').catch(() => '')).split('\n');
  try {
    // What follows the last line break was cut short: that step was not tried.
    const [head, ...steps] = lines.slice(0, -1).map((line) => JSON.parse(line) as unknown);
    if (head === undefined) return undefined;
    return isUndertaking(head) && steps.every(isStep) ? { ...head, steps } : 'damaged';
  } catch {
    return 'damaged';
  }
}

const KINDS: ReadonlySet<unknown> = new Set(['up', 'reload', 'down', 'finish'] satisfies Undertaking['kind'][]);

const isUndertaking = (line: unknown): line is Undertaking => KINDS.has((line as Undertaking | null)?.kind);

function isStep(line: unknown): line is Step {
  const step = line as Partial<Step> | null;
  return typeof step?.about === 'string' && Array.isArray(step.undo?.argv);
}

export const delJournal = async (): Promise<void> => rm(await getStatePath('journal'), { force: true });

/** A record, as {@link replaceRecord} was given it; undefined where there is none. */
export const getRecord = async (kind: RecordKind): Promise<string | undefined> =>
  readFile(await getStatePath(kind), 'utf8').catch(() => undefined);

/** Puts a record in the place of the one there was, whole or not at all; undefined: none is there. @throws HeadgateError HG_NO_PLACE */
export async function replaceRecord(kind: RecordKind, record: string | undefined): Promise<void> {
  const path = await getStatePath(kind);
  if (record === undefined) return rm(path, { force: true });
  await inStateFolder(async () => {
    await writeFile(`${path}.new`, record, { mode: 0o600 });
    await rename(`${path}.new`, path);
  });
}
