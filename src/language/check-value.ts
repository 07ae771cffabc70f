import { formatAddress, formatPrefix, type Prefix, parseAddress, type Rate } from '../model/index.ts';
import type { Diagnostics } from './diagnostic.ts';
import type { Token } from './lexer.ts';
import { type Literal, type LiteralType, readLiteral, TYPE_NAMES } from './literal.ts';
import { didYouMean } from './nearest.ts';
import type { NumberRange } from './policy.ts';
import { spanning } from './source.ts';
import type { OperandSyntax } from './syntax.ts';
import { isOneOf } from './vocabulary.ts';

/** What links have, from an old modem to what is still in a laboratory. */
const LOWEST_RATE: Rate = 8e3;
const HIGHEST_RATE: Rate = 1e12;

/** Longest duration, ms: a year. */
export const MAX_DURATION = 366 * 86_400_000;

/** Reports what keeps a token from being a value at all. */
function readAny(token: Token, diagnostics: Diagnostics): Literal | undefined {
  const found = token.text;
  const literal = readLiteral(found);
  if (literal.type !== 'problem') return literal;
  const { code, hint } = literal;
  if (code === 'bad-address') diagnostics.add(code, token, { found, why: literal.why }, hint);
  else if (code === 'unknown-unit') diagnostics.add(code, token, { found, unit: literal.unit }, hint);
  else diagnostics.add(code, token, { found }, hint);
  return undefined;
}

/** The token's value when it is of one of these types; reports it as what `what` does not need otherwise. */
export function readValue<T extends LiteralType>(
  token: Token,
  types: readonly T[],
  what: string,
  expected: string,
  diagnostics: Diagnostics,
  hint?: string,
): Extract<Literal, { type: T }> | undefined {
  const found = token.text;
  if (token.kind !== 'literal') {
    const actual = token.kind === 'string' ? 'a string' : 'a word';
    diagnostics.add('wrong-type', token, { what, expected, found, actual }, hint);
    return undefined;
  }
  const literal = readAny(token, diagnostics);
  if (!literal) return undefined;
  if (isOneOf(types, literal.type)) return literal as Extract<Literal, { type: T }>;
  diagnostics.add('wrong-type', token, { what, expected, found, actual: TYPE_NAMES[literal.type] }, hint);
  return undefined;
}

/** Reports a value that can be read by nobody: of a constant, whose use will tell its type. */
export const checkReadable = (token: Token, diagnostics: Diagnostics): boolean =>
  token.kind !== 'literal' || readAny(token, diagnostics) !== undefined;

/** A share or ceiling, above 0 and at most 1. */
export function readShare(token: Token, what: 'share' | 'ceiling', diagnostics: Diagnostics): number | undefined {
  const hint = /^\d+$/.test(token.text) ? `write ${token.text}%` : undefined;
  const literal = readValue(token, ['percentage'], what, 'a percentage', diagnostics, hint);
  if (!literal) return undefined;
  if (literal.percent > 0 && literal.percent <= 100) return literal.percent / 100;
  const above = what === 'ceiling' ? 'a ceiling is a part of the link, or of the queue around it' : undefined;
  const fields = { what: `a ${what}`, range: 'above 0% and at most 100%', found: token.text };
  diagnostics.add('out-of-range', token, fields, literal.percent > 100 ? above : undefined);
  return undefined;
}

/** The rate of a link, or of a queue's part of one. */
export function readRate(token: Token, what: string, diagnostics: Diagnostics): Rate | undefined {
  const rate = readAnyRate(token, what, diagnostics);
  if (rate === undefined || (rate >= LOWEST_RATE && rate <= HIGHEST_RATE)) return rate;
  diagnostics.add('absurd-rate', token, { setting: what, found: token.text });
  return undefined;
}

/** Any rate, from none at all. */
export function readAnyRate(token: Token, what: string, diagnostics: Diagnostics): Rate | undefined {
  const found = token.text;
  const bare = /^\d+(\.\d+)?$/.test(found) ? `a unit is missing: did you mean ${found}mbit?` : undefined;
  const perSecond = /^[\d.]+[kKMGT]i?B$/.test(found) ? `did you mean ${found}/s?` : undefined;
  const literal = readValue(token, ['rate'], what, 'a rate', diagnostics, bare ?? perSecond ?? 'for example 100mbit');
  if (!literal) return undefined;
  if (literal.rate > HIGHEST_RATE) {
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

/** A duration in ms, above 0 unless `zero`, at most {@link MAX_DURATION}. */
export function readDuration(token: Token, what: string, diagnostics: Diagnostics, zero = false): number | undefined {
  const found = token.text;
  const hint = /^\d+(\.\d+)?$/.test(found) ? `a unit is missing: did you mean ${found}s?` : 'for example 30s';
  const literal = readValue(token, ['duration'], what, 'a duration', diagnostics, hint);
  if (!literal) return undefined;
  if ((zero || literal.ms > 0) && literal.ms <= MAX_DURATION) return literal.ms;
  diagnostics.add('out-of-range', token, { what, range: `${zero ? '' : 'above 0s and '}at most 366d`, found });
  return undefined;
}

/** An amount of bytes. */
export function readSize(token: Token, what: string, diagnostics: Diagnostics): number | undefined {
  const found = token.text;
  const hint = /^\d+$/.test(found) ? `a unit is missing: did you mean ${found}B?` : 'for example 50MB';
  const literal = readValue(token, ['size'], what, 'an amount of bytes', diagnostics, hint);
  if (!literal) return undefined;
  if (Number.isSafeInteger(literal.bytes)) return literal.bytes;
  diagnostics.add('out-of-range', token, { what, range: 'below 9007TB', found });
  return undefined;
}

/** A whole number from 0 to `most`. */
export function readNumber(
  token: Token,
  what: string,
  expected: string,
  most: number,
  diagnostics: Diagnostics,
): number | undefined {
  const literal = readValue(token, ['number'], what, expected, diagnostics);
  if (!literal) return undefined;
  if (Number.isInteger(literal.number) && literal.number <= most) return literal.number;
  diagnostics.add('out-of-range', token, { what, range: `a whole number from 0 to ${most}`, found: token.text });
  return undefined;
}

/** The name of a network device. */
export function readDevice(token: Token, diagnostics: Diagnostics): string | undefined {
  const name = token.text;
  if (isDeviceName(name)) return name;
  if (!diagnostics.hasWithin(token, ['bad-device'])) diagnostics.add('bad-device', token, { found: name });
  return undefined;
}

export const isDeviceName = (name: string): boolean =>
  /^[!-~]{1,15}$/.test(name) && !/[/:]/.test(name) && name !== '.' && name !== '..';

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
  if (!literal) return undefined;
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

/** What comes in whole numbers from 0 to `most`, perhaps with names. */
export interface Numbered {
  readonly what: string;
  /** How a message calls the values. */
  readonly expected: string;
  readonly most: number;
  readonly names?: Readonly<Record<string, number>>;
}

export const PORTS: Numbered = { what: 'a port', expected: 'a port or a range of ports', most: 65535 };

/** One number of its kind; `subject` is what needs it. */
export function readNumbered(
  token: Token,
  subject: string,
  { what, expected, most, names }: Numbered,
  diagnostics: Diagnostics,
): number | undefined {
  if (token.kind === 'word' && names) {
    if (Object.hasOwn(names, token.text)) return names[token.text];
    const fields = { found: token.text, what, known: Object.keys(names).join(', ') };
    diagnostics.add('unknown-value', token, fields, didYouMean(token.text, Object.keys(names)));
    return undefined;
  }
  const literal = readValue(token, ['number'], subject, expected, diagnostics);
  if (!literal) return undefined;
  if (Number.isInteger(literal.number) && literal.number <= most) return literal.number;
  diagnostics.add('out-of-range', token, { what, range: `0 to ${most}`, found: token.text });
  return undefined;
}

export function readNumberedRange(
  item: Extract<OperandSyntax, { kind: 'range' }>,
  subject: string,
  numbered: Numbered,
  diagnostics: Diagnostics,
): NumberRange | undefined {
  const first = readNumbered(item.first, subject, numbered, diagnostics);
  const last = readNumbered(item.last, subject, numbered, diagnostics);
  if (first === undefined || last === undefined) return undefined;
  if (first <= last) return { first, last };
  diagnostics.add('reversed-range', spanning(item.first, item.last), { first, last });
  return undefined;
}
