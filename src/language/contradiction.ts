import { PROTOCOLS } from '../model/index.ts';
import { type Box, meet } from './box.ts';
import { oneLine } from './one-line.ts';
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
  const boxes = terms.map((term) => term && space.boxesOf(term));
  const both: Meet = (a, b) => {
    const met = meet(a, b);
    return met && space.isPossible(met) ? met : undefined;
  };
  // Most terms go together, so what no protocol allows is looked for at the end alone.
  const all = meetAll(boxes, meet);
  if (all.left.some((box) => space.isPossible(box))) return;
  const { end } = all.left.length > 0 ? meetAll(boxes, both) : all;
  const its = boxes[end];
  if (!its) return;
  const apart = boxes.findIndex(
    (others) => others?.length && others.every((a) => its.every((b) => both(a, b) === undefined)),
  );
  const text = (k: number) => oneLine(sources.slice(syntax[k]!));
  const first = apart >= 0 && apart < end ? text(apart) : 'what stands before';
  diagnostics.add('contradiction', syntax[end]!, { first, second: text(end) });
}

type Boxes = ReturnType<Space['boxesOf']>;
type Meet = (a: Box, b: Box) => Box | undefined;

/** The flows that all terms leave, and the index of the term that leaves none, if one does. */
function meetAll(terms: readonly Boxes[], meetBoth: Meet): { readonly left: readonly Box[]; readonly end: number } {
  let left: readonly Box[] = [new Map()];
  for (const [index, boxes] of terms.entries()) {
    // One that never holds by itself has been reported, and one with a mistake says nothing.
    if (!boxes || boxes.length === 0 || left.length * boxes.length > MAX_LEFT) continue;
    left = left.flatMap((box) => boxes.map((other) => meetBoth(box, other)).filter((met) => met !== undefined));
    if (left.length === 0) return { left, end: index };
  }
  return { left, end: terms.length };
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
    // Of TCP everything is known.
    if (leaf.kind === 'protocol' && (leaf !== term || leaf.protocol !== PROTOCOLS.tcp)) seen.add('another protocol');
  }
  return seen.has('another protocol') && ['local.port', 'remote.port', 'tcp.state'].some((thing) => seen.has(thing));
}

/** Reports a comparison that no flow ever meets. */
export function reportNever(syntax: ConditionSyntax, condition: Condition | undefined, scope: Scope): void {
  if ((condition?.kind === 'measure' || condition?.kind === 'count') && scope.space.boxesOf(condition)?.length === 0)
    scope.diagnostics.add('never-holds', syntax, { text: oneLine(scope.sources.slice(syntax)) });
}
