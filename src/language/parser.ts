import { ORIGINS } from '../model/index.ts';
import { Cursor, describe, isText } from './cursor.ts';
import type { Diagnostics } from './diagnostic.ts';
import { type Token, tokenize } from './lexer.ts';
import { didYouMean, nearest } from './nearest.ts';
import { parseCondition, parseOperand, takeValue } from './parse-condition.ts';
import type { Source } from './source.ts';
import type {
  DefaultSyntax,
  FileSyntax,
  NameSyntax,
  RuleSyntax,
  SetSyntax,
  SettingSyntax,
  StatementSyntax,
} from './syntax.ts';
import { beginsPredicate, isOneOf, LATER, RESERVED, SETTINGS, STATEMENTS, type StatementKind } from './vocabulary.ts';

/** Longest name. */
const MAX_NAME = 63;

/** Reads a text to its syntax tree, reporting what is not of the language and going on behind it. Never throws. */
export function parse(source: Source, diagnostics: Diagnostics): FileSyntax {
  const { tokens, comments } = tokenize(source.text, diagnostics);
  const cursor = new Cursor(tokens, source, diagnostics);
  const statements: StatementSyntax[] = [];
  while (!cursor.atEnd) {
    if (cursor.accept(';')) continue;
    const statement = parseStatement(cursor);
    if (statement) statements.push(statement);
    else cursor.skipToStatement();
  }
  return { statements, comments };
}

function parseStatement(cursor: Cursor): StatementSyntax | undefined {
  const token = cursor.peek();
  if (token.kind !== 'word') {
    cursor.take();
    const fields = { expected: 'a statement', found: describe(token) };
    cursor.diagnostics.add('expected', token, fields, `statements begin with ${STATEMENTS.join(', ')}`);
    return undefined;
  }
  if (isOneOf(LATER.statement, token.text)) {
    cursor.diagnostics.add('not-yet', cursor.take(), { word: token.text });
    return undefined;
  }
  const kind = isOneOf(STATEMENTS, token.text) ? token.text : nearest(token.text, STATEMENTS);
  if (kind !== token.text)
    cursor.diagnostics.add('unknown-statement', token, { found: token.text }, kind && `did you mean "${kind}"?`);
  cursor.take();
  if (!kind) return undefined;
  return STATEMENT_PARSERS[kind as StatementKind](cursor, token);
}

const STATEMENT_PARSERS: Record<StatementKind, (cursor: Cursor, keyword: Token) => StatementSyntax> = {
  link: (cursor, keyword) => parseBlock('link', cursor, keyword),
  queue: (cursor, keyword) => parseBlock('queue', cursor, keyword),
  set: parseSet,
  rule: parseRule,
  default: parseDefault,
};

function parseName(cursor: Cursor, what: string): NameSyntax {
  const token = cursor.peek();
  const missing = () => {
    cursor.reportExpected(what);
    return { text: undefined, start: token.start, end: token.start };
  };
  if (token.kind === 'symbol' || token.kind === 'end') return missing();
  const reserved = token.kind === 'word' && RESERVED.has(token.text);
  if (reserved && (token.first || !cursor.atStatement)) return missing();
  cursor.take();
  const { start, end } = token;
  // Names in other scripts were reported by the lexer.
  const good = /^[\p{L}][\p{L}\p{M}\p{N}_-]*$/u.test(token.text) && token.text.length <= MAX_NAME;
  if (reserved) cursor.diagnostics.add('reserved-name', token, { found: token.text });
  else if (token.kind === 'string') {
    const hint = good ? `write ${token.text} without quotes` : undefined;
    cursor.diagnostics.add('bad-name', token, { found: token.text }, hint);
  } else if (!good) cursor.diagnostics.add('bad-name', token, { found: token.text });
  return { text: good && !reserved ? token.text : undefined, start, end };
}

function parseBlock<K extends 'link' | 'queue'>(kind: K, cursor: Cursor, keyword: Token) {
  const name = parseName(cursor, `a name for the ${kind}`);
  if (cursor.is('=')) {
    cursor.reportExpected('"{"', 'blocks are written without "="');
    cursor.take();
  }
  const open = cursor.expect('{');
  const settings = open && parseSettings(kind, cursor, keyword, open);
  if (!open && !cursor.atStatement) cursor.skipToStatement();
  return { kind, name, settings, ...cursor.since(keyword) };
}

function parseSettings(kind: 'link' | 'queue', cursor: Cursor, keyword: Token, open: Token): readonly SettingSyntax[] {
  const settings: SettingSyntax[] = [];
  const known: readonly string[] = SETTINGS[kind];
  const later: readonly string[] = LATER[kind];
  for (;;) {
    if (cursor.accept(';', ',')) continue;
    if (cursor.accept('}')) return settings;
    const token = cursor.peek();
    const nested = kind === 'queue' && token.text === 'queue' && isInside(cursor, token, keyword, open);
    if (cursor.atEnd || (cursor.atStatement && !nested)) {
      cursor.diagnostics.add('unclosed', open, { bracket: '{', closing: '}' });
      return settings;
    }
    if (token.kind !== 'word') {
      cursor.reportExpected('a setting', `a ${kind} has ${known.join(', ')}`);
      cursor.take();
    } else if (known.includes(token.text)) {
      cursor.take();
      settings.push(parseSetting(cursor, token, known));
    } else if (later.includes(token.text)) {
      cursor.diagnostics.add('not-yet', token, { word: token.text });
      skipSetting(cursor, [...known, ...later]);
    } else {
      const near = nearest(token.text, known);
      const hint = near ? `did you mean "${near}"?` : `a ${kind} has ${known.join(', ')}`;
      cursor.diagnostics.add('unknown-setting', token, { block: kind, found: token.text }, hint);
      if (near) settings.push(parseSetting(cursor, { ...cursor.take(), text: near }, known));
      else skipSetting(cursor, [...known, ...later]);
    }
  }
}

/** A `queue` within a queue's braces is a nested one where it stands on the same line or further in; else the brace is open. */
function isInside(cursor: Cursor, token: Token, keyword: Token, open: Token): boolean {
  const at = cursor.source.position(token.start);
  return (
    at.line === cursor.source.position(open.start).line || at.column > cursor.source.position(keyword.start).column
  );
}

function parseSetting(cursor: Cursor, key: Token, known: readonly string[]): SettingSyntax {
  if (cursor.is('=') || cursor.peek().text === ':') {
    cursor.reportExpected(`the value of ${key.text}`, 'it is written right behind, without a sign between');
    cursor.take();
  }
  const next = cursor.peek();
  let value: Token | undefined;
  if (next.kind === 'literal') value = takeValue(cursor);
  else if (next.kind === 'string') value = cursor.take();
  else if (
    next.kind === 'word' &&
    !cursor.atStatement &&
    !(known.includes(next.text) && (next.first || key.text !== 'device'))
  )
    value = cursor.take();
  else cursor.reportExpected(`the value of ${key.text}`);
  return { key, value, ...cursor.since(key) };
}

/** Steps over a setting that is not understood: to the next key, the block's end or the next statement. */
function skipSetting(cursor: Cursor, keys: readonly string[]): void {
  let open = 0;
  // Its key and, on the same line, its value, which may read like another key.
  if (cursor.peek(1).kind === 'word' && !cursor.peek(1).first) cursor.take();
  do {
    const token = cursor.take();
    if (isText(token, '{')) open++;
    else if (isText(token, '}')) open--;
    if (cursor.atEnd || (cursor.atStatement && cursor.peek().first)) return;
  } while (open > 0 || !(cursor.is('}', ';', ...keys) || cursor.peek().first));
}

function parseSet(cursor: Cursor, keyword: Token): SetSyntax {
  const name = parseName(cursor, 'a name for the set');
  cursor.expect('=');
  const value = parseOperand(cursor);
  return { kind: 'set', name, value, ...cursor.since(keyword) };
}

function parseRule(cursor: Cursor, keyword: Token): RuleSyntax {
  const name = parseName(cursor, 'a name for the rule');
  let when: RuleSyntax['when'];
  if (cursor.accept('when')) when = parseCondition(cursor);
  else if (!cursor.is('->')) {
    cursor.reportExpected('"when"');
    if (cursor.is('(') || beginsPredicate(cursor.peek().text)) when = parseCondition(cursor);
  }
  if (cursor.is('for')) skipClause(cursor);
  const arrow = cursor.expect('->');
  let queue: NameSyntax = { text: undefined, start: cursor.previous.end, end: cursor.previous.end };
  if (atLaterEffect(cursor)) skipClause(cursor);
  else if (arrow || (cursor.peek().kind === 'word' && !cursor.peek().first)) queue = parseTarget(cursor);
  if (cursor.is('until', 'for')) skipClause(cursor);
  return { kind: 'rule', name, when, queue, ...cursor.since(keyword) };
}

/** The queue behind an arrow. */
function parseTarget(cursor: Cursor): NameSyntax {
  const name = cursor.peek(1);
  if (
    cursor.is('queue') &&
    !cursor.peek().first &&
    name.kind === 'word' &&
    !name.first &&
    !isText(cursor.peek(2), '{')
  ) {
    cursor.reportExpected('the name of a queue', 'leave out the word "queue"');
    cursor.take();
  }
  return parseName(cursor, 'the name of a queue');
}

function atLaterEffect(cursor: Cursor): boolean {
  const next = cursor.peek(1);
  if (cursor.is('add')) return isText(next, 'local', 'remote');
  return cursor.is('mirror') ? isText(next, 'to') : cursor.is('police') && next.kind === 'literal';
}

/** Reports a clause of the whole language, and steps to the arrow behind it or the next statement. */
function skipClause(cursor: Cursor): void {
  const word = cursor.take();
  cursor.diagnostics.add('not-yet', word, { word: word.text });
  while (!(cursor.atEnd || cursor.atStatement || cursor.is('->', ';'))) cursor.take();
}

function parseDefault(cursor: Cursor, keyword: Token): DefaultSyntax {
  const entries: { origin: Token; queue: NameSyntax }[] = [];
  for (;;) {
    const origin = cursor.peek();
    const known = isOneOf(ORIGINS, origin.text);
    if (origin.kind !== 'word' || cursor.atStatement || !(known || isText(cursor.peek(1), '->'))) break;
    cursor.take();
    if (!known)
      cursor.diagnostics.add(
        'unknown-value',
        origin,
        { found: origin.text, what: 'an origin', known: ORIGINS.join(', ') },
        didYouMean(origin.text, ORIGINS),
      );
    if (cursor.expect('->') || (cursor.peek().kind === 'word' && !cursor.peek().first))
      entries.push({ origin, queue: parseTarget(cursor) });
    else entries.push({ origin, queue: { text: undefined, start: origin.end, end: origin.end } });
    cursor.accept(',');
  }
  if (entries.length === 0) {
    cursor.reportExpected(
      'an origin (local, remote or new) and its queue',
      'default local -> QUEUE  remote -> QUEUE  new -> QUEUE',
    );
    if (!cursor.atStatement) cursor.skipToStatement();
  }
  return { kind: 'default', entries, ...cursor.since(keyword) };
}
