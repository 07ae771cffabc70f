import { MARK_GONE, MARK_WRITTEN, MarkBatch } from '../kernel/index.ts';
import { type MarkField, markOfClass, ownBits } from '../model/index.ts';
import type { FlowTable } from './flow-table.ts';

/** Writes marks and says of each what became of it: MARK_WRITTEN, MARK_GONE, or another negative errno. */
export type WriteMarks = (batch: MarkBatch) => ArrayLike<number>;

/** No class has this number. */
const UNKNOWN = 255;

/** Collects the marks that flows are to have, so that many go to the kernel with one call, and notes in the table what stands there. */
export class MarkQueue {
  readonly #table: FlowTable;
  readonly #write: WriteMarks;
  readonly #batch = new MarkBatch();
  #rows: number[] = [];
  #written = 0;
  #failed = 0;

  constructor(table: FlowTable, write: WriteMarks) {
    this.#table = table;
    this.#write = write;
  }

  /** Marks in the kernel by our hand so far. */
  get written(): number {
    return this.#written;
  }

  /** Marks that the kernel refused, other than of flows that have ended meanwhile. */
  get failed(): number {
    return this.#failed;
  }

  /** Has a flow's class written, and whether it is watched, where either is not so already. */
  request(row: number, field: MarkField, number: number, watched: boolean): void {
    const table = this.#table;
    const { watch = 0 } = field;
    const turns = watch !== 0 && watched !== table.isWatched(row);
    if (number === table.classOf(row) && !turns) return;
    const mark = markOfClass(field, number) + (watched ? watch : 0);
    this.#batch.add(table.words, table.wordOf(row), mark, ownBits(field));
    this.#rows.push(row);
    table.setClass(row, number);
    table.setWatched(row, watched && watch !== 0);
  }

  /** What stands in a flow's mark is not known any more: the next request is written in any case. */
  forget(row: number): void {
    this.#table.setClass(row, UNKNOWN);
    this.#table.setWatched(row, false);
  }

  /** Writes what has been requested since the last time. @throws what the write does; then none of them counts as written */
  flush(): void {
    if (this.#rows.length === 0) return;
    const rows = this.#rows;
    this.#rows = [];
    let results: ArrayLike<number> = [];
    try {
      results = this.#write(this.#batch);
    } finally {
      this.#batch.clear();
      for (const [i, row] of rows.entries())
        if (results[i] === MARK_WRITTEN) this.#written++;
        else if (results[i] !== MARK_GONE) {
          this.#failed++;
          // Whatever is decided next is written; so it is for a flow that has come into the row meanwhile, to no harm.
          this.forget(row);
        }
    }
  }
}
