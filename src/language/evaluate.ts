import { type Direction, type End, type FlowFacts, type Prefix, prefixContains } from '../model/index.ts';
import { compilePattern } from './pattern.ts';
import {
  type Condition,
  type Decision,
  type NumberRange,
  type Operator,
  type Policy,
  RATE_WINDOW,
  type Rule,
} from './policy.ts';

/** What dynamic sets hold for ever, by name: their part of `inSet` that needs no kernel. */
export type SetContents = ReadonlyMap<string, readonly Prefix[]>;

export const setContents = (policy: Policy): SetContents =>
  new Map(policy.sets.map(({ name, prefixes }) => [name, prefixes]));

const NO_SETS: SetContents = new Map();

/**
 * Whether a condition holds for a flow, by walking its tree. This is what conditions mean; `createDecide` is held to
 * it. What is not known of the flow makes the comparison false, and so its `not` true.
 */
export function evaluate(condition: Condition, facts: FlowFacts, sets: SetContents = NO_SETS): boolean {
  switch (condition.kind) {
    case 'and':
      return condition.terms.every((term) => evaluate(term, facts, sets));
    case 'or':
      return condition.terms.some((term) => evaluate(term, facts, sets));
    case 'not':
      return !evaluate(condition.term, facts, sets);
    case 'origin':
      return facts.origin === condition.origin;
    case 'protocol':
      return facts.protocol === condition.protocol;
    case 'family':
      return facts.local.address.length === (condition.family === 4 ? 4 : 16);
    case 'address':
      return isIn(condition.prefixes, facts[condition.end]);
    case 'set':
      return (
        isIn(sets.get(condition.set) ?? [], facts[condition.end]) ||
        facts.inSet?.(condition.set, facts[condition.end].address) === true
      );
    case 'port':
      return inRanges(condition.ranges, facts[condition.end].port);
    case 'dscp':
    case 'zone':
      return inRanges(condition.ranges, facts[condition.kind]);
    case 'nat':
      if (!facts.nat) return false;
      return condition.nat === 'any' ? facts.nat.source || facts.nat.destination : facts.nat[condition.nat];
    case 'domain':
      return facts.domains?.some((domain) => matchesAny(condition.patterns, domain)) === true;
    case 'device':
    case 'mac':
    case 'helper':
    case 'process':
    case 'unit':
    case 'cgroup':
      return matchesAny(condition.patterns, facts[condition.kind]);
    case 'user': {
      const { user } = facts;
      return user !== undefined && condition.users.some((one) => one === user.id || one === user.name);
    }
    case 'p2p':
      return facts.p2p?.holds === true;
    case 'measure':
      return compare(measureOf(condition, facts), condition.operator, condition.value);
    case 'tcp.state':
      return facts.tcpState !== undefined && condition.states.includes(facts.tcpState);
    case 'count':
      return compare(facts.count?.(condition.of, condition.by), condition.operator, condition.value);
    case 'time':
      return facts.clock !== undefined && inClockRanges(condition.ranges, facts.clock.minute);
    case 'day':
      return facts.clock !== undefined && condition.days.includes(facts.clock.day);
    case 'held':
      return evaluate(condition.term, facts, sets) && (facts.held?.(condition.timer) ?? Number.NaN) >= condition.for;
  }
}

/**
 * Whether a rule takes the flow: its condition holds, or the rule holds the flow already by its `until` (`current`),
 * and in both cases what is behind `until` does not hold.
 */
export function takes(rule: Rule, facts: FlowFacts, current?: Rule | undefined, sets?: SetContents): boolean {
  if (rule.until === undefined) return evaluate(rule.when, facts, sets);
  return (rule === current || evaluate(rule.when, facts, sets)) && !evaluate(rule.until, facts, sets);
}

/** Where a flow goes, by asking one rule after the other: the slow twin of `createDecide`. */
export function decideByWalking(policy: Policy, facts: FlowFacts, current?: Rule | undefined): Decision {
  const sets = setContents(policy);
  for (const rule of policy.rules)
    if (rule.queue !== undefined && takes(rule, facts, current, sets)) return { queue: rule.queue, rule };
  return { queue: policy.defaults[facts.origin] };
}

/** The number that a measure stands for; undefined where it is not known, or has no meaning yet (a mean of nothing). */
export function measureOf(
  { measure, direction, window = RATE_WINDOW }: Extract<Condition, { kind: 'measure' }>,
  facts: FlowFacts,
): number | undefined {
  switch (measure) {
    case 'age':
    case 'idle':
      return facts[measure];
    case 'rate':
      return facts.rate?.(direction, window);
    case 'bytes':
    case 'packets':
      return inDirection(facts[measure], direction);
    case 'size': {
      const packets = inDirection(facts.packets, direction);
      const bytes = inDirection(facts.bytes, direction);
      return packets && bytes !== undefined ? bytes / packets : undefined;
    }
    case 'ratio': {
      const { bytes } = facts;
      // Something out for nothing in is more than any number; nothing for nothing is NaN, which is none.
      return bytes?.in === undefined || bytes.out === undefined ? undefined : known(bytes.out / bytes.in);
    }
  }
}

function inDirection(counter: FlowFacts['bytes'], direction: Direction): number | undefined {
  if (direction !== 'total') return counter?.[direction];
  return counter?.in === undefined || counter.out === undefined ? undefined : counter.in + counter.out;
}

const known = (number: number): number | undefined => (Number.isNaN(number) ? undefined : number);

/** False where the number is not known, also for `!=`. */
export function compare(number: number | undefined, operator: Operator, value: number): boolean {
  if (number === undefined || Number.isNaN(number)) return false;
  switch (operator) {
    case '<':
      return number < value;
    case '<=':
      return number <= value;
    case '>':
      return number > value;
    case '>=':
      return number >= value;
    case '=':
      return number === value;
    case '!=':
      return number !== value;
  }
}

const isIn = (prefixes: readonly Prefix[], { address }: End): boolean =>
  prefixes.some((prefix) => prefixContains(prefix, address));

const inRanges = (ranges: readonly NumberRange[], number: number | undefined): boolean =>
  number !== undefined && ranges.some(({ first, last }) => first <= number && number <= last);

/** Ranges of a day's minutes may run over midnight. */
const inClockRanges = (ranges: readonly NumberRange[], minute: number): boolean =>
  ranges.some(({ first, last }) =>
    first <= last ? first <= minute && minute <= last : minute >= first || minute <= last,
  );

const matchesAny = (patterns: readonly string[], name: string | undefined): boolean =>
  name !== undefined && patterns.some((pattern) => compilePattern(pattern)(name));
