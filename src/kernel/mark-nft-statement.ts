import {
  and,
  compared,
  constant,
  joined,
  markOf,
  numberOf,
  type Register,
  shifted,
  span,
  UNKNOWN,
  type Use,
  type Value,
  written,
} from './mark-value.ts';

export type Json = Readonly<Record<string, unknown>>;

/** Numbers that are compared with the part of a key at an index; without one: with the key. */
type Others = (index?: number) => number;

/** Of a set or map of marks: its elements, if it could be listed; undefined: of any other. */
export type FindSet = (name: string) => { readonly listed: readonly unknown[] | undefined } | undefined;

/** Reads one statement. Whatever has a mark in it and is not known here comes to `lost`, by the default of each of the ways to read. */
export class StatementReader {
  readonly uses: Use[] = [];
  lost = false;
  readonly #find: FindSet;

  constructor(find: FindSet) {
    this.#find = find;
  }

  read(statement: unknown): void {
    const [kind, content] = isObject(statement) ? (Object.entries(statement)[0] ?? []) : [];
    const body = isObject(content) ? content : {};
    if (kind === 'mangle') this.#mangle(body);
    else if (kind === 'match') {
      this.#compare(body.left, this.#othersOf(body.right));
      if (hasMark(body.right)) this.#compare(body.right, NO_OTHERS);
    } else if (kind === 'vmap') this.#compare(body.key, this.#othersOf(body.data, 'keys'));
    else if (kind === 'set') this.#compare(body.elem, NO_OTHERS);
    else if (kind === 'meter') this.#compare(body.key, NO_OTHERS);
    else if (WITH_EXPRESSIONS.has(kind!)) for (const part of Object.values(body)) this.#compare(part, NO_OTHERS);
    else if (!FREE_TEXT.has(kind!) && (hasMark(statement) || this.#namesMarks(statement))) this.lost = true;
  }

  #mangle({ key, value }: Json): void {
    const register = registerOf(key);
    if (!register) {
      // Such as a part of the mark, which nft may come to know how to write.
      if (hasMark(key)) this.lost = true;
      this.#compare(value, NO_OTHERS);
      return;
    }
    const result = this.#evaluate(value);
    if (result.unknown !== 0) this.lost = true;
    this.uses.push(...written(register, result));
  }

  #compare(key: unknown, others: Others): void {
    if (isObject(key) && Array.isArray(key.concat))
      for (const [i, part] of key.concat.entries()) this.uses.push(...compared(this.#evaluate(part), () => others(i)));
    else if (isObject(key) && isObject(key.elem)) this.#compare(key.elem.val, others);
    else this.uses.push(...compared(this.#evaluate(key), others));
  }

  #evaluate(expression: unknown): Value {
    if (typeof expression === 'number') return constant(expression);
    const register = registerOf(expression);
    if (register) return markOf(register);
    const [kind, content] = isObject(expression) ? (Object.entries(expression)[0] ?? []) : [];
    const value = this.#operate(kind, content) ?? this.#produce(kind, content);
    if (!value && hasMark(expression)) this.lost = true;
    return value ?? UNKNOWN;
  }

  /** Undefined: not an operation on values that is known. */
  #operate(sign: string | undefined, operands: unknown): Value | undefined {
    if (!OPERATORS.has(sign!) || !Array.isArray(operands)) return undefined;
    const [first, ...more] = operands.map((operand) => this.#evaluate(operand));
    return more.reduce<Value | undefined>((a, b) => a && operate(a, sign!, b), first);
  }

  /** What makes a number of something else, which may be a mark. */
  #produce(kind: string | undefined, content: unknown): Value | undefined {
    if (!isObject(content)) return undefined;
    if (kind === 'map') {
      this.#compare(content.key, this.#othersOf(content.data, 'keys'));
      const bits = this.#constants(content.data, 'values');
      return bits === undefined ? UNKNOWN : constant(bits);
    }
    const { mod, offset = 0, expr } = content;
    if (!HASHES.has(kind!) || typeof mod !== 'number' || typeof offset !== 'number') return undefined;
    if (expr !== undefined) this.#compare(expr, NO_OTHERS);
    return constant(span(offset, offset + mod - 1));
  }

  #othersOf(value: unknown, part?: 'keys' | 'values'): Others {
    return (index) => {
      const bits = this.#constants(value, part, index);
      if (bits === undefined) this.lost = true;
      return bits ?? 0;
    };
  }

  /** All bits of the numbers in a set, a range, or a named set of this table; undefined where some are not understood. */
  #constants(value: unknown, part?: 'keys' | 'values', index?: number): number | undefined {
    if (typeof value === 'number') return value >>> 0;
    // The element of a set that stands for all others.
    if (value === '*') return 0;
    if (typeof value === 'string')
      return value.startsWith('@') ? this.#constants(this.#find(value.slice(1))?.listed, part, index) : undefined;
    if (Array.isArray(value))
      return value
        .map((item) => this.#constants(pick(item, part), undefined, index))
        .reduce((a, b) => (a === undefined || b === undefined ? undefined : (a | b) >>> 0), 0);
    if (!isObject(value)) return undefined;
    const { range, prefix, concat, elem, set } = value;
    if (Array.isArray(concat)) return index === undefined ? undefined : this.#constants(concat[index]);
    if (Array.isArray(range)) {
      const [first, last] = range as unknown[];
      return typeof first === 'number' && typeof last === 'number' ? span(first, last) : undefined;
    }
    if (isObject(prefix)) return spanOfPrefix(prefix);
    return this.#constants(isObject(elem) ? elem.val : set, part, index);
  }

  /** It names a set of marks: nft writes some statements on sets as text alone. */
  #namesMarks(json: unknown): boolean {
    return [...JSON.stringify(json).matchAll(/@([\w./-]+)/g)].some(([, name]) => this.#find(name!));
  }
}

/** Somewhere in it is a mark. */
function hasMark(json: unknown): boolean {
  // What nft has no JSON for it writes as text.
  if (typeof json === 'string') return /\b(?:ct|meta|socket) mark\b/.test(json);
  if (typeof json !== 'object' || json === null) return false;
  return (json as Json).key === 'mark' || Object.values(json).some(hasMark);
}

const NO_OTHERS: Others = () => 0;

/** Statements that hold expressions, and do nothing to marks but go by them. */
const WITH_EXPRESSIONS: ReadonlySet<string> = new Set(
  'dnat snat masquerade redirect tproxy dup fwd queue reject'.split(' '),
);
/** Statements with text that people write as they like. */
const FREE_TEXT: ReadonlySet<string> = new Set(['log']);
const OPERATORS: ReadonlySet<string> = new Set(['&', '|', '^', '<<', '>>']);
const HASHES: ReadonlySet<string> = new Set(['numgen', 'jhash', 'symhash']);

/** Undefined where it is not known what comes of it. */
function operate(a: Value, sign: string, b: Value): Value | undefined {
  if (sign === '|' || sign === '^') return joined(a, b, sign);
  const [left, right] = [numberOf(a), numberOf(b)];
  if (sign === '&') return right !== undefined ? and(a, right) : left !== undefined ? and(b, left) : undefined;
  return right === undefined ? undefined : shifted(a, sign === '<<' ? right : -right);
}

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

function spanOfPrefix({ addr, len }: Json): number | undefined {
  if (typeof addr !== 'number' || typeof len !== 'number') return undefined;
  return span(addr, addr + 2 ** (32 - len) - 1);
}

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
