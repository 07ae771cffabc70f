import { type FlowFacts, familyOf, formatAddress, formatRate, hasPorts, protocolName } from '../model/index.ts';
import { evaluate, measureOf, type SetContents, setContents, takes } from './evaluate.ts';
import { formatCondition } from './format-condition.ts';
import { formatDuration, formatNumber, formatSize } from './format-value.ts';
import { type Condition, type Decision, type Policy, RATE_WINDOW, type Rule } from './policy.ts';
import { DAYS } from './vocabulary.ts';

/** Values of a list that are written out; the rest is counted. */
const MOST_VALUES = 8;

/** One comparison of a rule, what the flow has there, and how that came out. */
export interface Term {
  /** In the language: `local.port in 51413`. */
  readonly text: string;
  /** What it looks at: `local.port`. */
  readonly subject: string;
  /** What the flow has there, as the language writes it; absent: not known. */
  readonly value?: string | undefined;
  readonly holds: boolean;
}

/** Something that would have to come out the other way: a comparison, or all of the needs in any one of several lists. */
export type Need = Term | { readonly oneOf: readonly (readonly Need[])[] };

/**
 * `decides`: the first rule with a queue that takes the flow. `takes`: takes it too, and would decide if no rule above
 * did, or has no queue to give. `fails`: does not take it.
 */
export type Verdict = 'decides' | 'takes' | 'fails';

export interface RuleExplanation {
  readonly rule: Rule;
  readonly verdict: Verdict;
  /** Comparisons enough to make it so, however the others came out. */
  readonly because: readonly Term[];
  /** The fewest comparisons that would have to come out the other way for the answer to be another; absent: none can. */
  readonly change?: readonly Term[] | undefined;
  /** Every way to another answer, in place of the shortest; absent: there is none. */
  readonly needs?: readonly Need[] | undefined;
  /** Rules above that take the flow, and would have to fail before this one could decide. */
  readonly behind: readonly Rule[];
}

/** Why a flow goes where it goes. */
export interface Explanation {
  readonly facts: FlowFacts;
  readonly decision: Decision;
  /** Every rule, in order. */
  readonly rules: readonly RuleExplanation[];
}

/** Asks every rule, also those behind the one that decides. `current` as for `createDecide`. */
export function explainFlow(policy: Policy, facts: FlowFacts, current?: Rule | undefined): Explanation {
  const sets = setContents(policy);
  const above: Rule[] = [];
  let winner: Rule | undefined;
  const rules = policy.rules.map((rule): RuleExplanation => {
    const holds = takes(rule, facts, current, sets);
    const decides = holds && rule.queue !== undefined && winner === undefined;
    const { support, change, needs } = weigh(conditionOf(rule, current), facts, sets);
    const behind = winner === undefined ? [] : [...above];
    if (decides) winner = rule;
    if (holds && rule.queue !== undefined) above.push(rule);
    return {
      rule,
      verdict: decides ? 'decides' : holds ? 'takes' : 'fails',
      because: holds ? support : (change ?? support),
      change,
      needs,
      behind,
    };
  });
  const queue = winner?.queue ?? policy.defaults[facts.origin];
  return { facts, decision: winner ? { queue, rule: winner } : { queue }, rules };
}

/** Comparisons enough to make the rule take the flow that it has taken; `policy` is the one it stands in. */
export function becauseOf(rule: Rule, facts: FlowFacts, policy: Policy): readonly Term[] {
  const sets = setContents(policy);
  const begun = weigh(conditionOf(rule, undefined), facts, sets);
  return (begun.holds ? begun : weigh(conditionOf(rule, rule), facts, sets)).support;
}

/** What has to hold for the rule to take the flow. */
function conditionOf(rule: Rule, current: Rule | undefined): Condition {
  if (!rule.until) return rule.when;
  const stays: Condition = { kind: 'not', term: rule.until };
  return { kind: 'and', terms: rule === current ? [stays] : [rule.when, stays] };
}

interface Weight {
  readonly holds: boolean;
  /** The fewest terms that make it so. */
  readonly support: readonly Term[];
  /** The fewest that would have to turn; undefined where no turn helps. */
  readonly change: readonly Term[] | undefined;
  /** What would have to turn, with all choices. */
  readonly needs: readonly Need[] | undefined;
}

function weigh(condition: Condition, facts: FlowFacts, sets: SetContents): Weight {
  switch (condition.kind) {
    case 'and':
    case 'or':
      return weighAll(
        condition.terms.map((term) => weigh(term, facts, sets)),
        condition.kind === 'and',
      );
    case 'not': {
      const weight = weigh(condition.term, facts, sets);
      return { ...weight, holds: !weight.holds };
    }
    case 'held':
      return weighAll([weigh(condition.term, facts, sets), weighTerm(condition, facts, sets)], true);
    default:
      return weighTerm(condition, facts, sets);
  }
}

/** Of all (`and`), or of one (`or`): the same with the words exchanged. */
function weighAll(weights: readonly Weight[], all: boolean): Weight {
  const against = weights.filter(({ holds }) => holds !== all);
  const holds = against.length === 0 ? all : !all;
  if (against.length === 0)
    return {
      holds,
      support: weights.flatMap(({ support }) => support),
      change: fewest(weights.map(({ change }) => change)),
      needs: oneOf(weights.map(({ needs }) => needs)),
    };
  return {
    holds,
    support: fewest(against.map(({ support }) => support)) ?? [],
    change: concat(against.map(({ change }) => change)),
    needs: concat(against.map(({ needs }) => needs)),
  };
}

function concat<T>(lists: readonly (readonly T[] | undefined)[]): readonly T[] | undefined {
  return lists.every((list) => list !== undefined) ? lists.flat() : undefined;
}

/** A choice of one is none, and a choice within a choice is one with more. */
function oneOf(lists: readonly (readonly Need[] | undefined)[]): readonly Need[] | undefined {
  const choices = lists.flatMap((list): readonly (readonly Need[])[] => {
    if (!list) return [];
    const [only] = list;
    return list.length === 1 && only && 'oneOf' in only ? only.oneOf : [list];
  });
  return choices.length > 1 ? [{ oneOf: choices }] : choices[0];
}

/** Of equally few the last: an author begins with what a flow is, and ends with what becomes of it. */
function fewest(lists: readonly (readonly Term[] | undefined)[]): readonly Term[] | undefined {
  let best: readonly Term[] | undefined;
  for (const list of lists) if (list && (!best || list.length <= best.length)) best = list;
  return best;
}

type Leaf = Exclude<Condition, { kind: 'and' | 'or' } | { kind: 'not' }>;

function weighTerm(leaf: Leaf, facts: FlowFacts, sets: SetContents): Weight {
  const holds =
    leaf.kind === 'held' ? (facts.held?.(leaf.timer) ?? Number.NaN) >= leaf.for : evaluate(leaf, facts, sets);
  const terms = [{ text: formatShort(leaf), subject: subjectOf(leaf), value: foundIn(leaf, facts), holds }];
  return { holds, support: terms, change: terms, needs: terms };
}

/** The leaf in the language, a long list cut off. */
function formatShort(leaf: Leaf): string {
  const cut = <T>(values: readonly T[]): [readonly T[], number] => [
    values.slice(0, MOST_VALUES),
    Math.max(0, values.length - MOST_VALUES),
  ];
  const [short, more] = ((): [Leaf, number] => {
    if (leaf.kind === 'address') {
      const [prefixes, rest] = cut(leaf.prefixes);
      return [{ ...leaf, prefixes }, rest];
    }
    if (leaf.kind === 'port' || leaf.kind === 'dscp' || leaf.kind === 'zone') {
      const [ranges, rest] = cut(leaf.ranges);
      return [{ ...leaf, ranges }, rest];
    }
    return [leaf, 0];
  })();
  const text = formatCondition(short);
  return more === 0 ? text : text.replace(/ \}$/, `, and ${more} more }`);
}

function subjectOf(leaf: Leaf): string {
  switch (leaf.kind) {
    case 'address':
    case 'set':
      return leaf.end;
    case 'port':
      return `${leaf.end}.port`;
    case 'measure': {
      const word = leaf.direction === 'total' ? leaf.measure : `${leaf.measure}.${leaf.direction}`;
      const { window } = leaf;
      return window === undefined || window === RATE_WINDOW ? word : `${word} over ${formatDuration(window)}`;
    }
    case 'count':
      return `count(${leaf.of} by ${leaf.by})`;
    case 'held':
      return 'held';
    default:
      return leaf.kind;
  }
}

/** What the flow has where the leaf looks; undefined: not known. */
function foundIn(leaf: Leaf, facts: FlowFacts): string | undefined {
  switch (leaf.kind) {
    case 'origin':
      return facts.origin;
    case 'protocol':
      return protocolName(facts.protocol);
    case 'family':
      return `ipv${familyOf(facts.local.address)}`;
    case 'address':
    case 'set':
      return formatAddress(facts[leaf.end].address);
    case 'port':
      return text(facts[leaf.end].port) ?? (hasPorts(facts.protocol) ? undefined : 'none');
    case 'dscp':
    case 'zone':
      return text(facts[leaf.kind]);
    case 'nat': {
      if (!facts.nat) return undefined;
      const { source, destination } = facts.nat;
      return source && destination
        ? 'source and destination'
        : source
          ? 'source'
          : destination
            ? 'destination'
            : 'none';
    }
    case 'domain':
      return facts.domains && (facts.domains.slice(0, MOST_VALUES).join(', ') || 'none');
    case 'device':
    case 'mac':
    case 'helper':
    case 'process':
    case 'unit':
    case 'cgroup':
      return facts[leaf.kind];
    case 'user':
      return facts.user && (facts.user.name ?? `${facts.user.id}`);
    case 'p2p':
      return facts.p2p && (facts.p2p.evidence.slice(0, MOST_VALUES).join(', ') || (facts.p2p.holds ? 'so' : 'not so'));
    case 'measure':
      return measured(leaf, facts);
    case 'tcp.state':
      return facts.tcpState;
    case 'count':
      return text(facts.count?.(leaf.of, leaf.by));
    case 'time':
      return facts.clock && formatMinute(facts.clock.minute);
    case 'day':
      return facts.clock && DAYS[facts.clock.day];
    case 'held': {
      const held = facts.held?.(leaf.timer);
      return held === undefined ? undefined : formatDuration(Math.round(held));
    }
  }
}

const text = (value: number | undefined): string | undefined => (value === undefined ? undefined : `${value}`);

/** A flow that was written may tell the day alone. */
const formatMinute = (minute: number): string | undefined =>
  Number.isNaN(minute) ? undefined : `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
const two = (value: number): string => String(value).padStart(2, '0');

function measured(leaf: Extract<Condition, { kind: 'measure' }>, facts: FlowFacts): string | undefined {
  const value = measureOf(leaf, facts);
  if (value === undefined) return undefined;
  switch (leaf.measure) {
    case 'bytes':
    case 'size':
      return formatSize(Math.round(value));
    case 'rate':
      return formatRate(value);
    case 'age':
    case 'idle':
      return formatDuration(Math.round(value));
    default:
      return Number.isFinite(value) ? formatNumber(Number(value.toPrecision(4))) : 'beyond any number';
  }
}
