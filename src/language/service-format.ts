import { formatPolicy } from './format-policy.ts';
import { diffLines } from './line-diff.ts';
import type { Span } from './source.ts';

/** What is to be written in place of a stretch of the text. */
export interface Edit extends Span {
  readonly text: string;
}

/** The edits that lay a policy out, in order and apart from each other; none where it has mistakes of form. */
export function formatEdits(text: string, file: string): readonly Edit[] {
  const formatted = formatPolicy(text, file).text;
  return formatted === undefined ? [] : lineEdits(text, formatted);
}

/** The edits that make one text of another, whole lines at a time. */
export function lineEdits(before: string, after: string): readonly Edit[] {
  const starts = [0];
  for (let at = before.indexOf('\n'); at >= 0; at = before.indexOf('\n', at + 1)) starts.push(at + 1);
  // As if the last line had an end, too.
  starts.push(before.length + 1);
  return diffLines(before, after).map(({ at, removed, added }) => {
    const [start, end] = [starts[at]!, starts[at + removed.length]!];
    const text = added.map((line) => `${line}\n`).join('');
    if (end <= before.length) return { start, end, text };
    // That end is not there: it is the one before the stretch that comes or goes.
    if (text === '') return { start: Math.max(0, start - 1), end: before.length, text };
    return start > before.length
      ? { start: before.length, end: before.length, text: `\n${text.slice(0, -1)}` }
      : { start, end: before.length, text: text.slice(0, -1) };
  });
}
