import type { FlowFacts } from '../model/index.ts';
import { Compiler } from './decide-code.ts';
import { type Find, findByIndex, findInTurn } from './decide-index.ts';
import { setContents } from './evaluate.ts';
import type { Condition, Decision, Policy, Rule } from './policy.ts';

/** Rules above which an index goes in front of the generated code (docs/decisions/0006). */
export const INDEX_ABOVE = 96;

/**
 * Says where a flow goes: to the queue of the first rule that takes it, or else of its origin's default. Rules without
 * a queue are passed over. Decisions are shared and frozen; deciding allocates nothing.
 *
 * A rule takes a flow when its condition holds and its `until` does not. `current` is the rule that the flow's queue
 * came from last, where there is one: if that rule has an `until`, it goes on taking the flow until that holds,
 * whatever became of its condition; a rule above it still comes first.
 */
export type Decide = (facts: FlowFacts, current?: Rule | undefined) => Decision;

/** Compiles a policy to the function that decides. The same decisions as {@link decideByWalking}, some hundred times as fast. */
export function createDecide(policy: Policy): Decide {
  const rules = policy.rules.filter((rule): rule is Rule & { queue: string } => rule.queue !== undefined);
  const compiler = new Compiler(setContents(policy));
  const find = createFind(compiler, rules.map(takenBy));
  const decisions = rules.map((rule): Decision => Object.freeze({ queue: rule.queue, rule }));
  const defaults = {
    local: Object.freeze({ queue: policy.defaults.local }),
    remote: Object.freeze({ queue: policy.defaults.remote }),
    new: Object.freeze({ queue: policy.defaults.new }),
  };
  const latches = new Map(
    rules.flatMap((rule, index) =>
      rule.until ? [[rule, { index, leaves: compiler.compile([rule.until]) }] as const] : [],
    ),
  );
  return (facts, current) => {
    const found = find(facts);
    if (current?.until !== undefined) {
      const latch = latches.get(current as (typeof rules)[number]);
      if (latch && (found < 0 || latch.index < found) && latch.leaves(facts, -1) < 0) return decisions[latch.index]!;
    }
    return found < 0 ? defaults[facts.origin] : decisions[found]!;
  };
}

/**
 * The rules whose effects a flow meets, in the order of the file: of those with effects, every one without a queue
 * that stands above the deciding rule and takes the flow, and then the deciding rule. Where none decides, all that
 * take it. The list is shared where it is empty, and frozen.
 */
export type FindEffects = (facts: FlowFacts, decision: Decision) => readonly Rule[];

const NONE: readonly Rule[] = Object.freeze([]);

/** Compiles a policy's effects (`add`, `mirror`, `police`) to the function that says which a flow meets. */
export function createEffects(policy: Policy): FindEffects {
  const places = new Map(policy.rules.map((rule, i) => [rule, i]));
  const rules = policy.rules.filter((rule) => rule.queue === undefined && rule.effects.length > 0);
  const compiler = new Compiler(setContents(policy));
  const tests = rules.map((rule) => ({
    rule,
    place: places.get(rule)!,
    takes: compiler.compile([takenBy(rule)]),
  }));
  return (facts, { rule: deciding }) => {
    const end = (deciding && places.get(deciding)) ?? Number.POSITIVE_INFINITY;
    let met: Rule[] | undefined;
    for (const { rule, place, takes } of tests) {
      if (place > end) break;
      if (takes(facts, -1) >= 0) {
        met ??= [];
        met.push(rule);
      }
    }
    if (deciding && deciding.effects.length > 0) {
      met ??= [];
      met.push(deciding);
    }
    return met ? Object.freeze(met) : NONE;
  };
}

function takenBy({ when, until }: Rule): Condition {
  return until ? { kind: 'and', terms: [when, { kind: 'not', term: until }] } : when;
}

const createFind = (compiler: Compiler, conditions: readonly Condition[]): Find =>
  conditions.length > INDEX_ABOVE ? findByIndex(conditions, compiler) : findInTurn(conditions, compiler);
