import { type FlowFacts, PROTOCOLS } from '../model/index.ts';
import { INDEX_ABOVE } from './decide.ts';
import { Compiler } from './decide-code.ts';
import { findByIndex, findInTurn } from './decide-index.ts';
import { measureOf, setContents } from './evaluate.ts';
import { type Condition, type Policy, RATE_WINDOW, type Rule } from './policy.ts';
import { leavesOf, leavesOfRule } from './tier.ts';

type Of<K extends Condition['kind']> = Extract<Condition, { kind: K }>;
/** A fact of a flow that conntrack's events do not tell. */
export type AskedFact = 'device' | 'mac' | 'dscp' | 'user' | 'process' | 'unit' | 'cgroup' | 'domains' | 'p2p';

/** What the decision on a flow still hangs on, once its identity is known. Shared by all flows of which it is the same. */
export interface Watch {
  /** Rules that may come to take the flow, in order; the pipeline decides anew while there are any. */
  readonly rules: readonly Rule[];
  /** Bytes and packets have to be read. */
  readonly counters: boolean;
  /** Windows of `rate`, ms, ascending. */
  readonly windows: readonly number[];
  /** Ages at which something may change, ms, ascending. */
  readonly ages: readonly number[];
  /** The same of the time since its last packet. */
  readonly idles: readonly number[];
  /** What a `for` waits on, inner ones before those around them. */
  readonly held: readonly Of<'held'>[];
  readonly counts: readonly Of<'count'>[];
  /** Ends whose address may come into a set that rules fill. */
  readonly sets: readonly Of<'set'>[];
  readonly clock: boolean;
  readonly tcpState: boolean;
  readonly asks: readonly AskedFact[];
}

/** Says what to watch of a flow whose identity is known; undefined: nothing, what is decided now stays. */
export type FindWatch = (facts: FlowFacts) => Watch | undefined;

const ALWAYS: Condition = { kind: 'and', terms: [] };
const NEVER: Condition = { kind: 'or', terms: [] };

/**
 * Compiles a policy to the function that finds the rules which may come to take a flow: those whose condition can hold,
 * whatever the things turn out to be that its identity does not say, and that stand above the first rule which surely takes it.
 */
export function createWatch(policy: Policy): FindWatch {
  const open = policy.rules.flatMap((rule, place) => (isStatic(rule) ? [] : [{ rule, place }]));
  if (!open.some(({ rule }) => rule.tier.kind === 'live')) return () => undefined;
  const sure = policy.rules.flatMap((rule, place) =>
    isStatic(rule) && rule.queue !== undefined ? [{ rule, place }] : [],
  );
  const compiler = new Compiler(setContents(policy));
  const conditions = sure.map(({ rule }) => rule.when);
  const findSure =
    conditions.length > INDEX_ABOVE ? findByIndex(conditions, compiler) : findInTurn(conditions, compiler);
  const may = open.map(({ rule }) => compiler.compile([possible(rule.when, true)]));
  const none = new Found();
  return (facts) => {
    const first = findSure(facts);
    const end = first < 0 ? policy.rules.length : sure[first]!.place;
    let found = none;
    for (let i = 0; i < open.length && open[i]!.place < end; i++)
      if (may[i]!(facts, -1) >= 0) found = found.with(open[i]!.rule, i);
    return found.watch;
  };
}

/** Rules that may come to take a flow, and what to watch for them: one for each list that occurs. */
class Found {
  readonly #shorter: Found | undefined;
  readonly #last: Rule | undefined;
  readonly #longer = new Map<number, Found>();
  #watch: Watch | undefined;
  #made = false;

  constructor(shorter?: Found, last?: Rule) {
    this.#shorter = shorter;
    this.#last = last;
  }

  /** The list with another rule behind it, the `place`th of those that may come to take a flow. */
  with(rule: Rule, place: number): Found {
    let longer = this.#longer.get(place);
    if (!longer) {
      longer = new Found(this, rule);
      this.#longer.set(place, longer);
    }
    return longer;
  }

  get watch(): Watch | undefined {
    if (!this.#made) {
      const rules: Rule[] = [];
      for (let one: Found | undefined = this; one; one = one.#shorter) if (one.#last) rules.push(one.#last);
      this.#watch = rules.some(({ tier }) => tier.kind === 'live') ? watchOf(rules.toReversed()) : undefined;
      this.#made = true;
    }
    return this.#watch;
  }
}

/** Decided by a flow's identity, once and for all. */
const isStatic = ({ when, until, effects }: Rule): boolean =>
  until === undefined && !effects.some(({ kind }) => kind === 'add') && [...leavesOf(when)].every(isIdentity);

const isIdentity = ({ kind }: Condition): boolean => IDENTITY.has(kind);
const IDENTITY: ReadonlySet<Condition['kind']> = new Set([
  'origin',
  'protocol',
  'family',
  'address',
  'port',
  'zone',
  'nat',
  'helper',
]);

/** Holds where the condition can come to hold (`may`), or, below a `not`, where it surely does. */
function possible(condition: Condition, may: boolean): Condition {
  switch (condition.kind) {
    case 'and':
    case 'or':
      return { kind: condition.kind, terms: condition.terms.map((term) => possible(term, may)) };
    case 'not':
      return { kind: 'not', term: possible(condition.term, !may) };
    case 'held':
      return may ? possible(condition.term, true) : NEVER;
    case 'tcp.state':
      return may ? { kind: 'protocol', protocol: PROTOCOLS.tcp } : NEVER;
    default:
      if (isIdentity(condition)) return condition;
      return may ? ALWAYS : NEVER;
  }
}

function watchOf(rules: readonly Rule[]): Watch {
  const leaves = rules.flatMap((rule) => [...leavesOfRule(rule)]);
  const measures = leaves.filter((leaf) => leaf.kind === 'measure');
  const valuesOf = (measure: 'age' | 'idle') =>
    ascending(measures.filter((leaf) => leaf.measure === measure).map(({ value }) => value));
  const counts = leaves.filter((leaf) => leaf.kind === 'count');
  return Object.freeze({
    rules,
    counters: measures.some(({ measure }) => measure !== 'age'),
    windows: ascending(measures.flatMap(({ measure, window = RATE_WINDOW }) => (measure === 'rate' ? [window] : []))),
    ages: valuesOf('age'),
    idles: valuesOf('idle'),
    // Leaves come from the outside in.
    held: leaves.filter((leaf) => leaf.kind === 'held').toReversed(),
    counts,
    sets: leaves.filter((leaf) => leaf.kind === 'set'),
    clock: leaves.some(({ kind }) => kind === 'time' || kind === 'day'),
    tcpState: leaves.some(({ kind }) => kind === 'tcp.state'),
    asks: [
      ...new Set([
        ...leaves.flatMap(askedBy),
        ...counts.flatMap(({ by }): AskedFact[] => (by === 'unit' ? ['unit'] : [])),
      ]),
    ],
  });
}

const ascending = (values: readonly number[]): number[] => [...new Set(values)].toSorted((a, b) => a - b);

/** Facts that somebody has to find out for a comparison. */
function askedBy({ kind }: Condition): AskedFact[] {
  switch (kind) {
    case 'domain':
      return ['domains'];
    case 'device':
    case 'mac':
    case 'dscp':
    case 'user':
    case 'process':
    case 'unit':
    case 'cgroup':
    case 'p2p':
      return [kind];
    default:
      return [];
  }
}

/** Whether it is known of the flow what a comparison looks at, as far as that is gathered, or counted, at all. */
export function isKnown(condition: Condition, facts: FlowFacts): boolean {
  switch (condition.kind) {
    case 'measure':
      return measureOf(condition, facts) !== undefined;
    case 'count':
      return facts.count?.(condition.of, condition.by) !== undefined;
    default:
      return askedBy(condition).every((fact) => facts[fact] !== undefined);
  }
}

/** All comparisons of a policy with how many flows or peers there are. */
export const countsOf = ({ rules }: Policy): readonly Of<'count'>[] =>
  rules.flatMap((rule) => [...leavesOfRule(rule)].filter((leaf) => leaf.kind === 'count'));

/** The timers of a policy, each with its rule and what it waits on, as text: for the same in another policy, where it may have another number. */
export const timersOf = ({ rules }: Policy): readonly (readonly [text: string, timer: number])[] =>
  rules.flatMap((rule) =>
    [...leavesOfRule(rule)].flatMap((leaf) =>
      leaf.kind === 'held'
        ? [
            [
              `${rule.name} ${JSON.stringify(leaf.term, (key, value) => (key === 'timer' ? undefined : value))}`,
              leaf.timer,
            ],
          ]
        : [],
    ),
  );

/** What somebody has to be asked for, so that the policy's live rules can be decided; nothing where it has none. */
export const factsAskedBy = ({ rules }: Policy): ReadonlySet<AskedFact> =>
  new Set(rules.some(({ tier }) => tier.kind === 'live') ? watchOf(rules).asks : []);
