import { printable } from './character.ts';

/** A stretch of lines that differs. */
export interface LineChange {
  /** First line of the old text that goes, from 0. */
  readonly at: number;
  readonly removed: readonly string[];
  readonly added: readonly string[];
}

/** Cells of the table that finds the longest common part; a larger difference is one change. */
const MAX_CELLS = 1 << 22;

/** What makes one text of the other, line by line, in order. Lines end with LF; what else ends them is part of them. */
export function diffLines(before: string, after: string): readonly LineChange[] {
  const [a, b] = [before.split('\n'), after.split('\n')];
  let first = 0;
  while (first < a.length && first < b.length && a[first] === b[first]) first++;
  let last = 0;
  while (last < a.length - first && last < b.length - first && a.at(-1 - last) === b.at(-1 - last)) last++;
  const [old, fresh] = [a.slice(first, a.length - last), b.slice(first, b.length - last)];
  if (old.length === 0 && fresh.length === 0) return [];
  if (old.length * fresh.length > MAX_CELLS) return [{ at: first, removed: old, added: fresh }];
  return walkCommon(old, fresh).map((change) => ({ ...change, at: change.at + first }));
}

/** Walks along a longest common subsequence. */
function walkCommon(old: readonly string[], fresh: readonly string[]): LineChange[] {
  const width = fresh.length + 1;
  const common = new Uint32Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i--)
    for (let j = fresh.length - 1; j >= 0; j--)
      common[i * width + j] =
        old[i] === fresh[j]
          ? common[(i + 1) * width + j + 1]! + 1
          : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
  const changes: { at: number; removed: string[]; added: string[] }[] = [];
  let [i, j] = [0, 0];
  let open = false;
  while (i < old.length || j < fresh.length) {
    if (i < old.length && j < fresh.length && old[i] === fresh[j]) {
      [i, j, open] = [i + 1, j + 1, false];
      continue;
    }
    if (!open) changes.push({ at: i, removed: [], added: [] });
    open = true;
    const change = changes.at(-1)!;
    const drop = j === fresh.length || (i < old.length && common[(i + 1) * width + j]! >= common[i * width + j + 1]!);
    if (drop) change.removed.push(old[i++]!);
    else change.added.push(fresh[j++]!);
  }
  return changes;
}

/** The changes as `diff -U0` writes them, made fit for a terminal: a CR shows as a sign. */
export function formatDiff(file: string, changes: readonly LineChange[]): string {
  const lines = [`--- ${file}`, `+++ ${file}`];
  let shift = 0;
  for (const { at, removed, added } of changes) {
    const span = (start: number, count: number) =>
      `${count === 0 ? start : start + 1}${count === 1 ? '' : `,${count}`}`;
    lines.push(`@@ -${span(at, removed.length)} +${span(at + shift, added.length)} @@`);
    // One by one: a change may have more lines than a call takes arguments.
    for (const line of removed) lines.push(`-${line}`);
    for (const line of added) lines.push(`+${line}`);
    shift += added.length - removed.length;
  }
  return lines.map(printable).join('\n');
}
