const FIRST_ROWS = 1024;

/** No row. */
export const NO_ROW = -1;

/**
 * Lists of rows, of which each row is in one at most: a row knows its neighbours, so that it leaves at once, however long
 * the list is, and nothing is allocated for it. Whoever has a list keeps its first row, {@link NO_ROW} where it is empty.
 */
export class RowLists {
  /** By row: 1 + the row before it; 0: none. */
  #before = new Int32Array(FIRST_ROWS);
  /** 2 + the row behind it, 1: none; 0: it is in no list. */
  #behind = new Int32Array(FIRST_ROWS);

  /** Puts a row that is in no list before the first one of a list; returns the list's first row: that one. */
  add(first: number, row: number): number {
    if (row >= this.#before.length) this.#grow(row);
    this.#before[row] = 0;
    this.#behind[row] = first + 2;
    if (first !== NO_ROW) this.#before[first] = row + 1;
    return row;
  }

  /** Takes a row out of the list that it is in; returns the list's first row. */
  del(first: number, row: number): number {
    const before = this.#before[row]! - 1;
    const behind = this.#behind[row]! - 2;
    this.#behind[row] = 0;
    if (before !== NO_ROW) this.#behind[before] = behind + 2;
    if (behind !== NO_ROW) this.#before[behind] = before + 1;
    return first === row ? behind : first;
  }

  /** The row behind another; {@link NO_ROW}: it is the last. */
  next(row: number): number {
    return this.#behind[row]! - 2;
  }

  /** The row is in a list. */
  has(row: number): boolean {
    return row < this.#behind.length && this.#behind[row] !== 0;
  }

  #grow(row: number): void {
    const size = 2 ** Math.ceil(Math.log2(row + 1));
    const [before, behind] = [this.#before, this.#behind];
    this.#before = new Int32Array(size);
    this.#behind = new Int32Array(size);
    this.#before.set(before);
    this.#behind.set(behind);
  }
}
