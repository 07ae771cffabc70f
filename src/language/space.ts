import { type Address, type Family, familyOf, ORIGINS, type Prefix, TCP_STATES } from '../model/index.ts';
import { type Allowed, areMet, type Box, type Dimension, either, isNothing, isWithin, meet, without } from './box.ts';
import { formatCondition } from './format-condition.ts';
import { type Intervals, nextUp, unite } from './intervals.ts';
import { compilePattern } from './pattern.ts';
import type { Condition, NumberRange, Operator } from './policy.ts';
import { KNOWN_OF_SOME, PROTOCOL_CLASSES, UNKNOWN } from './protocol-classes.ts';
import { mergeRanges } from './sets.ts';

/** Boxes that one condition is turned into; one that needs more is not looked at. */
const MAX_BOXES = 64;
/** Stretches of one set; a larger one is only ever compared with itself. */
const MAX_STRETCHES = 1024;
/** Patterns of one kind that are compared with each other. */
const MAX_PATTERNS = 200;

/** All addresses of a family. */
const ADDRESSES = {
  4: { values: [[0, 2 ** 32]], unknown: false },
  6: { values: [[0n, 1n << 128n]], unknown: false },
} as const satisfies Record<Family, Allowed>;

type Named = Extract<Condition, { patterns: readonly string[] }>;
type Leaf = Exclude<Condition, { terms: readonly Condition[] } | { kind: 'not' }>;

/**
 * Turns conditions into boxes: unions of products of stretches, which can be compared. Everything that is said about a
 * flow is a dimension; what cannot be compared any further (a pattern, a set that rules fill) is one with two values.
 */
export class Space {
  private readonly dimensions = new Map<string, Dimension>();
  private readonly numbers = new Map<string, number>();
  private readonly stretches = new WeakMap<object, { 4?: Allowed; 6?: Allowed }>();
  private readonly identities = new WeakMap<object, number>();
  private readonly made = new WeakMap<Condition, readonly Box[]>();
  /** Patterns that are known, by what they are compared with. */
  private readonly patterns = new Map<string, readonly string[]>();
  private objects = 0;

  /** Lets patterns know of each other, so that `*.example.org` covers `www.example.org`. */
  learn(conditions: readonly Condition[]): void {
    const found = new Map<string, Set<string>>();
    const visit = (condition: Condition): void => {
      if ('terms' in condition) for (const term of condition.terms) visit(term);
      else if ('term' in condition) visit(condition.term);
      else if ('patterns' in condition) {
        const known = found.get(condition.kind) ?? new Set();
        found.set(condition.kind, known);
        for (const pattern of condition.patterns) if (known.size < MAX_PATTERNS) known.add(pattern);
      }
    };
    for (const condition of conditions) visit(condition);
    for (const [kind, patterns] of found) this.patterns.set(kind, [...patterns]);
  }

  /** The flows for which the condition holds; none where it never does. Undefined where it is too much to tell. */
  boxesOf(condition: Condition): readonly Box[] | undefined {
    const known = this.made.get(condition);
    if (known) return known;
    const boxes = this.make(condition, true);
    if (boxes) this.made.set(condition, boxes);
    return boxes;
  }

  /**
   * The parts of a box in which flows can be, by their protocol: ports and a TCP state are known of some alone. What no
   * condition looks at parts nothing.
   */
  possible(box: Box): readonly Box[] {
    const protocol = this.dimensions.get('protocol');
    const known = KNOWN_OF_SOME.flatMap((name) => this.dimensions.get(name) ?? []);
    if (!protocol || known.length === 0) return [box];
    return PROTOCOL_CLASSES.flatMap(({ protocols, lacks }) => {
      const part = new Map([[protocol, protocols]]);
      for (const dimension of known) if (lacks.includes(dimension.name)) part.set(dimension, UNKNOWN);
      return meet(box, part) ?? [];
    });
  }

  /** Some flow can be in the box. */
  isPossible(box: Box): boolean {
    const protocol = this.dimensions.get('protocol');
    const mine = protocol && box.get(protocol);
    if (!mine) return true;
    const known = KNOWN_OF_SOME.flatMap((name) => {
      const dimension = this.dimensions.get(name);
      const allowed = dimension && box.get(dimension);
      return allowed && !allowed.unknown ? [name] : [];
    });
    return PROTOCOL_CLASSES.some(
      ({ protocols, lacks }) => !known.some((name) => lacks.includes(name)) && areMet(mine, protocols),
    );
  }

  private make(condition: Condition, holds: boolean): readonly Box[] | undefined {
    switch (condition.kind) {
      case 'and':
      case 'or':
        return (condition.kind === 'and') === holds
          ? this.all(condition.terms, holds)
          : this.any(condition.terms, holds);
      case 'not':
        return this.make(condition.term, !holds);
      case 'held': {
        // How long it has held is one more thing about a flow; that it holds now is said besides.
        const since = this.compared(`for ${formatCondition(condition.term)}`, '>=', condition.for, holds);
        if (!holds) {
          const not = this.make(condition.term, false);
          return not && [...not, since];
        }
        const now = this.make(condition.term, true);
        return now && present(now.map((box) => meet(box, since)));
      }
      default:
        return this.makeLeaf(condition, holds).filter(hasValues);
    }
  }

  private all(terms: readonly Condition[], holds: boolean): readonly Box[] | undefined {
    let boxes: readonly Box[] | undefined;
    for (const term of terms) {
      const its = this.make(term, holds);
      if (!its || (boxes && boxes.length * its.length > MAX_BOXES * 4)) return undefined;
      boxes = boxes ? merge(present(boxes.flatMap((box) => its.map((other) => meet(box, other))))) : its;
      if (boxes.length > MAX_BOXES) return undefined;
      if (boxes.length === 0) return boxes;
    }
    return boxes ?? [new Map()];
  }

  private any(terms: readonly Condition[], holds: boolean): readonly Box[] | undefined {
    let boxes: readonly Box[] = [];
    for (const term of terms) {
      const its = this.make(term, holds);
      if (!its) return undefined;
      boxes = merge([...boxes, ...its]);
      if (boxes.length > MAX_BOXES) return undefined;
    }
    return boxes;
  }

  private makeLeaf(leaf: Leaf, holds: boolean): readonly Box[] {
    switch (leaf.kind) {
      case 'origin':
        return [this.whole('origin', [one(ORIGINS.indexOf(leaf.origin))], holds, 2, 3, false)];
      case 'protocol':
        return [this.whole('protocol', [one(leaf.protocol)], holds, 8, 256, false)];
      case 'family':
        return [this.family((leaf.family === 4) === holds ? 4 : 6)];
      case 'address':
        return this.address(leaf.end, leaf.prefixes, holds);
      case 'port':
        return [this.whole(`${leaf.end}.port`, leaf.ranges, holds, 16)];
      case 'dscp':
        return [this.whole('dscp', leaf.ranges, holds, 6)];
      case 'zone':
        return [this.whole('zone', leaf.ranges, holds, 16)];
      case 'nat': {
        // Source is 1, destination 2, both 3.
        const values = { source: [one(1), one(3)], destination: [one(2), one(3)], any: [one(1), one(2), one(3)] };
        return [this.whole('nat', values[leaf.nat], holds, 2)];
      }
      case 'p2p':
        // Not known is the same as not so.
        return [this.truth('p2p', holds)];
      case 'tcp.state':
        return [
          this.whole(
            'tcp.state',
            leaf.states.map((state) => one(TCP_STATES.indexOf(state))),
            holds,
            4,
            10,
          ),
        ];
      case 'time':
        return [this.whole('time', leaf.ranges.flatMap(unwrap), holds, 11, 1440)];
      case 'day':
        return [this.whole('day', leaf.days.map(one), holds, 3, 7)];
      case 'set':
        return [this.truth(`${leaf.end} in ${leaf.set}`, holds)];
      case 'measure': {
        const name = `${leaf.measure}.${leaf.direction} ${leaf.window ?? ''}`;
        const whole = leaf.measure === 'bytes' || leaf.measure === 'packets';
        return [this.compared(name, leaf.operator, leaf.value, holds, whole)];
      }
      case 'count':
        return [this.compared(`count ${leaf.of} ${leaf.by}`, leaf.operator, leaf.value, holds, true)];
      case 'user': {
        const boxes = leaf.users.map((user) =>
          typeof user === 'number'
            ? this.whole('user', [one(user)], holds, 32)
            : this.whole('user.name', [one(this.numberOf(user))], holds, 32),
        );
        return holds ? merge(boxes) : present([boxes.reduce<Box | undefined>((a, b) => a && meet(a, b), new Map())]);
      }
      case 'held':
        return [];
      default:
        return this.names(leaf, holds);
    }
  }

  private dimension(name: string, all: Allowed, bits?: number): Dimension {
    let dimension = this.dimensions.get(name);
    if (!dimension) {
      dimension = { name, all, bits };
      this.dimensions.set(name, dimension);
    }
    return dimension;
  }

  /** Whole numbers, of which there are `size`. */
  private whole(
    name: string,
    ranges: readonly NumberRange[],
    holds: boolean,
    bits: number,
    size = 2 ** bits,
    optional = true,
  ): Box {
    const dimension = this.dimension(name, { values: [[0, size]], unknown: optional }, bits);
    if (ranges.length > MAX_STRETCHES) return this.truth(`${name} #${this.identityOf(ranges)}`, holds);
    const values = mergeRanges(ranges).map(({ first, last }) => [first, last + 1] as const);
    const allowed: Allowed = { values, unknown: false };
    return new Map([[dimension, holds ? allowed : without(dimension.all, allowed)]]);
  }

  /** Numbers from 0 on, perhaps `whole` ones, compared with one; where the number is not known the comparison is false. */
  private compared(name: string, operator: Operator, value: number, holds: boolean, whole = false): Box {
    const dimension = this.dimension(name, { values: [[0, Number.POSITIVE_INFINITY]], unknown: true });
    const allowed: Allowed = { values: stretchesOf(operator, value, whole), unknown: false };
    return new Map([[dimension, holds ? allowed : without(dimension.all, allowed)]]);
  }

  private truth(name: string, holds: boolean): Box {
    const dimension = this.dimension(`? ${name}`, { values: [[0, 2]], unknown: false }, 1);
    return new Map([[dimension, { values: holds ? [[1, 2]] : [[0, 1]], unknown: false }]]);
  }

  private family(family: Family): Box {
    return this.whole('family', [one(family === 4 ? 0 : 1)], true, 1, 2, false);
  }

  /** One box for each family, of which a flow's ends both are. */
  private address(end: 'local' | 'remote', prefixes: readonly Prefix[], holds: boolean): readonly Box[] {
    if (prefixes.length > MAX_STRETCHES) return [this.truth(`${end} #${this.identityOf(prefixes)}`, holds)];
    const families: readonly Family[] = [4, 6];
    return families.flatMap((family) => {
      const all = ADDRESSES[family];
      const dimension = this.dimension(`${end} ipv${family}`, all, family === 4 ? 32 : 128);
      const its = this.remember(prefixes, family);
      const allowed = holds ? its : without(all, its);
      if (isNothing(allowed)) return [];
      const box = this.family(family);
      return [
        allowed.values.length === 1 && isNothing(without(all, allowed)) ? box : new Map(box).set(dimension, allowed),
      ];
    });
  }

  /** The stretches of a list's addresses of one family, made once for all who use the list. */
  private remember(prefixes: readonly Prefix[], family: Family): Allowed {
    const known = this.stretches.get(prefixes) ?? {};
    this.stretches.set(prefixes, known);
    known[family] ??= stretchesOfPrefixes(
      prefixes.filter(({ address }) => familyOf(address) === family),
      family,
    );
    return known[family];
  }

  private identityOf(list: object): number {
    let identity = this.identities.get(list);
    if (identity === undefined) {
      identity = this.objects++;
      this.identities.set(list, identity);
    }
    return identity;
  }

  private numberOf(name: string): number {
    let number = this.numbers.get(name);
    if (number === undefined) {
      number = this.numbers.size;
      this.numbers.set(name, number);
    }
    return number;
  }

  /** Names: whole ones exclude each other where a flow has one only; patterns are true or not, and cover others. */
  private names({ kind, patterns }: Named, holds: boolean): readonly Box[] {
    const boxes = patterns.map((pattern) => this.pattern(kind, pattern, holds));
    return holds ? merge(boxes) : present([boxes.reduce<Box | undefined>((a, b) => a && meet(a, b), new Map())]);
  }

  private pattern(kind: Named['kind'], pattern: string, holds: boolean): Box {
    const isPlain = (text: string) => !text.includes('*') && kind !== 'domain';
    const say = (text: string): Box =>
      isPlain(text)
        ? this.whole(kind, [one(this.numberOf(`${kind} ${text}`))], holds, 32)
        : this.truth(`${kind} ${text}`, holds);
    let box: Box = say(pattern);
    for (const other of this.patterns.get(kind) ?? []) {
      // A star is matched by stars alone, so what matches the pattern's own text matches all that it stands for.
      const [wider, narrower] = holds ? [other, pattern] : [pattern, other];
      if (other === pattern || (holds && isPlain(other)) || !compilePattern(wider)(narrower)) continue;
      box = meet(box, say(other)) ?? box;
    }
    return box;
  }
}

function hasValues(box: Box): boolean {
  for (const allowed of box.values()) if (isNothing(allowed)) return false;
  return true;
}
const one = (value: number): NumberRange => ({ first: value, last: value });
const present = (boxes: readonly (Box | undefined)[]): readonly Box[] => boxes.filter((box) => box !== undefined);
const unwrap = ({ first, last }: NumberRange): readonly NumberRange[] =>
  first <= last
    ? [{ first, last }]
    : [
        { first: 0, last },
        { first, last: 1439 },
      ];

/** Boxes that are bounded in the same one dimension are one box; those within others add nothing. */
function merge(boxes: readonly Box[]): readonly Box[] {
  if (boxes.length < 2) return boxes;
  const merged = new Map<Dimension, Allowed>();
  const others: Box[] = [];
  for (const box of boxes) {
    const [only] = box;
    if (!only || box.size > 1) others.push(box);
    else {
      const known = merged.get(only[0]);
      merged.set(only[0], known ? either(known, only[1]) : only[1]);
    }
  }
  const all: Box[] = [...[...merged].map(([dimension, allowed]) => new Map([[dimension, allowed]])), ...others];
  return all.filter(
    (box, i) => !all.some((other, j) => i !== j && isWithin(box, other) && (j < i || !isWithin(other, box))),
  );
}

function stretchesOf(operator: Operator, value: number, whole: boolean): Intervals<number> {
  const end = Number.POSITIVE_INFINITY;
  const above = whole ? value + 1 : nextUp(value);
  const low: Intervals<number> = value > 0 ? [[0, value]] : [];
  switch (operator) {
    case '<':
      return low;
    case '<=':
      return [[0, above]];
    case '>':
      return [[above, end]];
    case '>=':
      return [[value, end]];
    case '=':
      return [[value, above]];
    case '!=':
      return [...low, [above, end]];
  }
}

function stretchesOfPrefixes(prefixes: readonly Prefix[], family: Family): Allowed {
  const values =
    family === 4
      ? unite(
          prefixes.map(({ address, length }) => {
            const first = quad(address, 0);
            return [first, first + 2 ** (32 - length)] as const;
          }),
          [],
        )
      : unite(
          prefixes.map(({ address, length }) => {
            let first = 0n;
            for (let i = 0; i < 16; i += 4) first = (first << 32n) | BigInt(quad(address, i));
            return [first, first + (1n << BigInt(128 - length))] as const;
          }),
          [],
        );
  return { values, unknown: false };
}

const quad = (a: Address, i: number): number =>
  ((a[i]! << 24) | (a[i + 1]! << 16) | (a[i + 2]! << 8) | a[i + 3]!) >>> 0;
