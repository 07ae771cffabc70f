import { checkCondition } from './check-condition.ts';
import { namedSet } from './check-operand.ts';
import type { Queues } from './check-queue.ts';
import { readDevice, readDuration, readRate } from './check-value.ts';
import { didYouMeanOneOf } from './nearest.ts';
import type { Condition, Effect, Rule } from './policy.ts';
import { resolveToken, type Scope } from './scope.ts';
import { definedOf } from './settings.ts';
import type { EffectSyntax, NameSyntax, RuleSyntax } from './syntax.ts';
import { tierOf } from './tier.ts';

/** A rule with what it was written as. */
export interface CheckedRule {
  readonly rule: Rule;
  readonly syntax: RuleSyntax;
}

/** Those rules that have no mistake. */
export function checkRules(rules: readonly RuleSyntax[], queues: Queues, scope: Scope): readonly CheckedRule[] {
  definedOf(rules, scope);
  return rules.flatMap((syntax) => {
    const rule = checkRule(syntax, queues, scope);
    return rule ? [{ rule, syntax }] : [];
  });
}

function checkRule(syntax: RuleSyntax, queues: Queues, scope: Scope): Rule | undefined {
  const always: Condition = { kind: 'and', terms: [] };
  const when = syntax.when ? checkCondition(syntax.when, scope) : always;
  const until = syntax.until && checkCondition(syntax.until, scope);
  const queue = syntax.queue && checkQueueName(syntax.queue, queues, scope);
  const effects = syntax.effects.map((effect) => checkEffect(effect, scope));
  if (syntax.until && !syntax.queue)
    scope.diagnostics.add('until-without-queue', syntax.until, { name: syntax.name.text ?? 'this rule' });
  const name = syntax.name.text;
  if (name === undefined || !when || !effects.every((effect) => effect !== undefined)) return undefined;
  if ((syntax.queue && queue === undefined) || (syntax.until && !until)) return undefined;
  const source = scope.sources.at(syntax.start);
  const { line } = source.position(syntax.start);
  return { name, when, queue, effects, until, tier: tierOf({ when, until, effects }), file: source.file, line };
}

/** The name of a queue that flows can go to; undefined where it is none, which is reported. */
export function checkQueueName(name: NameSyntax, { names, inner }: Queues, { diagnostics }: Scope): string | undefined {
  const text = name.text;
  if (text === undefined) return undefined;
  const within = inner.get(text);
  if (within) diagnostics.add('inner-queue', name, { name: text, inner: within.join(', ') });
  // Without a queue at all that is what is wrong.
  else if (!names.has(text) && names.size > 0)
    diagnostics.add('unknown-queue', name, { name: text }, () =>
      didYouMeanOneOf(
        text,
        [...names].filter((queue) => !inner.has(queue)),
      ),
    );
  return names.has(text) && !within ? text : undefined;
}

function checkEffect(effect: EffectSyntax, scope: Scope): Effect | undefined {
  const { diagnostics } = scope;
  switch (effect.kind) {
    case 'add': {
      const { start, end } = effect.set;
      const set = effect.set.text;
      const known =
        set !== undefined &&
        namedSet('add', 'address', { kind: 'word', text: set, first: false, start, end }, scope) !== undefined;
      const token = effect.for && resolveToken(effect.for, 'for', scope);
      const time = token && readDuration(token, 'for', diagnostics);
      if (!known || time === undefined) return undefined;
      return { kind: 'add', end: effect.side.text === 'local' ? 'local' : 'remote', set, for: time };
    }
    case 'mirror': {
      const token = effect.tap && resolveToken(effect.tap, 'mirror', scope);
      const tap = token && readDevice(token, diagnostics);
      return tap === undefined ? undefined : { kind: 'mirror', tap };
    }
    case 'police': {
      const token = effect.rate && resolveToken(effect.rate, 'police', scope);
      const rate = token && readRate(token, 'police', diagnostics);
      return rate === undefined ? undefined : { kind: 'police', rate };
    }
  }
}
