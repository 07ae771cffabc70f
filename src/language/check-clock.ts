import { readItems } from './check-operand.ts';
import { readChoice, readValue } from './check-value.ts';
import type { Token } from './lexer.ts';
import { didYouMean } from './nearest.ts';
import type { Condition, NumberRange } from './policy.ts';
import { resolveLet, type Scope } from './scope.ts';
import type { CompareSyntax, OperandSyntax } from './syntax.ts';
import { DAYS, isOneOf } from './vocabulary.ts';

const DAY = 24 * 60;

/** `time in 22:00-06:00`: from the first minute until the second, which is no more in it. */
export function checkTime({ operand }: CompareSyntax, scope: Scope): Condition | undefined {
  const ranges = readItems(operand, scope, (item) => readTimes(resolveLet(item, scope), scope));
  return ranges && { kind: 'time', ranges };
}

function readTimes(item: OperandSyntax, scope: Scope): NumberRange | undefined {
  if (item.kind === 'error') return undefined;
  if (item.kind !== 'range') {
    const token = item.kind === 'list' ? undefined : item.token;
    const minute = token && readMinute(token, scope);
    if (minute !== undefined) scope.diagnostics.add('no-moment', item, { found: token!.text });
    return undefined;
  }
  const first = readMinute(item.first, scope);
  const end = readMinute(item.last, scope);
  if (first === undefined || end === undefined) return undefined;
  if (first % DAY === end % DAY && !(first === 0 && end === DAY)) {
    const fields = {
      what: 'a range of time',
      range: 'at least a minute long',
      found: `${item.first.text}-${item.last.text}`,
    };
    scope.diagnostics.add('out-of-range', item, fields, 'the whole day is 00:00-24:00');
    return undefined;
  }
  return { first: first % DAY, last: (end + DAY - 1) % DAY };
}

/** Minutes since midnight, 0..1440. */
export function readMinute(token: Token, { diagnostics }: Scope): number | undefined {
  return readValue(token, ['time'], 'time', 'a time of day', diagnostics, 'for example 22:00-06:00')?.minutes;
}

/** `day in mon-fri`; a range may run over the week's end. */
export function checkDay({ operand }: CompareSyntax, scope: Scope): Condition | undefined {
  const days = readItems(operand, scope, (item) => readDays(item, scope));
  return days && { kind: 'day', days: [...new Set(days.flat())].toSorted((a, b) => a - b) };
}

function readDays(item: OperandSyntax, scope: Scope): readonly number[] | undefined {
  if (item.kind === 'error' || item.kind === 'list') return undefined;
  if (item.kind === 'range' || item.kind === 'literal') {
    const token = item.kind === 'range' ? item.first : item.token;
    readValue(token, [], 'day', `one of ${DAYS.join(', ')}`, scope.diagnostics);
    return undefined;
  }
  // A range of days is one word, since names may have hyphens.
  const [first = '', last = first, more] = item.token.text.split('-');
  const known = more === undefined && isOneOf(DAYS, first) && isOneOf(DAYS, last);
  if (!known) {
    const value = resolveLet(item, scope);
    if (value !== item) return readDays(value, scope);
    const wrong = isOneOf(DAYS, first) ? last : first;
    const fields = { found: wrong, what: 'a day', known: DAYS.join(', ') };
    scope.diagnostics.add('unknown-value', item, fields, didYouMean(wrong.slice(0, 3), DAYS));
    return undefined;
  }
  const from = DAYS.indexOf(first);
  const length = (DAYS.indexOf(last) - from + 7) % 7;
  return Array.from({ length: length + 1 }, (_, i) => (from + i) % 7);
}

/** One day, of a flow. */
export const readDay = (token: Token, { diagnostics }: Scope): number | undefined => {
  const day = readChoice(token, 'a day', DAYS, diagnostics);
  return day && DAYS.indexOf(day);
};
