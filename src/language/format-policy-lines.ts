/** Columns that a line is kept within; a comment, or one long word, may go beyond. */
export const LINE_WIDTH = 100;

/** A line of formatted text. */
export interface Line {
  readonly indent: number;
  /** Consecutive lines of one kind and indent are aligned, cell by cell; without a kind a line stands alone. */
  readonly kind?: string | undefined;
  readonly cells: readonly string[];
  /** Blanks before each cell but the first. */
  readonly gaps?: readonly number[] | undefined;
  /** The comment that ends it. */
  readonly comment?: string | undefined;
  /** An empty line stands before it, if it may. */
  readonly blank?: boolean | undefined;
  /** Its last token opens a block or list: no empty line behind it. */
  readonly opens?: boolean | undefined;
  /** Its first token closes one: no empty line before it. */
  readonly closes?: boolean | undefined;
}

/** Kind of a comment on its own line: it stands between aligned lines without parting them. */
export const COMMENT = 'comment';

/** Writes lines, their columns aligned in runs of similar ones. */
export function renderLines(lines: readonly Line[]): string {
  const apart = lines.map((line, i) => i > 0 && line.blank === true && !lines[i - 1]!.opens && !line.closes);
  const code = alignCells(lines, apart);
  const out: string[] = [];
  for (const [i, text] of alignComments(lines, code, apart).entries()) {
    if (apart[i]) out.push('');
    out.push(text);
  }
  return out.length === 0 ? '' : `${out.join('\n')}\n`;
}

/** The lines without their comments, cells padded to columns. A line that would grow too wide begins a run of its own. */
function alignCells(lines: readonly Line[], apart: readonly boolean[]): string[] {
  const code: string[] = [];
  let run = new Run();
  const flush = () => {
    for (const [i, text] of run.render()) code[i] = text;
    run = new Run();
  };
  for (const [i, line] of lines.entries()) {
    if (apart[i]) flush();
    if (line.kind === COMMENT) {
      code[i] = ' '.repeat(line.indent) + line.cells[0];
      continue;
    }
    if (!run.takes(line)) flush();
    run.add(i, line);
  }
  flush();
  return code;
}

class Run {
  private readonly lines: (readonly [number, Line])[] = [];
  private widths: number[] = [];
  /** Of lines with that many cells, the widest last cell. */
  private lasts: (number | undefined)[] = [];

  takes(line: Line): boolean {
    const first = this.lines[0]?.[1];
    if (!first) return true;
    if (line.kind === undefined || first.kind !== line.kind || first.indent !== line.indent) return false;
    const { widths, lasts } = this.with(line);
    return lasts.every((last, count) => {
      if (last === undefined) return true;
      let width = line.indent + last;
      for (let i = 0; i < count - 1; i++) if (widths[i]! > 0) width += widths[i]! + (line.gaps?.[i] ?? 1);
      return width <= LINE_WIDTH;
    });
  }

  add(index: number, line: Line): void {
    this.lines.push([index, line]);
    ({ widths: this.widths, lasts: this.lasts } = this.with(line));
  }

  /** The last cell of a line is not padded, and so widens no column. */
  private with({ cells }: Line): { widths: number[]; lasts: (number | undefined)[] } {
    const widths = [...this.widths];
    const lasts = [...this.lasts];
    for (const [i, cell] of cells.entries()) {
      if (i < cells.length - 1) widths[i] = Math.max(widths[i] ?? 0, cell.length);
      else lasts[i + 1] = Math.max(lasts[i + 1] ?? 0, cell.length);
    }
    return { widths, lasts };
  }

  *render(): Iterable<readonly [number, string]> {
    for (const [index, { indent, cells, gaps }] of this.lines) {
      let text = ' '.repeat(indent);
      for (const [i, cell] of cells.entries()) {
        if (i === cells.length - 1) text += cell;
        else if (this.widths[i]! > 0) text += cell.padEnd(this.widths[i]!) + ' '.repeat(gaps?.[i] ?? 1);
      }
      yield [index, text.trimEnd()];
    }
  }
}

/** Puts the comments that end lines behind them, one below the other on consecutive lines. */
function alignComments(lines: readonly Line[], code: readonly string[], apart: readonly boolean[]): string[] {
  const out = [...code];
  let start = 0;
  while (start < lines.length) {
    let width = code[start]!.length;
    let end = start + 1;
    if (lines[start]!.comment === undefined) {
      start = end;
      continue;
    }
    for (; end < lines.length && lines[end]!.comment !== undefined && !apart[end]; end++) {
      const wider = Math.max(width, code[end]!.length);
      if (lines[end]!.indent !== lines[start]!.indent || wider > LINE_WIDTH) break;
      width = wider;
    }
    for (let i = start; i < end; i++) out[i] = `${code[i]!.padEnd(width)}  ${lines[i]!.comment}`;
    start = end;
  }
  return out;
}
