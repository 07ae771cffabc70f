import { checkFlow } from './check-flow.ts';
import type { Queues } from './check-queue.ts';
import { checkQueueName } from './check-rule.ts';
import { decideByWalking } from './evaluate.ts';
import { type Explanation, explainFlow, type Term } from './explain.ts';
import { formatNeeds } from './format-explanation.ts';
import { oneLine } from './one-line.ts';
import type { Expectation, Policy } from './policy.ts';
import type { Scope } from './scope.ts';
import type { ExpectSyntax } from './syntax.ts';

/** An expectation with what it was written as. */
export interface CheckedExpect {
  readonly expectation: Expectation;
  readonly syntax: ExpectSyntax;
}

/** Those expectations that have no mistake. */
export function readExpects(expects: readonly ExpectSyntax[], queues: Queues, scope: Scope): readonly CheckedExpect[] {
  return expects.flatMap((syntax) => {
    const facts = checkFlow(syntax.flow, scope);
    const queue = checkQueueName(syntax.queue, queues, scope);
    if (!facts || queue === undefined) return [];
    const source = scope.sources.at(syntax.start);
    const text = oneLine(source.slice(syntax.flow));
    const { line } = source.position(syntax.start);
    return [{ expectation: { facts, text, queue, file: source.file, line }, syntax }];
  });
}

/** Reports the expectations that do not hold, with the rule that decided instead. */
export function checkExpects(policy: Policy, expects: readonly CheckedExpect[], { diagnostics }: Scope): void {
  for (const { expectation, syntax } of expects) {
    const { queue, rule } = decideByWalking(policy, expectation.facts);
    if (queue === expectation.queue) continue;
    const by = rule
      ? `rule "${rule.name}" on line ${rule.file === expectation.file ? rule.line : `${rule.line} of ${rule.file}`}`
      : `the default of ${expectation.facts.origin}`;
    diagnostics.add('failed-expect', syntax.queue, { queue: expectation.queue, actual: queue, by }, () =>
      why(explainFlow(policy, expectation.facts), expectation.queue),
    );
  }
}

/** Why the deciding rule matches, and why the first that leads to the expected queue does not decide. */
function why({ rules, decision }: Explanation, expected: string): string {
  const decider = rules.find(({ rule }) => rule === decision.rule);
  const matched = decider && `it matches, since ${say(decider.because) || 'it takes every flow'}`;
  const wanted = rules.find(({ rule }) => rule.queue === expected);
  const missed =
    wanted &&
    (wanted.verdict === 'fails'
      ? `rule "${wanted.rule.name}" needs ${wanted.needs ? formatNeeds(wanted.needs) : 'what no flow has'}`
      : `rule "${wanted.rule.name}" does, too, but stands below`);
  return [matched ?? 'no rule matches', missed].filter((part) => part !== undefined).join('; ');
}

const say = (terms: readonly Term[]): string =>
  terms
    .map(({ text, subject, value, holds }) => {
      const is = value === undefined ? `${subject} is not known` : `${subject} is ${value}`;
      return holds ? text : `${is}, not ${text}`;
    })
    .join(' and ');
