import { ORIGINS, PROTOCOLS } from '../model/index.ts';
import { type Cursor, isText } from './cursor.ts';
import type { Token } from './lexer.ts';
import { isUnit } from './literal.ts';
import { didYouMean, nearest } from './nearest.ts';
import { spanning } from './source.ts';
import type { ConditionSyntax, ErrorSyntax, OperandSyntax, Operator, SubjectSyntax } from './syntax.ts';
import {
  BARE,
  FOREIGN_WORDS,
  isBareWord,
  isOneOf,
  isSubject,
  RESERVED,
  SUBJECTS,
  type Subject,
  takesStrings,
} from './vocabulary.ts';

/** Parentheses and `not`s within each other. */
export const MAX_DEPTH = 64;

const COMPARISONS: readonly Operator[] = ['=', '!=', '<', '<=', '>', '>='];

/** What can stand behind a term. */
const JOINTS = ['and', 'or', 'for', 'until'];

/** What can begin one. */
const TERMS = [...Object.keys(SUBJECTS), ...Object.keys(PROTOCOLS), ...BARE, 'not'];

/** Reads `COND`: `not` binds before `for`, that before `and`, and `and` before `or`. */
export const parseCondition = (cursor: Cursor): ConditionSyntax => parseChain(cursor, 'or');

function parseChain(cursor: Cursor, kind: 'or' | 'and'): ConditionSyntax {
  const parseTerm = () => (kind === 'or' ? parseChain(cursor, 'and') : parseHeld(cursor));
  const terms = [parseTerm()];
  for (;;) {
    if (cursor.acceptMeant(kind, JOINTS)) terms.push(parseTerm());
    else if (kind === 'and' && atMissingOperator(cursor) && !cursor.meant(...JOINTS)) {
      cursor.diagnostics.add('missing-operator', cursor.peek(), { found: cursor.peek().text });
      terms.push(parseTerm());
    } else break;
  }
  return terms.length === 1 ? terms[0]! : { kind, terms, ...spanning(terms[0]!, terms.at(-1)!) };
}

/** Another condition without `and` or `or` before it. A word that ends the line is rather a queue behind a missing arrow. */
function atMissingOperator(cursor: Cursor): boolean {
  if (cursor.is('(', 'not')) return true;
  const { kind, text } = cursor.peek();
  if (kind !== 'word' || RESERVED.has(text)) return false;
  const next = cursor.peek(1);
  return isBareWord(text) || !(next.first || next.kind === 'end' || isText(next, ';', 'until'));
}

/** `TERM for D`: once only, since a second `for` on the same term would say nothing new. */
function parseHeld(cursor: Cursor): ConditionSyntax {
  const term = parseNot(cursor);
  if (!cursor.acceptMeant('for', JOINTS)) return term;
  return { kind: 'held', term, for: takeLiteral(cursor, 'a duration'), ...cursor.since(term) };
}

/** Takes a value or the name of one, or reports that it is missing. */
export function takeLiteral(cursor: Cursor, what: string): Token | undefined {
  const { kind, text } = cursor.peek();
  if (kind === 'literal') return takeValue(cursor);
  if (kind === 'word' && !RESERVED.has(text)) return cursor.take();
  cursor.reportExpected(what);
  return undefined;
}

function parseNot(cursor: Cursor): ConditionSyntax {
  const start = cursor.peek();
  if (!cursor.is('not', '(') && cursor.meant(...TERMS) !== 'not') return parsePredicate(cursor);
  if (cursor.depth >= MAX_DEPTH) {
    cursor.diagnostics.add('too-deep', start, { most: MAX_DEPTH });
    return skipTerm(cursor);
  }
  const negated = !cursor.accept('(') && cursor.acceptMeant('not') !== undefined;
  cursor.depth++;
  const term = negated ? parseNot(cursor) : parseCondition(cursor);
  cursor.depth--;
  if (negated) return { kind: 'not', term, ...cursor.since(start) };
  if (!cursor.accept(')')) cursor.diagnostics.add('unclosed', start, { bracket: '(', closing: ')' });
  return term;
}

function parsePredicate(cursor: Cursor): ConditionSyntax {
  const token = cursor.peek();
  if (token.kind !== 'word' || RESERVED.has(token.text)) {
    cursor.reportExpected('a condition');
    return atTermEnd(cursor) ? nothing(token) : skipTerm(cursor);
  }
  if (isBareWord(token.text)) return { kind: 'bare', word: cursor.take(), ...span(token) };
  if (isSubject(token.text)) return parseCompare(cursor);

  const near = nearest(token.text, TERMS);
  const foreign = Object.hasOwn(FOREIGN_WORDS, token.text) ? FOREIGN_WORDS[token.text] : undefined;
  const hint = foreign
    ? `write ${foreign}`
    : isOneOf(ORIGINS, token.text)
      ? `did you mean "origin ${token.text}"?`
      : near && `did you mean "${near}"?`;
  cursor.diagnostics.add('unknown-word', token, { found: token.text }, hint);
  // What was meant is clear enough to look at the rest of it.
  if (!foreign && near && isSubject(near)) return parseCompare(cursor, near);
  return skipTerm(cursor);
}

/** What is looked at, perhaps another word than is written; undefined where it is cut short, which is reported. */
export function parseSubject(cursor: Cursor, meant?: string): SubjectSyntax | undefined {
  const subject = meant === undefined ? cursor.take() : { ...cursor.take(), text: meant };
  if (isText(subject, 'count')) {
    if (!cursor.expect('(', 'write count(flows by KEY) or count(peers by KEY)')) return undefined;
    const of = takeWord(cursor, 'flows or peers');
    const by = of && cursor.expect('by') && takeWord(cursor, 'what is counted by');
    if (!by || !cursor.expect(')')) return undefined;
    return { subject, of, by, ...cursor.since(subject) };
  }
  if (subject.text.startsWith('rate') && cursor.acceptMeant('over')) {
    const window = takeLiteral(cursor, 'a duration');
    return window && { subject, window, ...cursor.since(subject) };
  }
  return { subject, start: subject.start, end: subject.end };
}

function takeWord(cursor: Cursor, what: string): Token | undefined {
  const { kind, text } = cursor.peek();
  if (kind === 'word' && !RESERVED.has(text)) return cursor.take();
  cursor.reportExpected(what);
  return undefined;
}

function parseCompare(cursor: Cursor, meant?: Subject): ConditionSyntax {
  const parsed = parseSubject(cursor, meant);
  if (!parsed) return atTermEnd(cursor) ? nothing(cursor.peek()) : skipTerm(cursor);
  const { subject } = parsed;
  if (isText(subject, 'local', 'remote') && cursor.is('port')) {
    const hint = `write ${subject.text}.port in one word`;
    cursor.diagnostics.add('unknown-word', cursor.peek(), { found: 'port' }, hint);
    return skipTerm(cursor);
  }
  const operator = parseOperator(cursor);
  if (operator === 'is' && !atOperand(cursor)) {
    const end = isText(subject, 'local', 'remote');
    cursor.reportExpected(
      `what "${subject.text}" is compared with`,
      end ? `write ${subject.text} in PREFIX, or origin ${subject.text}` : undefined,
    );
    return atTermEnd(cursor) ? nothing(subject) : skipTerm(cursor);
  }
  const strings = isSubject(subject.text) && takesStrings(SUBJECTS[subject.text]);
  const operand = parseOperand(cursor, strings);
  if (operand.kind === 'error' && !atTermEnd(cursor) && !atMissingOperator(cursor)) skipTerm(cursor);
  const { window, of, by, start } = parsed;
  return { kind: 'compare', subject, window, of, by, operator, operand, start, end: cursor.previous.end };
}

function parseOperator(cursor: Cursor): Operator {
  if (cursor.accept('in')) return 'in';
  // Two words or values side by side: the first is no operand.
  if (leadsOperand(cursor.peek(1)) && cursor.acceptMeant('in')) return 'in';
  if (cursor.accept('not')) {
    cursor.expect('in');
    return 'not in';
  }
  for (const comparison of COMPARISONS) if (cursor.accept(comparison)) return comparison;
  return 'is';
}

const leadsOperand = (token: Token): boolean =>
  token.kind === 'literal' ||
  token.kind === 'string' ||
  isText(token, '{') ||
  (token.kind === 'word' && !RESERVED.has(token.text));
const atOperand = (cursor: Cursor): boolean => leadsOperand(cursor.peek());

/** Reads a value, a range, a list in braces or a name; with `strings` a value in quotes, too. */
export function parseOperand(cursor: Cursor, strings = false): OperandSyntax {
  const token = cursor.peek();
  if (cursor.is('{')) return parseList(cursor, strings);
  if (strings && token.kind === 'string') return { kind: 'string', token: cursor.take(), ...span(token) };
  if (token.kind === 'word' && !RESERVED.has(token.text)) return { kind: 'word', token: cursor.take(), ...span(token) };
  if (token.kind !== 'literal') {
    cursor.reportExpected('a value', token.kind === 'string' ? 'values are written without quotes' : undefined);
    if (token.kind === 'string') cursor.take();
    return nothing(token);
  }
  const first = takeValue(cursor);
  if (!first) return nothing(token);
  if (!cursor.accept('-')) return { kind: 'literal', token: first, ...span(first) };
  if (cursor.peek().kind !== 'literal') {
    cursor.reportExpected(`the end of the range that begins with ${first.text}`);
    return { kind: 'error', ...cursor.since(first) };
  }
  const last = cursor.take();
  return { kind: 'range', first, last, ...spanning(first, last) };
}

/** Takes a literal; one that was written as two words (`100 mbit`, `70 %`) is reported, and gives undefined. */
export function takeValue(cursor: Cursor): Token | undefined {
  const literal = cursor.take();
  const unit = cursor.peek();
  const split =
    !unit.first && /^[\d.]+$/.test(literal.text) && (isText(unit, '%') || (unit.kind === 'word' && isUnit(unit.text)));
  if (!split) return literal;
  cursor.take();
  cursor.diagnostics.add('split-value', spanning(literal, unit), { number: literal.text, unit: unit.text });
  return undefined;
}

function parseList(cursor: Cursor, strings: boolean): OperandSyntax {
  const open = cursor.take();
  const items: OperandSyntax[] = [];
  for (;;) {
    if (cursor.accept('}')) return { kind: 'list', items, ...cursor.since(open) };
    if (cursor.atEnd || cursor.is('->') || cursor.atStatement) {
      cursor.diagnostics.add('unclosed', open, { bracket: '{', closing: '}' });
      return { kind: 'error', ...cursor.since(open) };
    }
    if (cursor.is('{')) {
      cursor.reportExpected('a value', 'lists hold values; they do not nest');
      cursor.take();
      continue;
    }
    const start = cursor.peek();
    const item = parseOperand(cursor, strings);
    items.push(item);
    if (item.kind === 'error')
      while (!(cursor.atEnd || cursor.is(',', '}', '{', '->') || cursor.peek().first)) cursor.take();
    if (!cursor.accept(',') && !cursor.is('}') && !cursor.peek().first && !cursor.atEnd && !cursor.is('->'))
      cursor.reportExpected(
        '"," or "}"',
        didYouMean(cursor.peek().text, ['or', 'and']) && 'a list is separated by commas',
      );
    // What begins a line is no separator, but has to be stepped over all the same.
    if (cursor.peek() === start) cursor.take();
  }
}

const atTermEnd = (cursor: Cursor): boolean =>
  cursor.atEnd || cursor.is('and', 'or', '->', ')', '}', ';', 'for', 'until') || cursor.atStatement;

/** Steps over what is left of a term that cannot be read, brackets and all. Takes at least one token. */
function skipTerm(cursor: Cursor): ErrorSyntax {
  const start = cursor.peek();
  let open = 0;
  do {
    const token = cursor.take();
    if (isText(token, '(', '{')) open++;
    else if (isText(token, ')', '}')) open = Math.max(0, open - 1);
  } while (!(cursor.atEnd || cursor.is('->') || cursor.atStatement || (open === 0 && atTermEnd(cursor))));
  return { kind: 'error', ...cursor.since(start) };
}

const span = (token: Token) => ({ start: token.start, end: token.end });
const nothing = (token: Token): ErrorSyntax => ({ kind: 'error', start: token.start, end: token.start });
