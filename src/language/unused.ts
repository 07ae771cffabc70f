import type { Queues } from './check-queue.ts';
import type { CheckedRule } from './check-rule.ts';
import type { Diagnostics } from './diagnostic.ts';
import { oneLine } from './one-line.ts';
import type { Policy } from './policy.ts';
import type { Scope } from './scope.ts';
import { findShadows } from './shadow.ts';
import type { Sources } from './source.ts';
import type { LetSyntax, RuleSyntax, SetSyntax } from './syntax.ts';

/** Earlier rules that a hint names. */
const MAX_NAMED = 8;

/** Nothing in the condition need be wrong by itself: `not (tcp or not tcp)`. */
function reportNever({ when, until }: RuleSyntax, diagnostics: Diagnostics, sources: Sources): void {
  if (!when || diagnostics.hasWithin(when, ['contradiction', 'never-holds'])) return;
  const text = until ? `${sources.slice(when)} and not (${sources.slice(until)})` : sources.slice(when);
  diagnostics.add('never-holds', until ?? when, { text: oneLine(text) });
}

/** Reports what is there and does nothing: rules that are never the first, queues, sets and constants that nothing uses. */
export function reportUnused(
  policy: Policy,
  rules: readonly CheckedRule[],
  queues: Queues,
  named: readonly (SetSyntax | LetSyntax)[],
  { diagnostics, sources, used }: Scope,
): void {
  const { shadowed, never } = findShadows(policy.rules);
  const reached = new Set(Object.values(policy.defaults));
  for (const [index, { rule, syntax }] of rules.entries()) {
    const by = shadowed.get(index)?.map((number) => rules[number]!);
    const lineOf = (earlier: CheckedRule) => sources.lineFrom(syntax, earlier.syntax);
    if (by?.length === 1) {
      const fields = { name: rule.name, by: by[0]!.rule.name, line: lineOf(by[0]!) };
      diagnostics.add('shadowed-rule', syntax.name, fields);
    } else if (by)
      diagnostics.add('shadowed-together', syntax.name, { name: rule.name, count: by.length }, () => {
        const named = by.slice(0, MAX_NAMED).map((earlier) => `${earlier.rule.name} on line ${lineOf(earlier)}`);
        return `they are ${named.join(', ')}${by.length > MAX_NAMED ? ', ...' : ''}`;
      });
    else if (never.has(index)) reportNever(syntax, diagnostics, sources);
    else if (rule.queue !== undefined) reached.add(rule.queue);
  }
  for (const { name } of queues.syntax)
    if (!reached.has(name.text) && !queues.inner.has(name.text))
      diagnostics.add('unreached-queue', name, { name: name.text });
  for (const { kind, name } of named)
    if (name.text !== undefined && !used.has(name.text))
      diagnostics.add(kind === 'set' ? 'unused-set' : 'unused-let', name, { name: name.text });
}
