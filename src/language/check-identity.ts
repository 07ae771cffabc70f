import { ORIGINS, PROTOCOLS, type Prefix } from '../model/index.ts';
import { anyOf, checkWord, namedSet, readItems, readValues, reportNested } from './check-operand.ts';
import { type Numbered, PORTS, readNumbered, readNumberedRange, readPrefix, readValue } from './check-value.ts';
import { readLiteral } from './literal.ts';
import type { Condition, NumberRange } from './policy.ts';
import { resolveLet, type Scope } from './scope.ts';
import { mergePrefixes, mergeRanges } from './sets.ts';
import type { CompareSyntax, OperandSyntax } from './syntax.ts';
import { DSCPS, FAMILIES, NATS } from './vocabulary.ts';

export function checkOrigin({ operand }: CompareSyntax, scope: Scope): Condition | undefined {
  return anyOf(operand, scope, (item) => {
    const origin = checkWord(item, 'origin', 'an origin', ORIGINS, scope);
    return origin && { kind: 'origin', origin };
  });
}

export function checkFamily({ operand }: CompareSyntax, scope: Scope): Condition | undefined {
  return anyOf(operand, scope, (item) => {
    const word = checkWord(item, 'family', 'a family', FAMILIES, scope);
    return word && { kind: 'family', family: word === 'ipv4' ? 4 : 6 };
  });
}

export function checkNat({ operand }: CompareSyntax, scope: Scope): Condition | undefined {
  return anyOf(operand, scope, (item) => {
    const nat = checkWord(item, 'nat', 'a translation', NATS, scope);
    return nat && { kind: 'nat', nat };
  });
}

export function checkProtocol({ operand }: CompareSyntax, scope: Scope): Condition | undefined {
  return anyOf(operand, scope, (item) => {
    const protocol = readProtocol(item, scope);
    return protocol === undefined ? undefined : { kind: 'protocol', protocol };
  });
}

/** A protocol's number, from its name or as a number. */
export function readProtocol(item: OperandSyntax, scope: Scope): number | undefined {
  const names = Object.keys(PROTOCOLS) as (keyof typeof PROTOCOLS)[];
  const known = item.kind === 'word' && Object.hasOwn(PROTOCOLS, item.token.text);
  const value = known ? item : resolveLet(item, scope);
  if (value.kind !== 'literal') {
    const word = checkWord(value, 'protocol', 'a protocol', names, scope);
    return word && PROTOCOLS[word];
  }
  const expected = 'a number from 0 to 255, or a name';
  const literal = readValue(value.token, ['number'], 'protocol', expected, scope.diagnostics);
  if (!literal) return undefined;
  if (Number.isInteger(literal.number) && literal.number <= 255) return literal.number;
  const fields = { what: 'a protocol', range: 'a number from 0 to 255', found: value.token.text };
  scope.diagnostics.add('out-of-range', item, fields);
  return undefined;
}

const endOf = (subject: string): 'local' | 'remote' => (subject.startsWith('local') ? 'local' : 'remote');

/** A set that rules fill is asked by its name; others are resolved into their prefixes. */
export function checkAddress({ subject, operand }: CompareSyntax, scope: Scope): Condition | undefined {
  const end = endOf(subject.text);
  if (operand.kind === 'word' && scope.dynamic.has(operand.token.text)) {
    const known = namedSet(subject.text, 'address', operand.token, scope);
    return known && { kind: 'set', end, set: operand.token.text };
  }
  const prefixes = readValues(
    subject.text,
    'address',
    operand,
    scope,
    (item) => readPrefixItem(subject.text, item, scope),
    mergePrefixes,
  );
  return prefixes && { kind: 'address', end, prefixes };
}

export function readPrefixItem(subject: string, item: OperandSyntax, scope: Scope): Prefix | undefined {
  if (item.kind === 'literal' || item.kind === 'string') return readPrefix(item.token, subject, scope.diagnostics);
  if (item.kind === 'range') {
    const actual = readLiteral(item.first.text);
    if (actual.type === 'address') scope.diagnostics.add('no-range', item, { what: 'an address' });
    else readPrefix(item.first, subject, scope.diagnostics);
  } else reportNested(item, scope);
  return undefined;
}

const DSCP: Numbered = { what: 'a DSCP', expected: 'a number from 0 to 63, or a name', most: 63, names: DSCPS };
const ZONE: Numbered = { what: 'a zone', expected: 'a number from 0 to 65535', most: 65535 };

const kindOf = (subject: string): Numbered => (subject === 'dscp' ? DSCP : subject === 'zone' ? ZONE : PORTS);

/** Ports, DSCPs and zones: in ranges, and compared by size. */
export function checkNumbers(syntax: CompareSyntax, scope: Scope): Condition | undefined {
  const { subject, operator, operand } = syntax;
  const numbered = kindOf(subject.text);
  let ranges: readonly NumberRange[] | undefined;
  if (/^[<>]/.test(operator)) ranges = readOrder(syntax, numbered, scope);
  else if (numbered === PORTS)
    ranges = readValues(
      subject.text,
      'port',
      operand,
      scope,
      (item) => readNumberedItem(item, subject.text, PORTS, scope),
      mergeRanges,
    );
  else {
    const read = readItems(operand, scope, (item) => readNumberedItem(item, subject.text, numbered, scope));
    ranges = read && mergeRanges(read);
  }
  if (!ranges) return undefined;
  if (numbered === PORTS) return { kind: 'port', end: endOf(subject.text), ranges };
  return { kind: numbered === DSCP ? 'dscp' : 'zone', ranges };
}

/** One number or range; of DSCPs a name, too. */
export function readNumberedItem(
  item: OperandSyntax,
  subject: string,
  numbered: Numbered,
  scope: Scope,
): NumberRange | undefined {
  const named = item.kind === 'word' && numbered.names && Object.hasOwn(numbered.names, item.token.text);
  const value = named ? item : resolveLet(item, scope);
  if (value.kind === 'range') return readNumberedRange(value, subject, numbered, scope.diagnostics);
  if (value.kind === 'literal' || value.kind === 'string' || (value.kind === 'word' && numbered.names)) {
    const number = readNumbered(value.token, subject, numbered, scope.diagnostics);
    return number === undefined ? undefined : { first: number, last: number };
  }
  if (numbered === PORTS) reportNested(value, scope);
  else if (value.kind === 'word') readNumbered(value.token, subject, numbered, scope.diagnostics);
  return undefined;
}

function readOrder(
  { subject, operator, operand }: CompareSyntax,
  numbered: Numbered,
  scope: Scope,
): readonly NumberRange[] | undefined {
  if (operand.kind === 'error') return undefined;
  const named = operand.kind === 'word' && numbered.names && Object.hasOwn(numbered.names, operand.token.text);
  const value = named ? operand : resolveLet(operand, scope);
  if (value.kind === 'error') return undefined;
  if (value.kind === 'range' || value.kind === 'list' || (value.kind === 'word' && !numbered.names)) {
    scope.diagnostics.add('one-value', operand, { operator });
    return undefined;
  }
  const number = readNumbered(value.token, subject.text, numbered, scope.diagnostics);
  if (number === undefined) return undefined;
  const first = operator === '>' ? number + 1 : operator === '>=' ? number : 0;
  const last = operator === '<' ? number - 1 : operator === '<=' ? number : numbered.most;
  if (first <= last) return [{ first, last }];
  const range = operator === '<' ? 'above 0' : `below ${numbered.most}`;
  scope.diagnostics.add('out-of-range', operand, {
    what: `${numbered.what} behind "${operator}"`,
    range,
    found: number,
  });
  return undefined;
}
