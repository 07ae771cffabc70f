import { type Family, ORIGINS, PROTOCOLS, type Prefix } from '../model/index.ts';
import { readPort, readPortRange, readPrefix, readValue } from './check-value.ts';
import type { Diagnostics } from './diagnostic.ts';
import type { Token } from './lexer.ts';
import { readLiteral } from './literal.ts';
import { didYouMean, didYouMeanOneOf } from './nearest.ts';
import type { Condition, PortRange } from './policy.ts';
import { mergePrefixes, mergeRanges } from './sets.ts';
import type { Source } from './source.ts';
import type { CompareSyntax, ConditionSyntax, OperandSyntax } from './syntax.ts';
import { isOneOf, isProtocolWord, isSubject, SUBJECTS, type Subject, type SubjectType } from './vocabulary.ts';

interface Element {
  readonly address: Prefix;
  readonly port: PortRange;
}
type SetType = keyof Element;

/** What a `set` statement defines. */
export type SetValue = { [T in SetType]: { readonly type: T; readonly values: readonly Element[T][] } }[SetType];

export interface Scope {
  readonly source: Source;
  readonly diagnostics: Diagnostics;
  /** Undefined for one whose definition has a mistake. */
  readonly sets: ReadonlyMap<string, SetValue | undefined>;
  /** Names of sets that something refers to; grows. */
  readonly used: Set<string>;
}

const SET_NAMES = { address: 'addresses', port: 'ports' } as const;

/** Turns a condition as written into one that can be evaluated; undefined where it has a mistake, which is reported. */
export function checkCondition(syntax: ConditionSyntax, scope: Scope): Condition | undefined {
  switch (syntax.kind) {
    case 'error':
      return undefined;
    case 'protocol':
      return isProtocolWord(syntax.word.text) ? { kind: 'protocol', protocol: PROTOCOLS[syntax.word.text] } : undefined;
    case 'not':
      return negate(checkCondition(syntax.term, scope));
    case 'compare':
      return checkCompare(syntax, scope);
    default: {
      const terms = syntax.terms.map((term) => checkCondition(term, scope));
      if (syntax.kind === 'and') reportContradiction(syntax.terms, terms, scope);
      return terms.every((term) => term !== undefined) ? { kind: syntax.kind, terms } : undefined;
    }
  }
}

const negate = (term: Condition | undefined): Condition | undefined => term && { kind: 'not', term };

/** Two values of what a flow has one of, joined by `and`. */
function reportContradiction(
  syntax: readonly ConditionSyntax[],
  terms: readonly (Condition | undefined)[],
  { source, diagnostics }: Scope,
): void {
  const text = (i: number) => source.text.slice(syntax[i]!.start, syntax[i]!.end);
  const seen = new Map<string, { index: number; value: unknown }>();
  for (const [index, term] of terms.entries()) {
    if (term?.kind !== 'origin' && term?.kind !== 'protocol' && term?.kind !== 'family') continue;
    const value = term.kind === 'origin' ? term.origin : term.kind === 'protocol' ? term.protocol : term.family;
    const first = seen.get(term.kind);
    if (!first) seen.set(term.kind, { index, value });
    else if (first.value !== value) {
      const fields = { what: term.kind, first: text(first.index), second: text(index) };
      diagnostics.add('contradiction', syntax[index]!, fields);
      return;
    }
  }
}

function checkCompare(syntax: CompareSyntax, scope: Scope): Condition | undefined {
  const { operator, operand } = syntax;
  const subject = syntax.subject.text;
  if (!isSubject(subject)) return undefined;
  const type = SUBJECTS[subject];
  if (operator === '<' || operator === '<=' || operator === '>' || operator === '>=') {
    if (type !== 'port') {
      scope.diagnostics.add('no-order', syntax, { operator, subject });
      return undefined;
    }
    return checkOrder(subject as PortSubject, operator, operand, scope);
  }
  const condition = CHECKS[type](subject, operand, scope);
  return operator === '!=' || operator === 'not in' ? negate(condition) : condition;
}

type PortSubject = 'local.port' | 'remote.port';
const endOf = (subject: Subject): 'local' | 'remote' => (subject.startsWith('local') ? 'local' : 'remote');

const CHECKS: Record<SubjectType, (subject: Subject, operand: OperandSyntax, scope: Scope) => Condition | undefined> = {
  origin: (_, operand, scope) =>
    anyOf(operand, scope, (item) => {
      const origin = checkWord(item, 'origin', 'an origin', ORIGINS, scope);
      return origin && { kind: 'origin', origin };
    }),
  family: (_, operand, scope) =>
    anyOf(operand, scope, (item) => {
      const word = checkWord(item, 'family', 'a family', ['ipv4', 'ipv6'], scope);
      const family: Family = word === 'ipv4' ? 4 : 6;
      return word && { kind: 'family', family };
    }),
  protocol: (_, operand, scope) =>
    anyOf(operand, scope, (item) => {
      const protocol = checkProtocol(item, scope);
      return protocol === undefined ? undefined : { kind: 'protocol', protocol };
    }),
  address: (subject, operand, scope) => {
    const prefixes = resolve(
      subject,
      'address',
      operand,
      scope,
      (item) => readPrefixItem(subject, item, scope),
      mergePrefixes,
    );
    return prefixes && { kind: 'address', end: endOf(subject), prefixes };
  },
  port: (subject, operand, scope) => {
    const ranges = resolve(subject, 'port', operand, scope, (item) => readPortItem(subject, item, scope), mergeRanges);
    return ranges && { kind: 'port', end: endOf(subject), ranges };
  },
};

/** One condition for each value of the operand, joined by `or`. */
function anyOf(
  operand: OperandSyntax,
  scope: Scope,
  check: (item: OperandSyntax) => Condition | undefined,
): Condition | undefined {
  const items = itemsOf(operand, scope);
  const terms = items?.map(check);
  if (!terms?.every((term) => term !== undefined)) return undefined;
  return terms.length === 1 ? terms[0] : { kind: 'or', terms };
}

/** The values of a list, or the one value; undefined where there is none. */
function itemsOf(operand: OperandSyntax, { diagnostics }: Scope): readonly OperandSyntax[] | undefined {
  if (operand.kind === 'error') return undefined;
  if (operand.kind !== 'list') return [operand];
  if (operand.items.length > 0) return operand.items;
  diagnostics.add('empty-list', operand, {});
  return undefined;
}

function checkWord<T extends string>(
  item: OperandSyntax,
  subject: string,
  what: string,
  words: readonly T[],
  { diagnostics }: Scope,
): T | undefined {
  if (item.kind === 'word') {
    const found = item.token.text;
    if (isOneOf(words, found)) return found;
    diagnostics.add('unknown-value', item, { found, what, known: words.join(', ') }, didYouMean(found, words));
  } else if (item.kind === 'range') diagnostics.add('no-range', item, { what: subject });
  else if (item.kind === 'literal') readValue(item.token, [], subject, `one of ${words.join(', ')}`, diagnostics);
  return undefined;
}

function checkProtocol(item: OperandSyntax, scope: Scope): number | undefined {
  const names = Object.keys(PROTOCOLS) as (keyof typeof PROTOCOLS)[];
  if (item.kind !== 'literal') {
    const word = checkWord(item, 'protocol', 'a protocol', names, scope);
    return word && PROTOCOLS[word];
  }
  const literal = readValue(item.token, ['number'], 'protocol', 'a number from 0 to 255, or a name', scope.diagnostics);
  if (literal?.type !== 'number') return undefined;
  if (Number.isInteger(literal.number) && literal.number <= 255) return literal.number;
  const fields = { what: 'a protocol', range: 'a number from 0 to 255', found: item.token.text };
  scope.diagnostics.add('out-of-range', item, fields);
  return undefined;
}

/** The values of a named set or of a list, merged. A set's are shared by all who name it. */
function resolve<T extends SetType>(
  subject: string,
  type: T,
  operand: OperandSyntax,
  scope: Scope,
  read: (item: OperandSyntax) => Element[T] | undefined,
  merge: (values: readonly Element[T][]) => readonly Element[T][],
): readonly Element[T][] | undefined {
  if (operand.kind === 'word') return namedSet(subject, type, operand.token, scope);
  const values = itemsOf(operand, scope)?.map(read);
  return values?.every((value) => value !== undefined) ? merge(values) : undefined;
}

function namedSet<T extends SetType>(
  subject: string,
  type: T,
  token: Token,
  { sets, used, diagnostics }: Scope,
): readonly Element[T][] | undefined {
  const name = token.text;
  used.add(name);
  if (!sets.has(name)) diagnostics.add('unknown-set', token, { name }, () => didYouMeanOneOf(name, [...sets.keys()]));
  const set = sets.get(name);
  if (!set) return undefined;
  if (set.type === type) return set.values as readonly Element[T][];
  const fields = { subject, expected: SET_NAMES[type], name, actual: SET_NAMES[set.type] };
  diagnostics.add('wrong-set', token, fields);
  return undefined;
}

function readPrefixItem(subject: string, item: OperandSyntax, scope: Scope): Prefix | undefined {
  if (item.kind === 'literal') return readPrefix(item.token, subject, scope.diagnostics);
  if (item.kind === 'range') {
    const actual = readLiteral(item.first.text);
    if (actual.type === 'address') scope.diagnostics.add('no-range', item, { what: 'an address' });
    else readPrefix(item.first, subject, scope.diagnostics);
  } else reportNested(item, scope);
  return undefined;
}

function readPortItem(subject: string, item: OperandSyntax, scope: Scope): PortRange | undefined {
  if (item.kind === 'range') return readPortRange(item, subject, scope.diagnostics);
  if (item.kind === 'literal') {
    const port = readPort(item.token, subject, scope.diagnostics);
    return port === undefined ? undefined : { first: port, last: port };
  }
  reportNested(item, scope);
  return undefined;
}

function reportNested(item: OperandSyntax, { used, diagnostics }: Scope): void {
  if (item.kind !== 'word') return;
  used.add(item.token.text);
  diagnostics.add('nested-set', item, { name: item.token.text });
}

function checkOrder(
  subject: PortSubject,
  operator: '<' | '<=' | '>' | '>=',
  operand: OperandSyntax,
  { diagnostics }: Scope,
): Condition | undefined {
  if (operand.kind === 'error') return undefined;
  if (operand.kind !== 'literal') {
    diagnostics.add('one-value', operand, { operator });
    return undefined;
  }
  const port = readPort(operand.token, subject, diagnostics);
  if (port === undefined) return undefined;
  const first = operator === '>' ? port + 1 : operator === '>=' ? port : 0;
  const last = operator === '<' ? port - 1 : operator === '<=' ? port : 65535;
  if (first > last) {
    const range = operator === '<' ? 'above 0' : 'below 65535';
    diagnostics.add('out-of-range', operand, { what: `a port behind "${operator}"`, range, found: port });
    return undefined;
  }
  return { kind: 'port', end: endOf(subject), ranges: [{ first, last }] };
}

/** Reads what a `set` statement defines; its first value says of which type it is. */
export function checkSet(operand: OperandSyntax, scope: Scope): SetValue | undefined {
  const items = itemsOf(operand, scope);
  if (!items) return undefined;
  let type: SetValue['type'] | undefined;
  let first = '';
  const prefixes: Prefix[] = [];
  const ranges: PortRange[] = [];
  let good = true;
  for (const item of items) {
    const token = item.kind === 'range' ? item.first : item.kind === 'literal' ? item.token : undefined;
    const literal = token && readLiteral(token.text);
    const its = literal?.type === 'address' ? 'address' : literal?.type === 'number' ? 'port' : undefined;
    if (token && its && type && its !== type) {
      const fields = { found: token.text, actual: NOUNS[its], first, expected: NOUNS[type] };
      scope.diagnostics.add('mixed-set', item, fields);
      good = false;
      continue;
    }
    if (its && !type) [type, first] = [its, token!.text];
    // What is of neither type is complained of as if it were of the set's.
    if ((its ?? type) === 'port') {
      const range = readPortItem('a set of ports', item, scope);
      if (range) ranges.push(range);
      else good = false;
    } else {
      const prefix = readPrefixItem(type ? 'a set of addresses' : 'a set', item, scope);
      if (prefix) prefixes.push(prefix);
      else good = false;
    }
  }
  if (!good || !type) return undefined;
  return type === 'port' ? { type, values: mergeRanges(ranges) } : { type, values: mergePrefixes(prefixes) };
}

const NOUNS = { address: 'an address', port: 'a port' } as const;
