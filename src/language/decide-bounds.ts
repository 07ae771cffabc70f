import type { Address, Origin, Prefix } from '../model/index.ts';
import type { Condition, NumberRange } from './policy.ts';

/** What a flow has one small value of, always, so that rules can be sorted by it. */
export const DIMENSIONS = ['origin', 'protocol', 'local', 'remote', 'localPort', 'remotePort'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/**
 * The values that a flow must have in each dimension for a condition to hold: sorted ranges, apart from each other.
 * A dimension that is absent can have any. Other flows certainly fail; these need not hold.
 */
export type Bounds = { readonly [D in Dimension]?: readonly NumberRange[] };

/** Ranges kept of one dimension of one condition; beyond that, those that are next to each other become one. */
const MAX_RANGES = 32;

export const originKey = (origin: Origin): number => (origin === 'local' ? 0 : origin === 'remote' ? 1 : 2);
/** In a dimension of ports: the flow has none. */
export const NO_PORT = 65_536;
const V6 = 2 ** 32;
const SPACE: { readonly [D in Dimension]: NumberRange } = {
  origin: { first: 0, last: 2 },
  protocol: { first: 0, last: 255 },
  local: { first: 0, last: V6 + 2 ** 48 - 1 },
  remote: { first: 0, last: V6 + 2 ** 48 - 1 },
  localPort: { first: 0, last: NO_PORT },
  remotePort: { first: 0, last: NO_PORT },
};
const FAMILY: { readonly [F in 4 | 6]: NumberRange } = {
  4: { first: 0, last: V6 - 1 },
  6: { first: V6, last: V6 + 2 ** 48 - 1 },
};

/** An address as a number that keeps the order: all of IPv4, and behind it the first 48 bits of IPv6. */
export function addressKey(address: Address): number {
  const head = ((address[0]! << 24) | (address[1]! << 16) | (address[2]! << 8) | address[3]!) >>> 0;
  return address.length === 4 ? head : V6 + head * 65_536 + ((address[4]! << 8) | address[5]!);
}

/** Finds the bounds of conditions. Big sets that several conditions share are looked through once. */
export class BoundsFinder {
  readonly #prefixes = new Map<readonly Prefix[], { readonly in: Bound; readonly notIn: Bound }>();

  /** Undefined: no flow at all can make it hold. */
  find(condition: Condition, negated = false): Bounds | undefined {
    switch (condition.kind) {
      case 'and':
      case 'or': {
        const all = condition.terms.map((term) => this.find(term, negated));
        return (condition.kind === 'and') !== negated ? intersectAll(all) : uniteAll(all);
      }
      case 'not':
        return this.find(condition.term, !negated);
      // Held or not, while the term does not hold nothing does.
      case 'held':
        return negated ? {} : this.find(condition.term);
      case 'origin':
        return bound('origin', [point(originKey(condition.origin))], negated);
      case 'protocol':
        return bound('protocol', [point(condition.protocol)], negated);
      case 'family': {
        const range = FAMILY[(condition.family === 4) !== negated ? 4 : 6];
        return { local: [range], remote: [range] };
      }
      case 'address': {
        const known = this.#known(condition.prefixes);
        const ranges = negated ? known.notIn : known.in;
        return ranges.length === 0 ? undefined : { [condition.end]: ranges };
      }
      case 'port':
        return bound(`${condition.end}Port`, condition.ranges, negated);
      default:
        return {};
    }
  }

  #known(prefixes: readonly Prefix[]): { readonly in: Bound; readonly notIn: Bound } {
    let known = this.#prefixes.get(prefixes);
    if (!known) {
      // What is longer than a key can say covers its whole key, but excludes nothing.
      const exact = prefixes.filter(({ address, length }) => address.length === 4 || length <= 48);
      known = {
        in: coarsen(normalize(prefixes.map(rangeOfPrefix))),
        notIn: coarsen(complement(normalize(exact.map(rangeOfPrefix)), SPACE.local)),
      };
      this.#prefixes.set(prefixes, known);
    }
    return known;
  }
}

type Bound = readonly NumberRange[];

const point = (value: number): NumberRange => ({ first: value, last: value });

function rangeOfPrefix({ address, length }: Prefix): NumberRange {
  const first = addressKey(address);
  const bits = address.length === 4 ? 32 : 48;
  return { first, last: first + 2 ** (bits - Math.min(length, bits)) - 1 };
}

function bound(dimension: Dimension, values: Bound, negated: boolean): Bounds | undefined {
  const whole = normalize(values);
  const ranges = coarsen(negated ? complement(whole, SPACE[dimension]) : whole);
  return ranges.length === 0 ? undefined : { [dimension]: ranges };
}

function intersectAll(all: readonly (Bounds | undefined)[]): Bounds | undefined {
  const result: { [D in Dimension]?: Bound } = {};
  for (const bounds of all) {
    if (!bounds) return undefined;
    for (const dimension of DIMENSIONS) {
      const ranges = bounds[dimension];
      if (!ranges) continue;
      const before = result[dimension];
      const both = before ? coarsen(intersect(before, ranges)) : ranges;
      if (both.length === 0) return undefined;
      result[dimension] = both;
    }
  }
  return result;
}

function uniteAll(all: readonly (Bounds | undefined)[]): Bounds | undefined {
  const possible = all.filter((bounds) => bounds !== undefined);
  if (possible.length === 0) return undefined;
  const result: { [D in Dimension]?: Bound } = {};
  for (const dimension of DIMENSIONS) {
    const ranges = possible.map((bounds) => bounds[dimension]);
    if (ranges.every((one) => one !== undefined)) result[dimension] = coarsen(normalize(ranges.flat()));
  }
  return result;
}

function normalize(ranges: Bound): Bound {
  const merged: NumberRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const last = merged.at(-1);
    if (last && range.first <= last.last + 1)
      merged[merged.length - 1] = { first: last.first, last: Math.max(last.last, range.last) };
    else merged.push(range);
  }
  return merged;
}

function complement(ranges: Bound, space: NumberRange): Bound {
  const result: NumberRange[] = [];
  let first = space.first;
  for (const range of ranges) {
    if (range.first > first) result.push({ first, last: range.first - 1 });
    first = range.last + 1;
  }
  if (first <= space.last) result.push({ first, last: space.last });
  return result;
}

function intersect(a: Bound, b: Bound): Bound {
  const result: NumberRange[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const first = Math.max(a[i]!.first, b[j]!.first);
    const last = Math.min(a[i]!.last, b[j]!.last);
    if (first <= last) result.push({ first, last });
    if (a[i]!.last < b[j]!.last) i++;
    else j++;
  }
  return result;
}

/** At most {@link MAX_RANGES}: neighbours become one, in groups of equal number. */
function coarsen(ranges: Bound): Bound {
  if (ranges.length <= MAX_RANGES) return ranges;
  const group = Math.ceil(ranges.length / MAX_RANGES);
  return Array.from({ length: Math.ceil(ranges.length / group) }, (_, i) => ({
    first: ranges[i * group]!.first,
    last: ranges[Math.min((i + 1) * group, ranges.length) - 1]!.last,
  }));
}
