import { type Address, type Prefix, prefixContains } from '../model/index.ts';
import type { PortRange } from './policy.ts';

/** The same ports in as few ranges as can be, in ascending order. */
export function mergeRanges(ranges: readonly PortRange[]): readonly PortRange[] {
  const merged: PortRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const last = merged.at(-1);
    if (last && range.first <= last.last + 1)
      merged[merged.length - 1] = { first: last.first, last: Math.max(last.last, range.last) };
    else merged.push(range);
  }
  return merged;
}

/** The same addresses without prefixes that lie within others: IPv4 first, in ascending order, each apart from the next. */
export function mergePrefixes(prefixes: readonly Prefix[]): readonly Prefix[] {
  const merged: Prefix[] = [];
  for (const prefix of prefixes.toSorted((a, b) => compareAddresses(a.address, b.address) || a.length - b.length)) {
    const last = merged.at(-1);
    if (!last || !prefixContains(last, prefix.address)) merged.push(prefix);
  }
  return merged;
}

/** Negative, 0 or positive, as sort wants it: IPv4 before IPv6, then by bytes. */
export function compareAddresses(a: Address, b: Address): number {
  if (a.length !== b.length) return a.length - b.length;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}
