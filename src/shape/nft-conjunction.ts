import type { NumberRange } from '../language/index.ts';
import { type Field, type Formula, intersect, type Match, numberMatch, unite } from './nft-formula.ts';

/** What one nft rule can ask: all of its matches hold. Of each field there is one, of equal matches one. */
export interface Conjunction {
  readonly numbers: ReadonlyMap<Field, readonly NumberRange[]>;
  readonly others: readonly Exclude<Match, { kind: 'number' }>[];
}

const ALWAYS: Conjunction = { numbers: new Map(), others: [] };

/** The formula as conjunctions of which one holds; undefined where it would be more than `most`, at any step. */
export function disjunctiveForm(formula: Formula, most: number): readonly Conjunction[] | undefined {
  if (typeof formula === 'boolean') return formula ? [ALWAYS] : [];
  if (formula.kind === 'or') {
    let result: readonly Conjunction[] = [];
    for (const term of formula.terms) {
      const more = disjunctiveForm(term, most);
      if (!more) return undefined;
      result = mergeNeighbours([...result, ...more]);
      if (result.length > most) return undefined;
    }
    return result;
  }
  if (formula.kind === 'and') {
    let result: readonly Conjunction[] = [ALWAYS];
    for (const term of formula.terms) {
      const more = disjunctiveForm(term, most);
      if (!more) return undefined;
      // Each pair is looked at: a bound on the work as well as on what comes of it.
      if (result.length * more.length > most * 16) return undefined;
      result = mergeNeighbours(result.flatMap((a) => more.flatMap((b) => both(a, b) ?? [])));
      if (result.length > most) return undefined;
    }
    return result;
  }
  if (formula.kind === 'number') return [{ numbers: new Map([[formula.field, formula.ranges]]), others: [] }];
  return [{ numbers: new Map(), others: [formula] }];
}

/** Both at once; undefined where they exclude each other. */
function both(a: Conjunction, b: Conjunction): Conjunction | undefined {
  const numbers = new Map(a.numbers);
  for (const [field, ranges] of b.numbers) {
    const before = numbers.get(field);
    const now = before ? intersect(before, ranges) : ranges;
    if (now.length === 0) return undefined;
    numbers.set(field, now);
  }
  const others = [...a.others];
  for (const match of b.others) {
    const same = others.filter((other) => sameSubject(other, match));
    if (same.some((other) => other.negated !== match.negated)) return undefined;
    if (same.length === 0) others.push(match);
  }
  return { numbers, others };
}

/** Where two differ in one field alone, one rule asks for both: ports 80 and 443, TCP and UDP. */
function mergeNeighbours(conjunctions: readonly Conjunction[]): readonly Conjunction[] {
  const result: Conjunction[] = [];
  for (let next of conjunctions) {
    for (let i = 0; i < result.length; ) {
      const merged = merge(result[i]!, next);
      if (merged) {
        result.splice(i, 1);
        next = merged;
        i = 0;
      } else i++;
    }
    result.push(next);
  }
  return result;
}

function merge(a: Conjunction, b: Conjunction): Conjunction | undefined {
  if (a.others.length !== b.others.length) return undefined;
  const every = (match: Conjunction['others'][number]) =>
    b.others.some((other) => sameSubject(other, match) && other.negated === match.negated);
  if (!a.others.every(every)) return undefined;
  const fields = new Set([...a.numbers.keys(), ...b.numbers.keys()]);
  const different = [...fields].filter((field) => !sameRanges(a.numbers.get(field), b.numbers.get(field)));
  const [field] = different;
  if (field === undefined) return a;
  if (different.length > 1) return undefined;
  const numbers = new Map(a.numbers);
  const [left, right] = [a.numbers.get(field), b.numbers.get(field)];
  const joined = left && right ? numberMatch(field, unite([...left, ...right])) : true;
  if (typeof joined === 'object' && joined.kind === 'number') numbers.set(field, joined.ranges);
  else numbers.delete(field);
  return { numbers, others: a.others };
}

const sameRanges = (a: readonly NumberRange[] | undefined, b: readonly NumberRange[] | undefined): boolean =>
  a?.length === b?.length && (a ?? []).every((range, i) => range.first === b![i]!.first && range.last === b![i]!.last);

function sameSubject(a: Conjunction['others'][number], b: Conjunction['others'][number]): boolean {
  if (a.kind === 'address' && b.kind === 'address') return a.end === b.end && a.prefixes === b.prefixes;
  return a.kind === 'flag' && b.kind === 'flag' && a.yes === b.yes;
}
