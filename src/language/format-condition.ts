import { formatAddress, formatPrefix, type Prefix, protocolName } from '../model/index.ts';
import type { Condition, PortRange } from './policy.ts';

/**
 * Writes a condition in the language, sets spelled out, with no more parentheses than it takes: reading it again
 * gives the same condition. The condition that always holds has no words in the language, and is written as ''.
 */
export const formatCondition = (condition: Condition): string => format(condition, 0);

/** `around` is how tightly the place binds: 0 none, 1 a term of `or`, 2 of `and`, 3 of `not`. */
function format(condition: Condition, around: number): string {
  switch (condition.kind) {
    case 'and':
    case 'or': {
      const binds = condition.kind === 'or' ? 1 : 2;
      const text = condition.terms.map((term) => format(term, binds)).join(` ${condition.kind} `);
      // A chain of its own kind keeps its parentheses, so that the tree comes back as it was.
      return around >= binds && condition.terms.length > 1 ? `(${text})` : text;
    }
    case 'not':
      return `not ${format(condition.term, 3)}`;
    case 'origin':
      return `origin ${condition.origin}`;
    case 'protocol': {
      const name = protocolName(condition.protocol);
      return /^\d/.test(name) ? `protocol ${name}` : name;
    }
    case 'family':
      return `family ipv${condition.family}`;
    case 'address':
      return `${condition.end} in ${formatPrefixes(condition.prefixes)}`;
    case 'port':
      return `${condition.end}.port in ${formatRanges(condition.ranges)}`;
  }
}

export const formatPrefixes = (prefixes: readonly Prefix[]): string =>
  list(prefixes.map((p) => (p.length === p.address.length * 8 ? formatAddress(p.address) : formatPrefix(p))));

export const formatRanges = (ranges: readonly PortRange[]): string =>
  list(ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)));

const list = (values: readonly string[]): string => (values.length === 1 ? values[0]! : `{ ${values.join(', ')} }`);
