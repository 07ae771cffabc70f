import { PROTOCOLS } from '../model/index.ts';
import { checkDay, checkTime } from './check-clock.ts';
import { checkAddress, checkFamily, checkNat, checkNumbers, checkOrigin, checkProtocol } from './check-identity.ts';
import { checkCount, checkMeasure, checkState } from './check-memory.ts';
import { checkPatterns, checkUser } from './check-name.ts';
import { readDuration } from './check-value.ts';
import { reportContradiction, reportNever } from './contradiction.ts';
import type { Condition } from './policy.ts';
import { resolveToken, type Scope } from './scope.ts';
import type { CompareSyntax, ConditionSyntax } from './syntax.ts';
import { reportUnserved } from './unserved.ts';
import { isProtocolWord, isSubject, SUBJECTS, type SubjectType } from './vocabulary.ts';

/** Turns a condition as written into one that can be evaluated; undefined where it has a mistake, which is reported. */
export function checkCondition(syntax: ConditionSyntax, scope: Scope): Condition | undefined {
  switch (syntax.kind) {
    case 'error':
      return undefined;
    case 'bare':
      return isProtocolWord(syntax.word.text)
        ? { kind: 'protocol', protocol: PROTOCOLS[syntax.word.text] }
        : { kind: 'p2p' };
    case 'not':
      return negate(checkCondition(syntax.term, scope));
    case 'held': {
      const term = checkCondition(syntax.term, scope);
      const token = syntax.for && resolveToken(syntax.for, 'for', scope);
      const time = token && readDuration(token, 'for', scope.diagnostics);
      return term && time !== undefined ? { kind: 'held', term, for: time, timer: scope.timers++ } : undefined;
    }
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

const isOrder = (operator: string): boolean => /^[<>]/.test(operator);

/** Types whose values have an order; the others know only whether a value is among those given. */
const ORDERED: ReadonlySet<SubjectType> = new Set(['port', 'dscp', 'zone', 'measure', 'count']);

const CHECKS: Record<SubjectType, (syntax: CompareSyntax, scope: Scope) => Condition | undefined> = {
  origin: checkOrigin,
  protocol: checkProtocol,
  family: checkFamily,
  address: checkAddress,
  port: checkNumbers,
  dscp: checkNumbers,
  zone: checkNumbers,
  nat: checkNat,
  name: checkPatterns,
  user: checkUser,
  measure: checkMeasure,
  state: checkState,
  count: checkCount,
  time: checkTime,
  day: checkDay,
};

function checkCompare(syntax: CompareSyntax, scope: Scope): Condition | undefined {
  const subject = syntax.subject.text;
  if (!isSubject(subject)) return undefined;
  const type = SUBJECTS[subject];
  const { operator } = syntax;
  if (isOrder(operator) && !ORDERED.has(type)) {
    scope.diagnostics.add('no-order', syntax, { operator, subject });
    return undefined;
  }
  const condition = CHECKS[type](syntax, scope);
  reportNever(syntax, condition, scope);
  reportUnserved(syntax, condition, scope);
  // Measures compare with `!=` themselves.
  const negated = operator === 'not in' || (operator === '!=' && type !== 'measure' && type !== 'count');
  return negated ? negate(condition) : condition;
}
