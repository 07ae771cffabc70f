import { formatPrefixes, formatRanges } from './format-condition.ts';
import type { Condition, Rule } from './policy.ts';

/**
 * The rules that can never decide, by their index, with the earlier rule that always matches first.
 *
 * Sound, not complete: an earlier rule covers a later one where it has no condition, or where the earlier one's
 * condition, or one of its `or` terms, is the later one's, or one of its `and` terms. Linear in the policy's size.
 */
export function findShadows(rules: readonly Rule[]): ReadonlyMap<number, Rule> {
  const keyOf = keys();
  const shadows = new Map<number, Rule>();
  const covered = new Map<string, Rule>();
  for (const [index, rule] of rules.entries()) {
    const key = keyOf(rule.when);
    const needed = rule.when.kind === 'and' ? [EVERYTHING, key, ...rule.when.terms.map(keyOf)] : [EVERYTHING, key];
    const by = needed.map((k) => covered.get(k)).find((earlier) => earlier !== undefined);
    if (by) {
      shadows.set(index, by);
      continue;
    }
    for (const k of rule.when.kind === 'or' ? [key, ...rule.when.terms.map(keyOf)] : [key]) covered.set(k, rule);
  }
  return shadows;
}

/** The key of the condition that always holds. */
const EVERYTHING = 'and()';

/** Gives conditions that say the same in another order the same key. Big sets are spelled out once, not once a rule. */
function keys(): (condition: Condition) => string {
  const numbers = new Map<string, number>();
  const known = new WeakMap<object, number>();
  const number = (values: object, spell: () => string): number => {
    let n = known.get(values);
    if (n === undefined) {
      const text = spell();
      n = numbers.get(text) ?? numbers.size;
      numbers.set(text, n);
      known.set(values, n);
    }
    return n;
  };
  const keyOf = (condition: Condition): string => {
    switch (condition.kind) {
      case 'and':
      case 'or': {
        const terms = [...new Set(flatten(condition.kind, condition.terms).map(keyOf))].sort();
        return terms.length === 1 ? terms[0]! : `${condition.kind}(${terms.join()})`;
      }
      case 'not':
        return condition.term.kind === 'not' ? keyOf(condition.term.term) : `not(${keyOf(condition.term)})`;
      case 'origin':
        return `origin ${condition.origin}`;
      case 'protocol':
        return `protocol ${condition.protocol}`;
      case 'family':
        return `family ${condition.family}`;
      case 'address':
        return `${condition.end} ${number(condition.prefixes, () => formatPrefixes(condition.prefixes))}`;
      case 'port':
        return `${condition.end}.port ${number(condition.ranges, () => formatRanges(condition.ranges))}`;
    }
  };
  return keyOf;
}

const flatten = (kind: 'and' | 'or', terms: readonly Condition[]): readonly Condition[] =>
  terms.flatMap((term) => (term.kind === kind ? flatten(kind, term.terms) : [term]));
