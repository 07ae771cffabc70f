/** A stretch of the text: offsets in UTF-16 code units, `end` not included. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface Position {
  /** From 0, in UTF-16 code units. */
  readonly offset: number;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units; a tab counts as one. */
  readonly column: number;
}

export interface Range {
  readonly start: Position;
  /** Just behind the last character. */
  readonly end: Position;
}

/** The span from the start of one to the end of the other. */
export const spanning = (first: Span, last: Span): Span => ({ start: first.start, end: last.end });

/** A policy's text with its lines counted. Lines end at LF; a CR before it belongs to the line's end. */
export class Source {
  readonly text: string;
  readonly file: string;
  private readonly starts: readonly number[];

  constructor(text: string, file: string) {
    this.text = text;
    this.file = file;
    const starts = [0];
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
    this.starts = starts;
  }

  position(offset: number): Position {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { offset, line: low + 1, column: offset - this.starts[low]! + 1 };
  }

  range(span: Span): Range {
    return { start: this.position(span.start), end: this.position(span.end) };
  }
}
