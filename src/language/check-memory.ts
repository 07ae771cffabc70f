import { COUNT_KEYS, TCP_STATES } from '../model/index.ts';
import { checkWord, readItems } from './check-operand.ts';
import { readAnyRate, readChoice, readDuration, readNumber, readSize, readValue } from './check-value.ts';
import type { Token } from './lexer.ts';
import type { Condition, Operator } from './policy.ts';
import { RATE_WINDOW } from './policy.ts';
import { resolveLet, resolveToken, type Scope } from './scope.ts';
import type { CompareSyntax } from './syntax.ts';
import { COUNTED, MEASURES, type SubjectOf } from './vocabulary.ts';

/** Least and most that `rate over` averages over, ms. */
const MIN_WINDOW = 1000;
const MAX_WINDOW = 600_000;

const MOST = Number.MAX_SAFE_INTEGER;

/** The operator and the one value behind it; reports what a measure cannot be compared with. */
function readComparison(
  syntax: CompareSyntax,
  scope: Scope,
): { readonly operator: Operator; readonly token: Token } | undefined {
  const { operator, operand, subject } = syntax;
  if (operand.kind === 'error') return undefined;
  const value = resolveLet(operand, scope);
  if (operator === 'is' || operator === 'in' || operator === 'not in') {
    const text = scope.sources.slice(
      subject.text === 'count' ? { start: subject.start, end: syntax.operand.start } : subject,
    );
    const example = value.kind === 'literal' || value.kind === 'word' ? value.token.text : '...';
    scope.diagnostics.add(
      'no-comparison',
      syntax,
      { subject: subject.text },
      `write ${text.trim().replace(/\s+(not\s+)?in$/, '')} > ${example}`,
    );
    return undefined;
  }
  if (value.kind === 'error') return undefined;
  if (value.kind === 'list' || value.kind === 'range') {
    scope.diagnostics.add('one-value', operand, { operator });
    return undefined;
  }
  return { operator, token: value.token };
}

/** Bytes, packets, rates, age, idle, size and ratio. */
export function checkMeasure(syntax: CompareSyntax, scope: Scope): Condition | undefined {
  const subject = syntax.subject.text as SubjectOf<'measure'>;
  const { measure, direction, type } = MEASURES[subject];
  const window = measure === 'rate' ? readWindow(syntax.window, scope) : undefined;
  const comparison = readComparison(syntax, scope);
  if (!comparison) return undefined;
  const { operator, token } = comparison;
  const value = readMeasured(token, subject, type, scope);
  if (value === undefined || (measure === 'rate' && window === undefined)) return undefined;
  return { kind: 'measure', measure, direction, operator, value, window };
}

function readMeasured(
  token: Token,
  subject: string,
  type: (typeof MEASURES)[SubjectOf<'measure'>]['type'],
  { diagnostics }: Scope,
): number | undefined {
  if (type === 'size') return readSize(token, subject, diagnostics);
  if (type === 'rate') return readAnyRate(token, subject, diagnostics);
  if (type === 'duration') return readDuration(token, subject, diagnostics, true);
  if (subject !== 'ratio') return readNumber(token, subject, 'a plain number', MOST, diagnostics);
  const ratio = readValue(token, ['number'], subject, 'a plain number, out divided by in', diagnostics)?.number;
  if (ratio === undefined || ratio <= 1e9) return ratio;
  diagnostics.add('out-of-range', token, { what: subject, range: 'at most 1000000000', found: token.text });
  return undefined;
}

/** `over D` of a rate, ms, without it {@link RATE_WINDOW}; undefined where it has a mistake. */
export function readWindow(over: Token | undefined, scope: Scope): number | undefined {
  if (!over) return RATE_WINDOW;
  const token = resolveToken(over, 'over', scope);
  const window = token && readDuration(token, 'over', scope.diagnostics);
  if (!token || window === undefined || (window >= MIN_WINDOW && window <= MAX_WINDOW)) return window;
  scope.diagnostics.add('out-of-range', over, {
    what: 'the window of a rate',
    range: 'from 1s to 10m',
    found: token.text,
  });
  return undefined;
}

export function checkState({ operand }: CompareSyntax, scope: Scope): Condition | undefined {
  const states = readItems(operand, scope, (item) => checkWord(item, 'tcp.state', 'a TCP state', TCP_STATES, scope));
  return states && { kind: 'tcp.state', states: TCP_STATES.filter((state) => states.includes(state)) };
}

/** `count(OF by KEY)`. */
export function checkCount(syntax: CompareSyntax, scope: Scope): Condition | undefined {
  const of = syntax.of && readChoice(syntax.of, 'what is counted', COUNTED, scope.diagnostics);
  const by = syntax.by && readChoice(syntax.by, 'what can be counted by', COUNT_KEYS, scope.diagnostics);
  const comparison = readComparison(syntax, scope);
  if (!comparison || !of || !by) return undefined;
  const value = readNumber(comparison.token, 'count', 'a plain number', MOST, scope.diagnostics);
  return value === undefined ? undefined : { kind: 'count', of, by, operator: comparison.operator, value };
}
