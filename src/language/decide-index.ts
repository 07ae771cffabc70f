import type { FlowFacts } from '../model/index.ts';
import { addressKey, BoundsFinder, DIMENSIONS, type Dimension, NO_PORT, originKey } from './decide-bounds.ts';
import { CHUNK, type Chunk, type Compiler } from './decide-code.ts';
import type { Condition, NumberRange } from './policy.ts';

/** Words of {@link CHUNK} conditions that a table may have, 2 MiB: beyond that, neighbouring values share a row. */
const MAX_WORDS = 1 << 19;
const MAX_ROWS = 65_535;

/** Index of the first condition that holds for a flow; -1 for none. */
export type Find = (facts: FlowFacts) => number;

/** Asks all conditions in turn, chunk after chunk. */
export function findInTurn(conditions: readonly Condition[], compiler: Compiler): Find {
  const chunks: Chunk[] = [];
  for (let i = 0; i < conditions.length; i += CHUNK) chunks.push(compiler.compile(conditions.slice(i, i + CHUNK)));
  return (facts) => {
    for (let i = 0; i < chunks.length; i++) {
      const found = chunks[i]!(facts, -1);
      if (found >= 0) return i * CHUNK + found;
    }
    return -1;
  };
}

/**
 * Asks only those conditions that a flow can meet: each is filed under the one thing that tells it best from the
 * others, be it its origin, protocol, an address or a port. A flow looks into six tables by what it has, and asks what
 * is filed there.
 */
export function findByIndex(conditions: readonly Condition[], compiler: Compiler): Find {
  const finder = new BoundsFinder();
  const bounds = conditions.map((condition) => finder.find(condition));
  const crowds = DIMENSIONS.map((dimension) => new Crowd(bounds.map((one) => one?.[dimension] ?? [])));
  const filed = new Map(DIMENSIONS.map((dimension) => [dimension, [] as Filed[]]));
  for (const [i, condition] of conditions.entries()) {
    const one = bounds[i];
    // No flow at all makes it hold.
    if (!one) continue;
    const costs = DIMENSIONS.map((dimension, d) => crowds[d]!.costOf(one[dimension]));
    const best = DIMENSIONS[costs.indexOf(Math.min(...costs))]!;
    filed.get(best)!.push({ place: i, condition, ranges: one[best] ?? [EVERYTHING] });
  }
  const tableOf = (dimension: Dimension) => new Table(filed.get(dimension)!, compiler, LAST_SMALL[dimension]);
  const [origin, protocol] = [tableOf('origin'), tableOf('protocol')];
  const [localPort, remotePort] = [tableOf('localPort'), tableOf('remotePort')];
  const [local, remote] = [tableOf('local'), tableOf('remote')];
  return (facts) => {
    const { local: here, remote: there } = facts;
    let first = NONE;
    first = localPort.find(here.port === undefined ? NO_PORT : here.port, facts, first);
    first = remotePort.find(there.port === undefined ? NO_PORT : there.port, facts, first);
    first = local.find(local.isEmpty ? 0 : addressKey(here.address), facts, first);
    first = remote.find(remote.isEmpty ? 0 : addressKey(there.address), facts, first);
    first = protocol.find(facts.protocol, facts, first);
    first = origin.find(originKey(facts.origin), facts, first);
    return first === NONE ? -1 : first;
  };
}

/** Behind every place. */
const NONE = 0x3fffffff;
const EVERYTHING: NumberRange = { first: Number.NEGATIVE_INFINITY, last: Number.POSITIVE_INFINITY };
/** The last value of dimensions that are small enough for a table with an entry for each value. */
const LAST_SMALL: { readonly [D in Dimension]?: number } = {
  origin: 2,
  protocol: 255,
  localPort: NO_PORT,
  remotePort: NO_PORT,
};

/** How crowded the values of a dimension are with conditions. */
class Crowd {
  readonly #starts: Float64Array;
  /** Of all rows before each: the conditions in them, added up. */
  readonly #sums: Float64Array;

  constructor(all: readonly (readonly NumberRange[])[]) {
    this.#starts = startsOf(all, MAX_ROWS);
    const rows = this.#starts.length + 1;
    const changes = new Int32Array(rows + 1);
    for (const { first, last } of all.flat()) {
      changes[search(this.#starts, first)]!++;
      changes[search(this.#starts, last) + 1]!--;
    }
    this.#sums = new Float64Array(rows + 1);
    let crowd = 0;
    for (let row = 0; row < rows; row++) {
      crowd += changes[row]!;
      this.#sums[row + 1] = this.#sums[row]! + crowd;
    }
  }

  /** How many conditions a flow has to ask for one that is filed under these values, by all rows alike. */
  costOf(ranges: readonly NumberRange[] | undefined): number {
    if (!ranges) return Number.MAX_VALUE;
    let sum = 0;
    for (const { first, last } of ranges)
      sum += this.#sums[search(this.#starts, last) + 1]! - this.#sums[search(this.#starts, first)]!;
    return sum / (this.#starts.length + 1);
  }
}

/** A condition, its index in the order that counts, and the values that it needs of the dimension. */
interface Filed {
  readonly place: number;
  readonly condition: Condition;
  readonly ranges: readonly NumberRange[];
}

/** Conditions that are filed under one dimension: for each stretch of its values a row of bits, one a condition. */
class Table {
  readonly isEmpty: boolean;
  readonly #words: number;
  readonly #chunks: readonly Chunk[];
  /** For each word the places of its conditions, ascending. */
  readonly #places: readonly Int32Array[];
  /** Where each row but the first begins. */
  readonly #starts: Float64Array;
  /** The row of each value, where there are few. */
  readonly #rowOf: Uint16Array | undefined;
  readonly #bits: Int32Array;

  constructor(filed: readonly Filed[], compiler: Compiler, lastSmall: number | undefined) {
    const words: (readonly Filed[])[] = [];
    for (let i = 0; i < filed.length; i += CHUNK) words.push(filed.slice(i, i + CHUNK));
    this.isEmpty = filed.length === 0;
    this.#words = words.length;
    this.#chunks = words.map((word) => compiler.compile(word.map(({ condition }) => condition)));
    this.#places = words.map((word) => Int32Array.from(word, ({ place }) => place));
    const rows = Math.max(2, Math.min(MAX_ROWS, Math.floor(MAX_WORDS / Math.max(1, words.length))));
    this.#starts = startsOf(
      filed.map(({ ranges }) => ranges),
      rows,
    );
    this.#bits = new Int32Array((this.#starts.length + 1) * words.length);
    for (const [i, { ranges }] of filed.entries())
      for (const { first, last } of ranges)
        for (let row = search(this.#starts, first), end = search(this.#starts, last); row <= end; row++)
          this.#bits[row * words.length + (i >> 5)]! |= 1 << (i & 31);
    if (lastSmall !== undefined)
      this.#rowOf = Uint16Array.from({ length: lastSmall + 1 }, (_, value) => search(this.#starts, value));
  }

  /** The first place whose condition holds, before `before`; else `before`. */
  find(value: number, facts: FlowFacts, before: number): number {
    if (this.isEmpty) return before;
    const words = this.#words;
    const row = this.#rowOf === undefined ? search(this.#starts, value) : this.#rowOf[value]!;
    for (let w = 0, at = row * words; w < words; w++, at++) {
      const candidates = this.#bits[at]!;
      if (candidates === 0) continue;
      const places = this.#places[w]!;
      if (places[0]! > before) break;
      const found = this.#chunks[w]!(facts, candidates);
      if (found >= 0) return Math.min(before, places[found]!);
    }
    return before;
  }
}

/** Where the values begin that some condition tells from those before them; at most so many stretches. */
function startsOf(all: readonly (readonly NumberRange[])[], mostRows: number): Float64Array {
  const edges = new Set<number>();
  for (const { first, last } of all.flat()) edges.add(first).add(last + 1);
  const starts = Float64Array.from(edges).sort();
  const most = mostRows - 1;
  if (starts.length <= most) return starts;
  // Neighbours share a row, and so each other's conditions: asked for nothing, but never missed.
  const step = starts.length / most;
  return Float64Array.from({ length: most }, (_, i) => starts[Math.floor(i * step)]!);
}

/** How many of the sorted values are at most `value`. */
function search(values: Float64Array, value: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
