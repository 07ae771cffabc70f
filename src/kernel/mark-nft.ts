import { type MarkUse, softwareOf, WHOLE_MARK, type WholeUse } from '../model/index.ts';

/** What `nft -j list ruleset` tells that concerns marks. */
export interface NftMarks {
  readonly uses: readonly MarkUse[];
  /** Names of tables and chains. */
  readonly names: readonly string[];
  /** Some rule was made by iptables-nft in a form that nft does not write out. */
  readonly xtables: boolean;
}

/** A set or map whose elements have to be listed: `set inet fw wan`. */
export interface NftReference {
  readonly kind: 'set' | 'map';
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

/** The elements of named sets and maps by {@link keyOfReference}, where they were listed. */
export type NftElements = ReadonlyMap<string, readonly unknown[]>;

export const keyOfReference = ({ family, table, name }: Omit<NftReference, 'kind'>): string =>
  `${family} ${table} ${name}`;

type Json = Readonly<Record<string, unknown>>;
type Register = 'ct' | 'packet';

/** Of an expression: which bits of either mark come through, and which bits it can have besides. */
interface Value {
  readonly ct: number;
  readonly packet: number;
  readonly bits: number;
}

/** Sets and maps of marks, whose elements a terse listing leaves out. */
export const listMarkSets = (ruleset: unknown): NftReference[] =>
  objectsOf(ruleset).flatMap((object) => {
    for (const kind of ['set', 'map'] as const) {
      const { family, table, name, type, map } = (object[kind] ?? {}) as Json;
      if ([type, map].flat().includes('mark'))
        return [{ kind, family: String(family), table: String(table), name: String(name) }];
    }
    return [];
  });

/** Families of the tables of that name. */
export const listFamilies = (ruleset: unknown, table: string): string[] =>
  objectsOf(ruleset).flatMap((object) => {
    const { family, name } = (object.table ?? {}) as Json;
    return name === table ? [String(family)] : [];
  });

/** @param ours tables that are passed over: `inet headgate` */
export function readNftMarks(ruleset: unknown, elements: NftElements, ours: ReadonlySet<string>): NftMarks {
  const objects = objectsOf(ruleset);
  const names = new Set<string>();
  for (const object of objects) {
    const table = (object.table ?? {}) as Json;
    if (table.name !== undefined && !ours.has(`${table.family} ${table.name}`)) names.add(String(table.name));
    const chain = (object.chain ?? {}) as Json;
    if (chain.name !== undefined && !ours.has(`${chain.family} ${chain.table}`)) names.add(String(chain.name));
  }
  const uses = new Map<string, MarkUse>();
  let xtables = false;
  for (const { rule } of objects) {
    const { family, table, chain, expr } = (rule ?? {}) as Json;
    if (!Array.isArray(expr) || ours.has(`${family} ${table}`)) continue;
    const who = softwareOf(String(chain)) ?? softwareOf(String(table)) ?? `nft table ${family} ${table}`;
    const where = `nft table ${family} ${table} chain ${chain}`;
    const reader = new RuleReader(
      (name) => elements.get(keyOfReference({ family, table, name } as NftReference)) ?? [],
    );
    for (const statement of expr as Json[]) {
      xtables ||= 'xt' in statement;
      for (const use of reader.read(statement)) uses.set(JSON.stringify([where, use]), { who, where, ...use });
    }
  }
  return { uses: [...uses.values()], names: [...names], xtables };
}

const objectsOf = (ruleset: unknown): readonly Json[] => ((ruleset as Json).nftables ?? []) as Json[];

type Use = Omit<MarkUse, 'who' | 'where'>;

class RuleReader {
  readonly #elementsOf: (name: string) => readonly unknown[];

  constructor(elementsOf: (name: string) => readonly unknown[]) {
    this.#elementsOf = elementsOf;
  }

  *read(statement: Json): Generator<Use> {
    if (isObject(statement.mangle)) {
      const { key, value } = statement.mangle;
      const register = registerOf(key);
      if (register) yield* this.#written(register, this.#evaluate(value));
      else yield* this.#compared(value, 0);
    } else if (isObject(statement.match)) {
      const { left, right } = statement.match;
      yield* this.#compared(left, this.#constants(right));
      yield* this.#compared(right, 0);
    } else if (isObject(statement.vmap)) {
      const { key, data } = statement.vmap;
      yield* this.#compared(key, this.#constants(data, 'keys'));
    }
  }

  *#written(register: Register, value: Value): Generator<Use> {
    const other = register === 'ct' ? 'packet' : 'ct';
    const [kept, copied] = [value[register], value[other]];
    const whole = copied === WHOLE_MARK;
    // A copy of all bits says nothing of which are used: who sets and compares them does.
    const bits = value.bits | (whole ? 0 : copied) | (kept === 0 ? 0 : ~kept);
    const use: WholeUse | undefined =
      register === 'ct' ? (kept === 0 ? 'overwrites' : undefined) : whole ? 'restores' : undefined;
    if (bits !== 0 || use) yield { of: register, bits: bits >>> 0, whole: use };
    if (copied !== 0 && !whole) yield { of: other, bits: copied };
  }

  *#compared(left: unknown, right: number): Generator<Use> {
    const value = this.#evaluate(left);
    for (const of of ['ct', 'packet'] as const) {
      const mask = value[of];
      if (mask === WHOLE_MARK) yield { of, bits: right, whole: 'compares' };
      else if (mask !== 0) yield { of, bits: mask };
    }
  }

  #evaluate(expression: unknown): Value {
    if (typeof expression === 'number') return { ...NOTHING, bits: expression >>> 0 };
    if (!isObject(expression)) return NOTHING;
    const register = registerOf(expression);
    if (register) return { ...NOTHING, [register]: WHOLE_MARK };
    for (const [sign, join] of Object.entries(OPERATORS)) {
      const operands = expression[sign];
      if (Array.isArray(operands)) return operands.map((operand) => this.#evaluate(operand)).reduce(join);
    }
    if (isObject(expression.map)) return { ...NOTHING, bits: this.#constants(expression.map.data, 'values') };
    for (const hash of ['numgen', 'jhash', 'symhash']) {
      const { mod, offset } = (expression[hash] ?? {}) as { mod?: number; offset?: number };
      if (mod !== undefined) return { ...NOTHING, bits: span(offset ?? 0, (offset ?? 0) + mod - 1) };
    }
    return NOTHING;
  }

  /** All bits of the numbers in a set, a range, or a named set of this table. */
  #constants(value: unknown, part?: 'keys' | 'values'): number {
    if (typeof value === 'number') return value >>> 0;
    if (typeof value === 'string')
      return value.startsWith('@') ? this.#constants(this.#elementsOf(value.slice(1)), part) : 0;
    if (Array.isArray(value))
      return value.map((item) => this.#constants(pick(item, part))).reduce((a, b) => (a | b) >>> 0, 0);
    if (!isObject(value)) return 0;
    if (Array.isArray(value.range)) return span(Number(value.range[0]), Number(value.range[1]));
    if (isObject(value.elem)) return this.#constants(value.elem.val, part);
    return this.#constants(value.set, part);
  }
}

const NOTHING: Value = { ct: 0, packet: 0, bits: 0 };

const merge =
  (join: (a: number, b: number) => number) =>
  (a: Value, b: Value): Value => ({
    ct: join(a.ct, b.ct) >>> 0,
    packet: join(a.packet, b.packet) >>> 0,
    bits: join(a.bits, b.bits) >>> 0,
  });
/** `&` with a number lets its bits through; with `|` and `^` either side's bits can be there. */
const OPERATORS: Readonly<Record<string, (a: Value, b: Value) => Value>> = {
  '&': (a, b) => {
    const mask = b.ct === 0 && b.packet === 0 ? b.bits : a.bits;
    return merge((x) => x & mask)(b.ct === 0 && b.packet === 0 ? a : b, NOTHING);
  },
  '|': merge((x, y) => x | y),
  '^': merge((x, y) => x | y),
};

function registerOf(expression: unknown): Register | undefined {
  if (!isObject(expression)) return undefined;
  if (isObject(expression.ct) && expression.ct.key === 'mark') return 'ct';
  // What a socket says is the packet's by then (SO_MARK).
  for (const where of ['meta', 'socket'])
    if (isObject(expression[where]) && expression[where].key === 'mark') return 'packet';
  return undefined;
}

/** Of a map's pair the side that is asked for. */
const pick = (item: unknown, part: 'keys' | 'values' | undefined): unknown =>
  part && Array.isArray(item) ? item[part === 'keys' ? 0 : 1] : item;

/** Every bit that a number from `first` to `last` can have. */
function span(first: number, last: number): number {
  const free = 32 - Math.clz32((first ^ last) >>> 0);
  return (first | last | (free === 32 ? WHOLE_MARK : 2 ** free - 1)) >>> 0;
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
