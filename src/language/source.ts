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

/** Where places are looked up: one file, or all that make a policy. */
export interface Places {
  /** The file that the offset lies in. */
  at(offset: number): Source;
}

/**
 * A file's text with its lines counted. Lines end at LF; a CR before it belongs to the line's end.
 *
 * Several files that make one policy have one run of offsets, one file behind the other: `base` is where this one
 * begins, so that a span alone says which file it is in (as token.FileSet of Go has it).
 */
export class Source implements Places {
  readonly text: string;
  readonly file: string;
  readonly base: number;
  private readonly starts: readonly number[];

  constructor(text: string, file: string, base = 0) {
    this.text = text;
    this.file = file;
    this.base = base;
    const starts = [0];
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
    this.starts = starts;
  }

  at(): Source {
    return this;
  }

  /** `offset` counts over all files; the position's is within this one. */
  position(place: number): Position {
    const offset = place - this.base;
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

  slice(span: Span): string {
    return this.text.slice(span.start - this.base, span.end - this.base);
  }
}

/** The files of a policy, the one that was asked for first. */
export class Sources implements Places {
  readonly all: Source[] = [];

  add(text: string, file: string): Source {
    const last = this.all.at(-1);
    const source = new Source(text, file, last ? last.base + last.text.length + 1 : 0);
    this.all.push(source);
    return source;
  }

  at(offset: number): Source {
    let low = 0;
    let high = this.all.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.all[middle]!.base <= offset) low = middle;
      else high = middle - 1;
    }
    return this.all[low]!;
  }

  slice(span: Span): string {
    return this.at(span.start).slice(span);
  }

  line(span: Span): number {
    return this.at(span.start).position(span.start).line;
  }

  /** How a message at `here` names the line of `there`: `12`, or `12 of lan.gate` where that is another file. */
  lineFrom(here: Span, there: Span): number | string {
    const file = this.at(there.start);
    return file === this.at(here.start) ? this.line(there) : `${this.line(there)} of ${file.file}`;
  }
}
