import { printable } from './character.ts';
import type { Diagnostic } from './diagnostic.ts';

/** Columns of source text that are shown; of a longer line, those around the place. */
const WIDTH = 120;
const BEFORE = 40;

const STYLES = { error: '\x1b[1;31m', warning: '\x1b[1;33m', bold: '\x1b[1m', dim: '\x1b[2m', end: '\x1b[0m' } as const;

export interface FormatOptions {
  /** ANSI colours; default without. */
  readonly color?: boolean | undefined;
}

/**
 * Writes a finding for a terminal, without a line end behind it: where and what, the line of the source with
 * carets under the place, the hint. Nothing of the source reaches the terminal as a control character.
 */
export function formatDiagnostic(diagnostic: Diagnostic, text: string, options: FormatOptions = {}): string {
  const paint = (style: keyof typeof STYLES, what: string) =>
    options.color ? `${STYLES[style]}${what}${STYLES.end}` : what;
  const { severity, code, file, message, hint } = diagnostic;
  const { start, end } = diagnostic.range;
  const number = String(start.line);
  const margin = ' '.repeat(number.length);

  const whole = lineAt(text, start.offset - start.column + 1);
  const from = whole.length > WIDTH ? Math.max(0, start.column - 1 - BEFORE) : 0;
  const line = whole.slice(from, from + WIDTH);
  const first = Math.min(start.column - 1 - from, line.length);
  const last = end.line === start.line ? Math.min(end.column - 1 - from, line.length) : line.length;
  // Tabs stay, so that the carets stand below the place however wide a tab is.
  const indent = line.slice(0, first).replace(/[^\t]/g, ' ');
  const carets = '^'.repeat(Math.max(1, last - first));
  return [
    `${paint('bold', `${printable(file)}:${start.line}:${start.column}:`)} ${paint(severity, `${severity}:`)} ${message} ${paint('dim', `[${code}]`)}`,
    `  ${paint('dim', `${number} |`)} ${printable(line)}`,
    `  ${paint('dim', `${margin} |`)} ${indent}${paint(severity, carets)}`,
    ...(hint === undefined ? [] : [`  ${margin} = ${hint}`]),
  ].join('\n');
}

/** The same in one line, of a text that is one: where, what, and the hint. */
export const formatFinding = ({ range, message, hint }: Diagnostic): string =>
  `column ${range.start.column}: ${message}${hint === undefined ? '' : ` (${hint})`}`;

/** The line that begins at this offset, without its end. */
function lineAt(text: string, start: number): string {
  const end = text.indexOf('\n', start);
  return text.slice(start, end < 0 ? undefined : end).replace(/\r$/, '');
}
