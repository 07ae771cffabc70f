import { HeadgateError } from '../model/index.ts';

/** Colours for a terminal that wants them: not in a pipe, not with NO_COLOR (no-color.org), not on a dumb one. */
export const wantsColor = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';

export const print = (line: string): void => void process.stdout.write(`${line}\n`);
export const printJson = (value: unknown): void => print(JSON.stringify(value));
/** What is for the person alone, not for the pipe. */
export const note = (line: string): void => void process.stderr.write(`${line}\n`);

/**
 * From now on a reader that goes away (`| head -1`), or a full disk, ends nothing: there is more to take care of than
 * what is printed.
 */
export function ignoreClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error').on('error', () => {});
}

/** An error as JSON has it. */
export const errorJson = ({ code, message, hint, fields }: HeadgateError) => ({ code, message, hint, ...fields });

/** Prints an error with its hint, or as JSON, and returns the exit status that it ends with. */
export function report(error: unknown, json: boolean): number {
  if (error instanceof HeadgateError) {
    if (json) note(JSON.stringify({ error: errorJson(error) }));
    else note(`headgate: ${error.message}\n  ${error.hint}`);
    return error.exit;
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (json) note(JSON.stringify({ error: { code: 'internal', message, hint: 'This is a fault in headgate.' } }));
  else note(`headgate: internal error: ${message}`);
  return 70;
}

/** Rows in columns, two spaces apart; columns named in `right` are aligned to the right. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: ReadonlySet<number> = new Set(),
): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (right.has(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [head, ...rows].map(line).join('\n');
}
