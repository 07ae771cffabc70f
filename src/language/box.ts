import { contains, type Intervals, intersect, overlap, subtract, unite } from './intervals.ts';

/** What can be known of one thing about a flow: its values that are allowed, and whether it may be unknown. */
export interface Allowed {
  readonly values: Intervals<number> | Intervals<bigint>;
  readonly unknown: boolean;
}

/** A thing about flows, with everything that it can be. */
export interface Dimension {
  readonly name: string;
  readonly all: Allowed;
  /** Its values are whole numbers below 2^bits, so that they can be looked up by stretches. */
  readonly bits?: number | undefined;
}

/** Flows that lie within all of these at once; what is not here may be anything. */
export type Box = ReadonlyMap<Dimension, Allowed>;

/** Both are of one dimension, so of one kind of number. */
const of = (allowed: Allowed): Intervals<number> => allowed.values as Intervals<number>;

const both = (a: Allowed, b: Allowed): Allowed =>
  a === b ? a : { values: intersect(of(a), of(b)), unknown: a.unknown && b.unknown };
export const either = (a: Allowed, b: Allowed): Allowed => ({
  values: unite(of(a), of(b)),
  unknown: a.unknown || b.unknown,
});
export const without = (a: Allowed, b: Allowed): Allowed =>
  a === b ? NOTHING : { values: subtract(of(a), of(b)), unknown: a.unknown && !b.unknown };

/** They have something in common. */
export const areMet = (a: Allowed, b: Allowed): boolean => a === b || (a.unknown && b.unknown) || overlap(of(a), of(b));

const NOTHING: Allowed = { values: [], unknown: false };
export const isNothing = ({ values, unknown }: Allowed): boolean => values.length === 0 && !unknown;

/** Covers that one piece of a box is cut by, one after the other. */
const MAX_CUTS = 200;

/** Steps that comparing may still take. */
export interface Fuel {
  left: number;
}

/** Every flow of the box lies in the cover, dimension by dimension. */
export function isWithin(box: Box, cover: Box): boolean {
  for (const [dimension, allowed] of cover) {
    const mine = box.get(dimension) ?? dimension.all;
    if (mine === allowed) continue;
    if ((mine.unknown && !allowed.unknown) || !contains(of(allowed), of(mine))) return false;
  }
  return true;
}

/** Flows that lie in both; undefined where there are none. */
export function meet(a: Box, b: Box): Box | undefined {
  if (a.size < b.size) return meet(b, a);
  const box = new Map(a);
  for (const [dimension, allowed] of b) {
    const other = a.get(dimension);
    const shared = other ? both(other, allowed) : allowed;
    if (isNothing(shared)) return undefined;
    box.set(dimension, shared);
  }
  return box;
}

/**
 * Whether each flow of the box lies in one of those that cover, from the one at `from` on; false, too, when the fuel
 * ends. `used` gets the index of each that was needed.
 */
export function isCovered(
  box: Box,
  covers: readonly Box[],
  fuel: Fuel,
  used?: Set<number>,
  from = 0,
  cuts = 0,
): boolean {
  if (cuts > MAX_CUTS) return false;
  for (let k = from; k < covers.length; k++) {
    const cover = covers[k]!;
    fuel.left -= 1 + cover.size;
    if (fuel.left < 0) return false;
    if (isWithin(box, cover)) {
      used?.add(k);
      return true;
    }
    // Of the last nothing may be left over.
    if (k === covers.length - 1) return false;
    if (isApart(box, cover)) continue;
    const pieces: Box[] = [];
    const inside = new Map(box);
    for (const [dimension, allowed] of cover) {
      const mine = inside.get(dimension) ?? dimension.all;
      if (mine === allowed) continue;
      fuel.left -= mine.values.length + allowed.values.length;
      const rest = without(mine, allowed);
      if (isNothing(rest)) continue;
      pieces.push(new Map(inside).set(dimension, rest));
      inside.set(dimension, both(mine, allowed));
    }
    used?.add(k);
    return pieces.every((piece) => isCovered(piece, covers, fuel, used, k + 1, cuts + 1));
  }
  return false;
}

/** No flow lies in both. */
export function isApart(a: Box, b: Box): boolean {
  for (const [dimension, allowed] of b) {
    const other = a.get(dimension);
    if (other && !areMet(other, allowed)) return true;
  }
  return false;
}
