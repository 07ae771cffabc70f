import { type Cursor, isText } from './cursor.ts';
import type { Token } from './lexer.ts';
import { nearest } from './nearest.ts';
import { takeValue } from './parse-condition.ts';
import { parseName } from './parse-name.ts';
import { spanning } from './source.ts';
import type { LinkSyntax, QueueSyntax, SettingSyntax } from './syntax.ts';
import { isOneOf, LINK_LAYERS, SETTINGS } from './vocabulary.ts';

/** Queues within each other: HTB has 8 levels (TC_HTB_MAXDEPTH in net/sched/sch_htb.c), and the link takes one. */
export const MAX_QUEUE_DEPTH = 7;

interface Body {
  readonly settings: SettingSyntax[];
  readonly queues: QueueSyntax[];
}

/** Reads `link NAME { ... }` or `queue NAME { ... }`, the keyword being taken. */
export function parseBlock(kind: 'link', cursor: Cursor, keyword: Token): LinkSyntax;
export function parseBlock(kind: 'queue', cursor: Cursor, keyword: Token, depth?: number): QueueSyntax;
export function parseBlock(
  kind: 'link' | 'queue',
  cursor: Cursor,
  keyword: Token,
  depth = 1,
): LinkSyntax | QueueSyntax {
  const name = parseName(cursor, `a name for the ${kind}`);
  if (cursor.is('=')) {
    cursor.reportExpected('"{"', 'blocks are written without "="');
    cursor.take();
  }
  const open = cursor.expect('{');
  const body = open && parseBody(kind, cursor, keyword, open, depth);
  if (!open && !cursor.atStatement) cursor.skipToStatement();
  const { settings, queues = [] } = body ?? {};
  const place = cursor.since(keyword);
  return kind === 'link' ? { kind, name, settings, ...place } : { kind, name, settings, queues, ...place };
}

function parseBody(kind: 'link' | 'queue', cursor: Cursor, keyword: Token, open: Token, depth: number): Body {
  const settings: SettingSyntax[] = [];
  const queues: QueueSyntax[] = [];
  const known: readonly string[] = SETTINGS[kind];
  for (;;) {
    if (cursor.accept(';', ',')) continue;
    if (cursor.accept('}')) return { settings, queues };
    const token = cursor.peek();
    const nested = kind === 'queue' && isText(token, 'queue') && isInside(cursor, token, keyword, open);
    if (cursor.atEnd || (cursor.atStatement && !nested)) {
      cursor.diagnostics.add('unclosed', open, { bracket: '{', closing: '}' });
      cursor.diagnostics.ignore(['shares-over']);
      return { settings, queues };
    }
    if (nested) {
      if (depth === MAX_QUEUE_DEPTH) {
        cursor.diagnostics.add('queue-too-deep', token, { most: MAX_QUEUE_DEPTH });
        cursor.diagnostics.ignore(['unknown-queue']);
        skipBlock(cursor);
      } else queues.push(parseBlock('queue', cursor, cursor.take(), depth + 1));
    } else if (token.kind !== 'word') {
      cursor.reportExpected('a setting', `a ${kind} has ${known.join(', ')}`);
      cursor.take();
    } else if (known.includes(token.text)) {
      cursor.take();
      settings.push(parseSetting(kind, cursor, token));
    } else {
      const near = nearest(token.text, known);
      const hint = near
        ? `did you mean "${near}"?`
        : (cutDevice(cursor, settings.at(-1)) ?? `a ${kind} has ${known.join(', ')}`);
      cursor.diagnostics.add('unknown-setting', token, { block: kind, found: token.text }, hint);
      if (near) settings.push(parseSetting(kind, cursor, { ...cursor.take(), text: near }));
      else skipSetting(cursor, known);
    }
  }
}

/** What to do where the next token hangs on a device's name, as in `device a;b`. */
function cutDevice(cursor: Cursor, last: SettingSyntax | undefined): string | undefined {
  const [sign, rest] = [cursor.previous, cursor.peek()];
  if (last?.key.text !== 'device' || last.end !== sign.start || sign.end !== rest.start) return undefined;
  return `a device with such a name is written in quotes: device "${last.value?.text}${sign.text}${rest.text}"`;
}

/** A `queue` within a queue's braces is a nested one; where the brace is never closed, the layout tells what was meant. */
function isInside(cursor: Cursor, token: Token, keyword: Token, open: Token): boolean {
  if (cursor.isClosed(open)) return true;
  const at = cursor.source.position(token.start);
  return (
    at.line === cursor.source.position(open.start).line || at.column > cursor.source.position(keyword.start).column
  );
}

function parseSetting(kind: 'link' | 'queue', cursor: Cursor, key: Token): SettingSyntax {
  if (cursor.is('=') || cursor.peek().text === ':') {
    cursor.reportExpected(`the value of ${key.text}`, 'it is written right behind, without a sign between');
    cursor.take();
  }
  const setting = (value: Token | undefined, more: readonly Token[] = []): SettingSyntax => ({
    key,
    value,
    more,
    ...cursor.since(key),
  });
  if (key.text === 'fair' && !cursor.expect('by', 'write fair by host, or fair by flow')) return setting(undefined);
  if (key.text === 'ifb' && !cursor.expect('per', 'write ifb per origin')) return setting(undefined);
  if (kind === 'link' && key.text === 'share') {
    const hint = 'write share tree with LINK';
    if (!cursor.expect('tree', hint) || !cursor.expect('with', hint)) {
      // Most likely a queue's share.
      if (cursor.peek().kind === 'literal') cursor.take();
      return setting(undefined);
    }
  }
  const value = takeSettingValue(cursor, key, SETTINGS[kind]);
  return setting(value, value && key.text === 'overhead' ? takeOverhead(cursor) : []);
}

function takeSettingValue(cursor: Cursor, key: Token, known: readonly string[]): Token | undefined {
  const next = cursor.peek();
  if (next.kind === 'literal') return takeValue(cursor);
  if (next.kind === 'string') return cursor.take();
  if (key.text === 'overhead' && cursor.is('-') && cursor.peek(1).kind === 'literal') {
    const sign = cursor.take();
    const number = cursor.take();
    return { ...number, text: `-${number.text}`, ...spanning(sign, number) };
  }
  // A device may be called like a setting.
  const isKey = known.includes(next.text) && (next.first || key.text !== 'device');
  if (next.kind === 'word' && !cursor.atStatement && !isKey) return cursor.take();
  cursor.reportExpected(`the value of ${key.text}`);
  return undefined;
}

/** What may stand behind an overhead: `mpu 64`, and the line's layer. */
function takeOverhead(cursor: Cursor): readonly Token[] {
  const more: Token[] = [];
  while (cursor.is('mpu', ...LINK_LAYERS) && more.length < 6) {
    const word = cursor.take();
    more.push(word);
    if (isOneOf(LINK_LAYERS, word.text)) continue;
    if (cursor.peek().kind === 'literal') more.push(cursor.take());
    else cursor.reportExpected('the number of bytes of mpu');
  }
  return more;
}

/** Steps over a setting that is not understood: to the next key, the block's end or the next statement. */
function skipSetting(cursor: Cursor, keys: readonly string[]): void {
  // Its key and, on the same line, its value, which may read like another key.
  if (cursor.peek(1).kind === 'word' && !cursor.peek(1).first) cursor.take();
  let open = 0;
  do {
    const token = cursor.take();
    if (isText(token, '{')) open++;
    else if (isText(token, '}')) open--;
    if (cursor.atEnd || (cursor.atStatement && (cursor.peek().first || cursor.is('queue')))) return;
  } while (open > 0 || !(cursor.is('}', ';', ...keys) || cursor.peek().first));
}

/** Steps over a block, braces and all; at least over one token. */
function skipBlock(cursor: Cursor): void {
  let open = 0;
  do {
    const token = cursor.take();
    if (isText(token, '{')) open++;
    else if (isText(token, '}') && --open <= 0) return;
  } while (!cursor.atEnd);
}
