import { type Allowed, type Box, type Dimension, type Fuel, isApart, isCovered } from './box.ts';
import type { Condition, Rule } from './policy.ts';
import { Space } from './space.ts';

/** Rules of a policy in which each is compared with all before it; in a longer one with those that the index finds. */
const MAX_ALL = 200;
/** Earlier rules that one is compared with. */
const MAX_CANDIDATES = 64;
/** Pieces of a box that the index keeps it under; a box with more is kept with those that fit anything. */
const MAX_PIECES = 64;
/** Those that fit anything. */
const MAX_WIDE = 32;
/** Steps that all comparisons take together; about half a second. */
const MAX_STEPS = 2_000_000;

export interface Shadows {
  /** By the index of a rule that can never decide, those of the earlier rules that together match whenever it does. */
  readonly shadowed: ReadonlyMap<number, readonly number[]>;
  /** Rules whose condition never holds. */
  readonly never: ReadonlySet<number>;
}

/**
 * The rules that can never decide. Sound; complete for conditions of up to 64 alternatives in policies of up to 200
 * rules, as far as patterns and sets that rules fill can be compared at all. Bounded in time for any policy.
 */
export function findShadows(rules: readonly Rule[]): Shadows {
  const space = new Space();
  space.learn(rules.flatMap(({ when, until }) => (until ? [when, until] : [when])));
  const search = new Search(rules, space);
  const shadowed = new Map<number, readonly number[]>();
  const never = new Set<number>();
  for (const [number, rule] of rules.entries()) {
    const boxes = space.boxesOf(rule.when);
    if (!boxes) continue;
    const parts = boxes.flatMap((box) => space.possible(box));
    const by = parts.length > 0 && search.findCover(rules.length > MAX_ALL ? boxes : parts);
    if (parts.length === 0 || letsGo(rule, space)) never.add(number);
    else if (by) shadowed.set(number, by);
    else if (rule.queue !== undefined) search.add(number, boxes);
  }
  return { shadowed, never };
}

/** Whether a rule's `until` holds whenever its condition does, so that it takes nothing. */
function letsGo({ when, until }: Rule, space: Space): boolean {
  const boxes = until && space.boxesOf({ kind: 'and', terms: [when, { kind: 'not', term: until }] });
  return boxes?.flatMap((box) => space.possible(box)).length === 0;
}

/** A box of a rule's condition. */
interface Entry {
  readonly rule: number;
  readonly box: Box;
}

class Search {
  private readonly rules: readonly Rule[];
  private readonly space: Space;
  private readonly index: Index;
  private readonly small: boolean;
  private readonly fuel: Fuel = { left: MAX_STEPS };
  private readonly taken = new Map<number, readonly Box[]>();

  constructor(rules: readonly Rule[], space: Space) {
    this.rules = rules;
    this.space = space;
    this.small = rules.length <= MAX_ALL;
    this.index = new Index(this.small);
  }

  add(rule: number, boxes: readonly Box[]): void {
    for (const box of boxes) this.index.add({ rule, box });
  }

  /** The rules that cover all of the boxes: one alone where there is one, or else several. */
  findCover(boxes: readonly Box[]): readonly number[] | undefined {
    const first = boxes[0]!;
    const entries = this.index.around(first).filter(({ box }) => boxes.some((mine) => !isApart(mine, box)));
    let best: number | undefined;
    for (const { rule, box } of entries)
      if ((best === undefined || rule < best) && isCovered(first, [box], this.fuel) && this.covers([rule], boxes))
        best = rule;
    if (best !== undefined) return [best];
    if (entries.length < 2) return undefined;
    return this.small ? this.findSeveral(boxes, [...new Set(entries.map(({ rule }) => rule))]) : undefined;
  }

  private findSeveral(boxes: readonly Box[], rules: readonly number[]): readonly number[] | undefined {
    const entries = rules.flatMap((rule) => this.takenBy(rule).map((box): Entry => ({ rule, box })));
    const all = entries.map(({ box }) => box);
    const used = new Set<number>();
    if (!boxes.every((box) => isCovered(box, all, this.fuel, used))) return undefined;
    let needed = [...new Set([...used].map((k) => entries[k]!.rule))].sort((a, b) => a - b);
    for (const rule of needed) {
      const others = needed.filter((other) => other !== rule);
      if (this.covers(others, boxes)) needed = others;
    }
    return needed;
  }

  private covers(rules: readonly number[], boxes: readonly Box[]): boolean {
    const all = rules.flatMap((rule) => this.takenBy(rule));
    return boxes.every((box) => isCovered(box, all, this.fuel));
  }

  /** The flows that a rule takes for sure: those that its `until` would let go at once it does not take. */
  private takenBy(number: number): readonly Box[] {
    let boxes = this.taken.get(number);
    if (!boxes) {
      const { when, until } = this.rules[number]!;
      const condition: Condition = until ? { kind: 'and', terms: [when, { kind: 'not', term: until }] } : when;
      boxes = this.space.boxesOf(condition) ?? [];
      this.taken.set(number, boxes);
    }
    return boxes;
  }
}

/**
 * Finds the boxes that may cover another: those that hold its first value in the dimension that they are kept under,
 * the one in which they are narrowest. Stretches are kept in aligned pieces whose size is a power of two, as prefixes.
 */
class Index {
  private readonly everything: boolean;
  private readonly pieces = new Map<string, Entry[]>();
  private readonly sizes = new Map<Dimension, Set<number>>();
  private readonly wide: Entry[] = [];

  constructor(everything: boolean) {
    this.everything = everything;
  }

  add(entry: Entry): void {
    const narrow = this.everything ? undefined : narrowest(entry.box);
    if (!narrow) {
      if (this.everything || this.wide.length < MAX_WIDE) this.wide.push(entry);
      return;
    }
    const sizes = this.sizes.get(narrow.dimension) ?? new Set();
    this.sizes.set(narrow.dimension, sizes);
    for (const [size, at] of narrow.pieces) {
      sizes.add(size);
      const key = `${narrow.dimension.name} ${size} ${at}`;
      const known = this.pieces.get(key);
      if (known) known.push(entry);
      else this.pieces.set(key, [entry]);
    }
  }

  around(box: Box): readonly Entry[] {
    if (this.everything) return this.wide;
    const found = new Set(this.wide);
    for (const [dimension, { values }] of box) {
      const first = values[0]?.[0];
      if (first === undefined) continue;
      for (const size of this.sizes.get(dimension) ?? []) {
        const at = BigInt(first) >> BigInt(size);
        for (const entry of this.pieces.get(`${dimension.name} ${size} ${at}`) ?? []) {
          if (found.size >= MAX_CANDIDATES) return [...found];
          found.add(entry);
        }
      }
    }
    return [...found];
  }
}

type Pieces = readonly (readonly [size: number, at: bigint])[];

function narrowest(box: Box): { readonly dimension: Dimension; readonly pieces: Pieces } | undefined {
  let best: Dimension | undefined;
  let least = 1;
  for (const [dimension, { values }] of box) {
    if (dimension.bits === undefined || values.length > MAX_PIECES) continue;
    let part = 0;
    for (const [first, end] of values) part += Number(end) - Number(first);
    part /= 2 ** dimension.bits;
    if (part < least) [best, least] = [dimension, part];
  }
  const pieces = best && piecesOf(box.get(best)!);
  return best && pieces && { dimension: best, pieces };
}

/** Aligned stretches of a power of two each, which together are the values; undefined where there are too many. */
function piecesOf({ values }: Allowed): Pieces | undefined {
  const pieces: [number, bigint][] = [];
  for (const stretch of values) {
    let first = BigInt(stretch[0]);
    const end = BigInt(stretch[1]);
    while (first < end) {
      if (pieces.length === MAX_PIECES) return undefined;
      let size = 0;
      while ((first & ((1n << BigInt(size + 1)) - 1n)) === 0n && first + (1n << BigInt(size + 1)) <= end) size++;
      pieces.push([size, first >> BigInt(size)]);
      first += 1n << BigInt(size);
    }
  }
  return pieces;
}
