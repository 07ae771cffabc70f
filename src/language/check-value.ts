import { formatAddress, formatPrefix, type Prefix, parseAddress, type Rate } from '../model/index.ts';
import type { Diagnostics } from './diagnostic.ts';
import type { Token } from './lexer.ts';
import { type Literal, type LiteralType, readLiteral, TYPE_NAMES } from './literal.ts';
import { didYouMean } from './nearest.ts';
import type { PortRange } from './policy.ts';
import { spanning } from './source.ts';
import type { OperandSyntax } from './syntax.ts';
import { isOneOf } from './vocabulary.ts';

/** What links have, from an old modem to what is still in a laboratory. */
const LOWEST_RATE: Rate = 8e3;
const HIGHEST_RATE: Rate = 1e12;

/** The token's value when it is of one of these types; reports it as what `what` does not need otherwise. */
export function readValue(
  token: Token,
  types: readonly LiteralType[],
  what: string,
  expected: string,
  diagnostics: Diagnostics,
  hint?: string,
): Literal | undefined {
  const found = token.text;
  if (token.kind !== 'literal') {
    const actual = token.kind === 'string' ? 'a string' : 'a word';
    diagnostics.add('wrong-type', token, { what, expected, found, actual }, hint);
    return undefined;
  }
  const literal = readLiteral(found);
  if (literal.type === 'problem') {
    const { code, hint: its } = literal;
    if (code === 'bad-address') diagnostics.add(code, token, { found, why: literal.why }, its);
    else if (code === 'unknown-unit') diagnostics.add(code, token, { found, unit: literal.unit }, its);
    else diagnostics.add(code, token, { found }, its);
    return undefined;
  }
  if (types.includes(literal.type)) return literal;
  diagnostics.add('wrong-type', token, { what, expected, found, actual: TYPE_NAMES[literal.type] }, hint);
  return undefined;
}

/** A share or ceiling, above 0 and at most 1. */
export function readShare(token: Token, what: string, diagnostics: Diagnostics): number | undefined {
  const hint = /^\d+$/.test(token.text) ? `write ${token.text}%` : undefined;
  const literal = readValue(token, ['percentage'], what, 'a percentage', diagnostics, hint);
  if (literal?.type !== 'percentage') return undefined;
  if (literal.percent > 0 && literal.percent <= 100) return literal.percent / 100;
  diagnostics.add('out-of-range', token, { what: `a ${what}`, range: 'above 0% and at most 100%', found: token.text });
  return undefined;
}

export function readRate(token: Token, what: string, diagnostics: Diagnostics): Rate | undefined {
  const found = token.text;
  const bare = /^\d+(\.\d+)?$/.test(found) ? `a unit is missing: did you mean ${found}mbit?` : undefined;
  const literal = readValue(token, ['rate'], what, 'a rate', diagnostics, bare ?? 'for example 100mbit');
  if (literal?.type !== 'rate') return undefined;
  if (literal.rate < LOWEST_RATE || literal.rate > HIGHEST_RATE) {
    diagnostics.add('absurd-rate', token, { setting: what, found });
    return undefined;
  }
  const [, number, prefix] = /^([\d.]+)([kmgt]?)bps$/i.exec(found) ?? [];
  if (number !== undefined) {
    const unit = `${prefix?.toLowerCase()}bit`;
    const rate = `${Number((Number(number) * 8).toPrecision(15))}${unit}`;
    diagnostics.add('bytes-per-second', token, { found, rate, bits: `${number}${unit}` });
  }
  return literal.rate;
}

/** The name of a network device. */
export function readDevice(token: Token, diagnostics: Diagnostics): string | undefined {
  const name = token.text;
  if (/^[!-~]{1,15}$/.test(name) && !/[/:]/.test(name) && name !== '.' && name !== '..') return name;
  diagnostics.add('bad-device', token, { found: name });
  return undefined;
}

export function readChoice<T extends string>(
  token: Token,
  what: string,
  words: readonly T[],
  diagnostics: Diagnostics,
): T | undefined {
  if (isOneOf(words, token.text)) return token.text;
  const fields = { found: token.text, what, known: words.join(', ') };
  diagnostics.add('unknown-value', token, fields, didYouMean(token.text, words));
  return undefined;
}

export function readPrefix(token: Token, what: string, diagnostics: Diagnostics): Prefix | undefined {
  const literal = readValue(token, ['address'], what, 'addresses', diagnostics);
  if (literal?.type !== 'address') return undefined;
  const { prefix } = literal;
  if (!literal.hostBits) return prefix;
  const address = parseAddress(token.text.split('/')[0]!)!;
  const fields = {
    found: token.text,
    length: prefix.length,
    masked: formatPrefix(prefix),
    address: formatAddress(address),
  };
  diagnostics.add('host-bits', token, fields);
  return undefined;
}

export function readPort(token: Token, what: string, diagnostics: Diagnostics): number | undefined {
  const literal = readValue(token, ['number'], what, 'a port or a range of ports', diagnostics);
  if (literal?.type !== 'number') return undefined;
  if (Number.isInteger(literal.number) && literal.number <= 65535) return literal.number;
  diagnostics.add('out-of-range', token, { what: 'a port', range: '0 to 65535', found: token.text });
  return undefined;
}

export function readPortRange(
  item: Extract<OperandSyntax, { kind: 'range' }>,
  what: string,
  diagnostics: Diagnostics,
): PortRange | undefined {
  const first = readPort(item.first, what, diagnostics);
  const last = readPort(item.last, what, diagnostics);
  if (first === undefined || last === undefined) return undefined;
  if (first <= last) return { first, last };
  diagnostics.add('reversed-range', spanning(item.first, item.last), { first, last });
  return undefined;
}
