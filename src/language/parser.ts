import { ORIGINS } from '../model/index.ts';
import { Cursor, describe, isText } from './cursor.ts';
import type { Diagnostics } from './diagnostic.ts';
import { type Token, tokenize } from './lexer.ts';
import { didYouMean, nearest } from './nearest.ts';
import { parseBlock } from './parse-block.ts';
import { parseCondition, parseOperand } from './parse-condition.ts';
import { parseFlowSyntax } from './parse-flow.ts';
import { parseName } from './parse-name.ts';
import { parseActions, parseTarget } from './parse-rule.ts';
import type { Source } from './source.ts';
import type {
  DefaultSyntax,
  ExpectSyntax,
  FileSyntax,
  IncludeSyntax,
  LetSyntax,
  MarksSyntax,
  NameSyntax,
  RuleSyntax,
  SetSyntax,
  StatementSyntax,
} from './syntax.ts';
import { beginsPredicate, isOneOf, STATEMENTS, type StatementKind } from './vocabulary.ts';

/** Reads a text to its syntax tree, reporting what is not of the language and going on behind it. Never throws. */
export function parse(source: Source, diagnostics: Diagnostics): FileSyntax {
  const { tokens, comments } = tokenize(source.text, diagnostics, source.base);
  const cursor = new Cursor(tokens, source, diagnostics);
  const statements: StatementSyntax[] = [];
  while (!cursor.atEnd) {
    if (cursor.accept(';')) continue;
    if (cursor.hasComplained && !cursor.peek().first && !cursor.atStatement) {
      cursor.skipToStatement();
      continue;
    }
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
  let: parseLet,
  rule: parseRule,
  default: parseDefault,
  expect: parseExpect,
  include: parseInclude,
  marks: parseMarks,
};

function parseSet(cursor: Cursor, keyword: Token): SetSyntax {
  const name = parseName(cursor, 'a name for the set');
  cursor.expect('=');
  const value = parseOperand(cursor, true);
  return { kind: 'set', name, value, ...cursor.since(keyword) };
}

function parseLet(cursor: Cursor, keyword: Token): LetSyntax {
  const name = parseName(cursor, 'a name for the value');
  cursor.expect('=');
  const value = parseOperand(cursor, true);
  return { kind: 'let', name, value, ...cursor.since(keyword) };
}

function parseRule(cursor: Cursor, keyword: Token): RuleSyntax {
  const name = parseName(cursor, 'a name for the rule');
  let when: RuleSyntax['when'];
  if (cursor.acceptMeant('when')) when = parseCondition(cursor);
  else if (!cursor.is('->')) {
    cursor.reportExpected('"when"');
    if (cursor.is('(') || beginsPredicate(cursor.peek().text)) when = parseCondition(cursor);
  }
  const actions = parseActions(cursor);
  const until = cursor.acceptMeant('until') ? parseCondition(cursor) : undefined;
  return { kind: 'rule', name, when, ...actions, until, ...cursor.since(keyword) };
}

function parseExpect(cursor: Cursor, keyword: Token): ExpectSyntax {
  const flow = parseFlowSyntax(cursor);
  let queue: NameSyntax = { text: undefined, start: cursor.previous.end, end: cursor.previous.end };
  if (cursor.expect('in')) queue = parseName(cursor, 'the name of a queue');
  else if (!cursor.atStatement) cursor.skipToStatement();
  return { kind: 'expect', flow, queue, ...cursor.since(keyword) };
}

function parseInclude(cursor: Cursor, keyword: Token): IncludeSyntax {
  const next = cursor.peek();
  let path: Token | undefined;
  if (next.kind === 'string') path = cursor.take();
  else {
    cursor.reportExpected('the path of a file in quotes', 'write include "lan.gate"');
    if (!cursor.atStatement) cursor.skipToStatement();
  }
  return { kind: 'include', path, ...cursor.since(keyword) };
}

function parseMarks(cursor: Cursor, keyword: Token): MarksSyntax {
  let mask: Token | undefined;
  if (cursor.peek().kind === 'literal') mask = cursor.take();
  else {
    cursor.reportExpected('the bits of the mark', 'write marks 0x7f000000');
    if (!cursor.atStatement) cursor.skipToStatement();
  }
  return { kind: 'marks', mask, ...cursor.since(keyword) };
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
