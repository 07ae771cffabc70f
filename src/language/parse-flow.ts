import { type Cursor, isText } from './cursor.ts';
import type { Token } from './lexer.ts';
import { didYouMean, nearest } from './nearest.ts';
import { parseOperand, parseSubject } from './parse-condition.ts';
import type { FactSyntax, FlowSyntax } from './syntax.ts';
import { BARE, isOneOf, isProtocolWord, isSubject, RESERVED, SUBJECTS, VALUES } from './vocabulary.ts';

/** What can be said of a flow behind its ends: what a rule looks at, but for what the ends say, and `held`. */
export const FACTS: readonly string[] = [
  ...Object.keys(SUBJECTS).filter(
    (word) => !/^(local|remote)\b|^(protocol|family|bytes|packets|rate|size|ratio)$/.test(word),
  ),
  ...BARE,
  'held',
];

/** Reads `PROTOCOL OPENER -> ANSWERER FACT ...`, up to what is no fact. */
export function parseFlowSyntax(cursor: Cursor): FlowSyntax {
  const start = cursor.peek();
  const protocol = takeProtocol(cursor);
  const opener = protocol && takeEnd(cursor, 'the end that opened the flow');
  const answerer = opener && cursor.expect('->') && takeEnd(cursor, 'the other end');
  const facts: FactSyntax[] = [];
  while (answerer && atFact(cursor)) {
    const fact = parseFact(cursor);
    if (fact) facts.push(fact);
    else skipFact(cursor);
  }
  if (!answerer) skipFact(cursor);
  return { protocol, opener, answerer, facts, ...cursor.since(start) };
}

function takeProtocol(cursor: Cursor): Token | undefined {
  const token = cursor.peek();
  if (cursor.accept('protocol')) {
    const { kind } = cursor.peek();
    if (kind === 'literal' || (kind === 'word' && !cursor.atStatement)) return cursor.take();
  } else if (token.kind === 'literal' && /^\d+$/.test(token.text)) {
    return cursor.take();
  } else if (token.kind === 'word' && !RESERVED.has(token.text)) {
    cursor.take();
    if (isProtocolWord(token.text)) return token;
    const fields = { found: token.text, what: 'a protocol', known: VALUES.protocol!.join(', ') };
    cursor.diagnostics.add('unknown-value', token, fields, didYouMean(token.text, VALUES.protocol!));
    return undefined;
  }
  cursor.reportExpected('a protocol', 'write a flow as: tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local');
  return undefined;
}

function takeEnd(cursor: Cursor, what: string): Token | undefined {
  if (cursor.peek().kind === 'literal') return cursor.take();
  cursor.reportExpected(what, 'for example 10.0.0.5:40000, or [fd00::5]:40000');
  return undefined;
}

const atFact = (cursor: Cursor): boolean =>
  cursor.peek().kind === 'word' && !RESERVED.has(cursor.peek().text) && cursor.meant(...FACTS, 'in') !== 'in';

function parseFact(cursor: Cursor): FactSyntax | undefined {
  const word = cursor.peek();
  let meant: string | undefined;
  const inSet = isText(word, 'local', 'remote') && isText(cursor.peek(1), 'in');
  if (!inSet && !FACTS.includes(word.text)) {
    const hint =
      word.text === 'size' || word.text === 'ratio'
        ? 'it follows from bytes and packets'
        : isSubject(word.text) && SUBJECTS[word.text] === 'measure'
          ? `write ${word.text}.in and ${word.text}.out`
          : didYouMean(word.text, FACTS);
    cursor.diagnostics.add('unknown-fact', word, { found: word.text }, hint);
    meant = nearest(word.text, FACTS);
    if (!meant) return undefined;
  }
  const subject = parseSubject(cursor, meant);
  if (!subject) return undefined;
  if (isOneOf(BARE, subject.subject.text))
    return { ...subject, operand: { kind: 'word', token: word, start: word.start, end: word.end } };
  cursor.accept(inSet ? 'in' : '=');
  const operand = parseOperand(cursor, true);
  return { ...subject, operand, ...cursor.since(word) };
}

/** Steps to the next fact, or the end of the flow. */
function skipFact(cursor: Cursor): void {
  while (!(cursor.atEnd || cursor.atStatement || cursor.is('in', ';'))) {
    cursor.take();
    if (FACTS.includes(cursor.peek().text)) return;
  }
}
