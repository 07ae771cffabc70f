import { isText } from './cursor.ts';
import type { Item } from './format-policy-items.ts';
import { COMMENT, LINE_WIDTH, type Line } from './format-policy-lines.ts';
import { RESERVED } from './vocabulary.ts';

/** The blanks between an item and the one before it, on one line. No two tokens are glued that would be read as one. */
function gap(items: readonly Item[], at: number): string {
  const before = items[at - 1]!.token;
  const token = items[at]!.token;
  if (isText(before, '(') || isText(token, ')', ',', ';')) return '';
  // `count(`, but `and (`.
  if (isText(token, '(')) return before.kind === 'word' && !RESERVED.has(before.text) ? '' : ' ';
  if (isText(token, '-')) return before.kind === 'literal' && items[at + 1]?.token.kind === 'literal' ? '' : ' ';
  return isText(before, '-') && token.kind === 'literal' ? '' : ' ';
}

/** The items on one line. Joined at once: a string grown by millions of pieces takes a gigabyte. */
export const joinItems = (items: readonly Item[]): string =>
  items.map((item, i) => (i === 0 ? item.text : gap(items, i) + item.text)).join('');

/** A comment stands between the items, and so they cannot stand on one line. */
export const hasComments = (items: readonly Item[]): boolean =>
  items.some((item, i) => i > 0 && breaksBefore(items[i - 1]!, item));

/** A comment, or a line end that parts values, keeps the items from standing on one line. */
export const mustBreak = (items: readonly Item[]): boolean => hasComments(items) || separators(items).length > 0;

const breaksBefore = (before: Item, item: Item): boolean => before.behind !== undefined || item.above.length > 0;

/** Places in braces where a line end stands for a comma. */
function separators(items: readonly Item[]): number[] {
  const found: number[] = [];
  let depth = 0;
  for (const [i, { token }] of items.entries()) {
    if (isText(token, '}')) depth--;
    if (depth > 0 && token.first && !isText(token, ',') && !isText(items[i - 1]!.token, '{', ',', '-')) found.push(i);
    if (isText(token, '{')) depth++;
  }
  return found;
}

/** Writes the comments above an item. */
export function pushComments(lines: Line[], item: Item, indent: number): void {
  for (const { text, blank } of item.above) lines.push({ indent, kind: COMMENT, cells: [text], blank });
}

type Break = 'must' | 'may' | undefined;

/**
 * Writes items over several lines: each as full as it gets, lists with comments one value a line.
 * The first item's comments above are the caller's to write. `open`: a list begins a new line behind its brace.
 */
export function pushWrapped(lines: Line[], items: readonly Item[], indent: number, open = false): void {
  const breaks = findBreaks(items, indent, open);
  /** Indents of the lines on which lists were opened that go over several lines. */
  const lists: number[] = [];
  let start = 0;
  let at = indent;
  const flush = (end: number) => {
    const part = items.slice(start, end);
    const { token } = part[0]!;
    const blank = part[0]!.blank && (start === 0 || breaks[start] === 'must');
    const opens = isText(part.at(-1)!.token, '{');
    if (opens) lists.push(at);
    const closes = isText(token, '}');
    lines.push({ indent: at, cells: [joinItems(part)], comment: part.at(-1)!.behind, blank, opens, closes });
    start = end;
  };
  let width = at + items[0]!.text.length;
  for (let i = 1; i < items.length; ) {
    let next = i + 1;
    while (next < items.length && breaks[next] === undefined) next++;
    const unit = gap(items, i) + joinItems(items.slice(i, next));
    if (breaks[i] === 'must' || (breaks[i] === 'may' && width + unit.length > LINE_WIDTH)) {
      flush(i);
      const closes = isText(items[i]!.token, '}');
      at = closes && lists.length > 0 ? lists.pop()! : (lists.at(-1) ?? indent) + 2;
      pushComments(lines, items[i]!, closes ? at + 2 : at);
      width = at + unit.trimStart().length;
    } else width += unit.length;
    i = next;
  }
  flush(items.length);
}

/** Where lines end, and where they may. */
function findBreaks(items: readonly Item[], indent: number, open: boolean): readonly Break[] {
  const breaks: Break[] = items.map((item, i) => (i > 0 && breaksBefore(items[i - 1]!, item) ? 'must' : undefined));
  for (const i of separators(items)) breaks[i] = 'must';
  let brace = 0;
  for (const [i, { token }] of items.entries()) {
    if (isText(token, '{')) brace = i;
    if (!isText(token, '}')) continue;
    const vertical = breaks.slice(brace + 1, i + 1).includes('must');
    if (!vertical && !open) continue;
    for (let j = brace + 1; j < i; j++) if (isText(items[j - 1]!.token, ',')) breaks[j] = vertical ? 'must' : 'may';
    breaks[brace + 1] = breaks[i] = 'must';
  }
  let depth = 0;
  let segment = 0;
  for (let i = 0; i <= items.length; i++) {
    const token = items[i]?.token;
    if (token && isText(token, '(', '{')) depth++;
    if (token && isText(token, ')', '}')) depth--;
    if (token && !(i > 0 && depth === 0 && isText(token, 'and', 'or', '->', 'until'))) continue;
    const part = items.slice(segment, i);
    // What is too long for a line of its own is parted further in, too.
    if (indent + 2 + joinItems(part).length > LINE_WIDTH)
      for (let j = segment + 1; j < i; j++)
        if (isText(items[j]!.token, 'and', 'or') || isText(items[j - 1]!.token, ',')) breaks[j] ??= 'may';
    if (token) breaks[i] ??= 'may';
    segment = i;
  }
  return breaks;
}
