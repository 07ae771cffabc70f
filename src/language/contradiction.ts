import { meet } from './box.ts';
import type { Condition } from './policy.ts';
import type { Scope } from './scope.ts';
import type { Space } from './space.ts';
import type { ConditionSyntax } from './syntax.ts';

/** Flows that one term leaves, at most; with more of them the search ends. */
const MAX_LEFT = 64;

/** Reports terms that exclude each other, joined by `and`. */
export function reportContradiction(
  syntax: readonly ConditionSyntax[],
  terms: readonly (Condition | undefined)[],
  { sources, diagnostics, space }: Scope,
): void {
  if (!mayMeet(terms)) return;
  const text = (i: number) => sources.slice(syntax[i]!);
  const boxes = terms.map((term) => term && space.boxesOf(term));
  let left: NonNullable<ReturnType<Space['boxesOf']>> = [new Map()];
  for (const [index, its] of boxes.entries()) {
    // One that never holds by itself has been reported, and one with a mistake says nothing.
    if (!its || its.length === 0 || left.length * its.length > MAX_LEFT) continue;
    left = left.flatMap((box) => its.map((other) => meet(box, other)).filter((both) => both !== undefined));
    if (left.length > 0) continue;
    const apart = boxes.findIndex(
      (others) => others?.length && others.every((a) => its.every((b) => meet(a, b) === undefined)),
    );
    if (apart >= 0 && apart < index)
      diagnostics.add('contradiction', syntax[index]!, { first: text(apart), second: text(index) });
    else diagnostics.add('contradiction', syntax[index]!, { first: 'what stands before', second: text(index) });
    return;
  }
}

/** Two terms look at the same thing: what cannot contradict need not be compared. */
function mayMeet(terms: readonly (Condition | undefined)[]): boolean {
  const seen = new Set<string>();
  for (const term of terms) {
    const leaf = term?.kind === 'not' ? term.term : term;
    if (!leaf) continue;
    if ('terms' in leaf || 'term' in leaf) return true;
    const thing =
      leaf.kind === 'measure'
        ? `${leaf.measure}.${leaf.direction}`
        : leaf.kind === 'port'
          ? `${leaf.end}.port`
          : // Ends are of the same family.
            leaf.kind === 'family'
            ? 'address'
            : leaf.kind;
    if (seen.has(thing)) return true;
    seen.add(thing);
  }
  return false;
}

/** Reports a comparison that no flow ever meets. */
export function reportNever(syntax: ConditionSyntax, condition: Condition | undefined, scope: Scope): void {
  if ((condition?.kind === 'measure' || condition?.kind === 'count') && scope.space.boxesOf(condition)?.length === 0)
    scope.diagnostics.add('never-holds', syntax, { text: scope.sources.slice(syntax) });
}
