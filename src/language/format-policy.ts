import { isText } from './cursor.ts';
import { type Diagnostic, Diagnostics } from './diagnostic.ts';
import { attachComments, type Item } from './format-policy-items.ts';
import { LINE_WIDTH, type Line, renderLines } from './format-policy-lines.ts';
import { hasComments, joinItems, mustBreak, pushComments, pushWrapped } from './format-policy-wrap.ts';
import { tokenize } from './lexer.ts';
import { MAX_TEXT } from './parse-policy.ts';
import { parse } from './parser.ts';
import { Source } from './source.ts';
import { isOneOf, SETTINGS, STATEMENTS } from './vocabulary.ts';

/** Columns up to which a block stands on one line. */
const BLOCK_WIDTH = 80;

const KEYS: readonly string[] = [...SETTINGS.link, ...SETTINGS.queue];

export interface FormattedPolicy {
  /** Absent where the text has mistakes of form: then it is not known what belongs together. */
  readonly text?: string | undefined;
  /** Those mistakes. */
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Lays a policy out: short blocks on one line and long ones one setting a line, similar lines in columns, lines of at
 * most 100 columns, at most one empty line together. Every token and comment is kept, in its order; a formatted text
 * stays as it is. Lines end as the first one does, with LF or CR LF, the last one too; there is no byte order mark.
 *
 * What is wrong with the meaning (an unknown name, shares over 100 %) does not matter here. The time is linear in the
 * length of the text; texts over {@link MAX_TEXT} are refused.
 */
export function formatPolicy(text: string, file: string): FormattedPolicy {
  const source = new Source(text.length > MAX_TEXT ? '' : text, file);
  const diagnostics = new Diagnostics(source);
  if (text.length > MAX_TEXT) diagnostics.add('too-long', { start: 0, end: 0 }, { size: text.length, most: MAX_TEXT });
  else parse(source, diagnostics);
  if (diagnostics.errors > 0) return { diagnostics: diagnostics.list() };

  const items = attachComments(text, tokenize(text, new Diagnostics(source)));
  const lines: Line[] = [];
  for (let at = 0; at < items.length - 1; ) {
    const end = statementEnd(items, at);
    pushStatement(lines, items.slice(at, end), 0);
    at = end;
  }
  pushComments(lines, items.at(-1)!, 0);
  const laidOut = renderLines(lines);
  return { text: /^[^\n]*\r\n/.test(text) ? laidOut.replaceAll('\n', '\r\n') : laidOut, diagnostics: [] };
}

/** Behind the statement that begins at `start`: at the next one outside of its braces, or at the brace around it. */
function statementEnd(items: readonly Item[], start: number): number {
  let depth = 0;
  for (let i = start; i < items.length; i++) {
    const { token } = items[i]!;
    if (token.kind === 'end') return i;
    if (depth === 0 && i > start && token.kind === 'word' && isOneOf(STATEMENTS, token.text)) return i;
    if (isText(token, '{')) depth++;
    if (isText(token, '}')) {
      depth--;
      // Behind a block comes the next statement, or a setting of the queue around it.
      if (depth === 0 && isBlock(items[start]!)) return afterSemicolons(items, i + 1);
      if (depth < 0) return i;
    }
  }
  return items.length;
}

function afterSemicolons(items: readonly Item[], at: number): number {
  let end = at;
  while (end < items.length && isText(items[end]!.token, ';', ',')) end++;
  return end;
}

const isBlock = ({ token }: Item): boolean => isText(token, 'link', 'queue');

function pushStatement(lines: Line[], items: readonly Item[], indent: number): void {
  pushComments(lines, items[0]!, indent);
  if (isBlock(items[0]!)) pushBlock(lines, items, indent);
  else pushFlat(lines, items, indent, items[0]!.token.text);
}

/** A statement without settings, or a setting. */
function pushFlat(lines: Line[], items: readonly Item[], indent: number, kind: string): void {
  const text = joinItems(items);
  if (mustBreak(items) || indent + text.length > LINE_WIDTH) pushWrapped(lines, items, indent, kind === 'set');
  else lines.push({ indent, kind, ...columnsOf(items, kind), comment: items.at(-1)!.behind, blank: items[0]!.blank });
}

function pushBlock(lines: Line[], items: readonly Item[], indent: number): void {
  const open = items.findIndex(({ token }) => isText(token, '{'));
  const close = items.findLastIndex(({ token }) => isText(token, '}'));
  const head = items.slice(0, open);
  const parts = partsOf(items.slice(open + 1, close));
  const tail = items.slice(close);

  const first = items[0]!;
  const settings = parts.map(joinItems);
  const cells = settings.length === 0 ? [`{ ${joinItems(tail)}`] : settings;
  if (settings.length > 0) {
    cells[0] = `{ ${cells[0]}`;
    cells[cells.length - 1] += ` ${joinItems(tail)}`;
  }
  const line: Line = {
    indent,
    kind: first.token.text,
    cells: [joinItems(head), ...cells],
    gaps: [1, ...cells.map(() => 2)],
    comment: items.at(-1)!.behind,
    blank: first.blank,
  };
  const width = indent + joinItems(head).length + 1 + cells.join('  ').length;
  if (!hasComments(items) && width <= BLOCK_WIDTH && !parts.some((part) => isBlock(part[0]!))) {
    lines.push(line);
    return;
  }
  pushWrapped(lines, items.slice(0, open + 1), indent);
  for (const part of parts) {
    if (isBlock(part[0]!)) pushStatement(lines, part, indent + 2);
    else {
      pushComments(lines, part[0]!, indent + 2);
      pushFlat(lines, part, indent + 2, 'setting');
    }
  }
  pushComments(lines, tail[0]!, indent + 2);
  pushWrapped(lines, tail, indent);
}

/** What stands in a block: settings, and queues within a queue. */
function partsOf(items: readonly Item[]): readonly (readonly Item[])[] {
  const parts: (readonly Item[])[] = [];
  for (let at = 0; at < items.length; ) {
    let end = isBlock(items[at]!) ? statementEnd(items, at) : at + 1;
    if (!isBlock(items[at]!)) while (end < items.length && !beginsPart(items, end, at)) end++;
    parts.push(items.slice(at, end));
    at = end;
  }
  return parts;
}

/** Words behind which a setting goes on with a name. */
const LEADS = ['with', 'by', 'per', 'mpu', 'to'];

/** A key begins a part, where it is not the value of the key before. */
function beginsPart(items: readonly Item[], at: number, start: number): boolean {
  const { token } = items[at]!;
  const before = items[at - 1]!.token;
  if (isBlock(items[at]!)) return true;
  return token.kind === 'word' && KEYS.includes(token.text) && at > start + 1 && !isText(before, ...LEADS);
}

/** The columns of a statement: cells, and the blanks before each but the first. */
function columnsOf(items: readonly Item[], kind: string): Pick<Line, 'cells' | 'gaps'> {
  const outside = placesOutsideBrackets(items);
  const find = (word: string) => outside.find((i) => isText(items[i]!.token, word));
  switch (kind) {
    case 'setting':
      return { cells: cellsAt(items, [1]) };
    case 'set':
    case 'let':
      return { cells: cellsAt(items, [find('=')]) };
    case 'rule':
      return { cells: cellsAt(items, [find('when'), find('->')]) };
    case 'expect': {
      const arrow = find('->') ?? 0;
      const last = outside.findLast((i) => isText(items[i]!.token, 'in'));
      return { cells: cellsAt(items, [arrow, arrow + 2 === last ? undefined : arrow + 2, last]) };
    }
    case 'default': {
      const [first = 0, ...arrows] = outside.filter((i) => isText(items[i]!.token, '->'));
      return {
        cells: cellsAt(items, [first, ...arrows.flatMap((i) => [i - 1, i])]),
        gaps: [1, ...arrows.flatMap(() => [2, 1])],
      };
    }
    default:
      return { cells: [joinItems(items)] };
  }
}

/** The items cut into cells that begin at these places, and at 0; an unknown place gives an empty cell. */
function cellsAt(items: readonly Item[], starts: readonly (number | undefined)[]): string[] {
  const bounds = [0, ...starts, items.length];
  return bounds.slice(0, -1).map((start, i) => {
    const end = bounds.slice(i + 1).find((bound) => bound !== undefined);
    return start === undefined ? '' : joinItems(items.slice(start, end));
  });
}

function placesOutsideBrackets(items: readonly Item[]): number[] {
  let depth = 0;
  return [...items.keys()].filter((i) => {
    const { token } = items[i]!;
    if (isText(token, ')', '}')) depth--;
    if (isText(token, '(', '{')) depth++;
    return depth === 0;
  });
}
