import { type Address, type FlowFacts, type Prefix, prefixContains } from '../model/index.ts';
import type { SetContents } from './evaluate.ts';
import { compilePattern } from './pattern.ts';
import { type Condition, type NumberRange, type Operator, RATE_WINDOW } from './policy.ts';
import { compareAddresses, mergePrefixes, mergeRanges } from './sets.ts';

/** Rules whose conditions become one function: as many as a word has bits. */
export const CHUNK = 32;

/**
 * The first of a chunk's conditions that holds, from 0; -1 for none. Only those are asked whose bit is set in
 * `candidates`.
 */
export type Chunk = (facts: FlowFacts, candidates: number) => number;

/** A condition as an expression of JavaScript. */
type Code = string;

/**
 * Compiles conditions to functions of generated code. No text of a policy ever stands in it: numbers do, and all else
 * is handed in as a value. What several conditions share, such as a big set, is prepared once.
 */
export class Compiler {
  readonly #sets: SetContents;
  readonly #searches = new Map<readonly Prefix[], (address: Address) => boolean>();
  readonly #rangeSearches = new Map<readonly NumberRange[], (number: number) => boolean>();
  readonly #patterns = new Map<string, (text: string) => boolean>();

  constructor(sets: SetContents) {
    this.#sets = sets;
  }

  /** At most {@link CHUNK} conditions as one function. */
  compile(conditions: readonly Condition[]): Chunk {
    const chunk = new ChunkWriter(this);
    const tests = conditions.map(
      (condition, i) => `if ((candidates & ${1 << i}) !== 0 && ${chunk.write(condition)}) return ${i};`,
    );
    return chunk.finish(tests);
  }

  prefixes(prefixes: readonly Prefix[]): (address: Address) => boolean {
    return memo(this.#searches, prefixes, searchPrefixes);
  }

  ranges(ranges: readonly NumberRange[]): (number: number) => boolean {
    return memo(this.#rangeSearches, ranges, searchRanges);
  }

  pattern(pattern: string): (text: string) => boolean {
    return memo(this.#patterns, pattern, compilePattern);
  }

  contentsOf(set: string): readonly Prefix[] {
    return this.#sets.get(set) ?? [];
  }
}

/** What of a flow most conditions look at, read once a chunk. Absent ports are -1, so that all are small integers. */
const LOCALS = {
  origin: 'facts.origin',
  protocol: 'facts.protocol',
  local: 'facts.local.address',
  remote: 'facts.remote.address',
  localPort: 'facts.local.port === undefined ? -1 : facts.local.port',
  remotePort: 'facts.remote.port === undefined ? -1 : facts.remote.port',
} as const;

class ChunkWriter {
  readonly #compiler: Compiler;
  readonly #values: unknown[] = [];
  readonly #names = new Map<unknown, string>();
  readonly #locals = new Set<keyof typeof LOCALS>();

  constructor(compiler: Compiler) {
    this.#compiler = compiler;
  }

  finish(tests: readonly Code[]): Chunk {
    const values = this.#values.map((_, i) => `v${i}`);
    const source = [
      '"use strict";',
      values.length > 0 ? `const [${values.join(', ')}] = values;` : '',
      'return (facts, candidates) => {',
      ...[...this.#locals].map((name) => `const ${name} = ${LOCALS[name]};`),
      ...tests,
      'return -1;',
      '};',
    ].join('\n');
    // docs/decisions/0006: what closures cost instead.
    return new Function('values', source)(this.#values) as Chunk;
  }

  write(condition: Condition): Code {
    switch (condition.kind) {
      case 'and':
      case 'or': {
        // No term has an effect, so the cheap ones may go first.
        const terms = condition.terms.toSorted((a, b) => costOf(a) - costOf(b)).map((term) => this.write(term));
        if (terms.length === 0) return condition.kind === 'and' ? 'true' : 'false';
        return `(${terms.join(condition.kind === 'and' ? ' && ' : ' || ')})`;
      }
      case 'not':
        return `!${this.write(condition.term)}`;
      case 'origin':
        return `(${this.#local('origin')} === ${this.#value(condition.origin)})`;
      case 'protocol':
        return `(${this.#local('protocol')} === ${number(condition.protocol)})`;
      case 'family':
        return `(${this.#local('local')}.length === ${condition.family === 4 ? 4 : 16})`;
      case 'address':
        return this.#inPrefixes(this.#local(condition.end), condition.prefixes);
      case 'set': {
        const address = this.#local(condition.end);
        const ask = `(facts.inSet !== undefined && facts.inSet(${this.#value(condition.set)}, ${address}) === true)`;
        const contents = this.#compiler.contentsOf(condition.set);
        return contents.length === 0 ? ask : `(${this.#inPrefixes(address, contents)} || ${ask})`;
      }
      case 'port':
        return this.#inRanges(this.#local(`${condition.end}Port`), condition.ranges, () => 'true');
      case 'dscp':
      case 'zone':
        return this.#inRanges(`facts.${condition.kind}`, condition.ranges, (fact) => `${fact} !== undefined`);
      case 'nat':
        return condition.nat === 'any'
          ? '(facts.nat !== undefined && (facts.nat.source || facts.nat.destination))'
          : `(facts.nat !== undefined && facts.nat.${condition.nat === 'source' ? 'source' : 'destination'})`;
      case 'domain':
        return `(facts.domains !== undefined && facts.domains.some(${this.#value(this.#anyPattern(condition.patterns))}))`;
      case 'device':
      case 'mac':
      case 'helper':
      case 'process':
      case 'unit':
      case 'cgroup': {
        const fact = `facts.${condition.kind}`;
        return `(${fact} !== undefined && ${this.#value(this.#anyPattern(condition.patterns))}(${fact}))`;
      }
      case 'user': {
        const users = this.#value(new Set(condition.users));
        return `(facts.user !== undefined && (${users}.has(facts.user.id) || ${users}.has(facts.user.name)))`;
      }
      case 'p2p':
        return '(facts.p2p !== undefined && facts.p2p.holds)';
      case 'measure':
        return this.#measure(condition);
      case 'tcp.state':
        return `(facts.tcpState !== undefined && ${this.#value(condition.states)}.includes(facts.tcpState))`;
      case 'count': {
        const ask = `facts.count(${this.#value(condition.of)}, ${this.#value(condition.by)})`;
        return `(facts.count !== undefined && ${this.#compare(ask, condition.operator, condition.value)})`;
      }
      case 'time': {
        const ranges = condition.ranges.map(
          ({ first, last }) =>
            `(${number(first)} <= facts.clock.minute ${first <= last ? '&&' : '||'} facts.clock.minute <= ${number(last)})`,
        );
        return `(facts.clock !== undefined && (${ranges.join(' || ') || 'false'}))`;
      }
      case 'day':
        return `(facts.clock !== undefined && ${this.#value(condition.days)}.includes(facts.clock.day))`;
      case 'held': {
        const held = `facts.held !== undefined && facts.held(${number(condition.timer)}) >= ${number(condition.for)}`;
        return `(${held} && ${this.write(condition.term)})`;
      }
    }
  }

  #measure({ measure, direction, window = RATE_WINDOW, operator, value }: Of<'measure'>): Code {
    const inDirection = (counter: string) =>
      direction === 'total' ? `(${counter}.in + ${counter}.out)` : `${counter}.${direction === 'in' ? 'in' : 'out'}`;
    switch (measure) {
      case 'age':
      case 'idle':
        return this.#compare(`facts.${measure}`, operator, value);
      case 'bytes':
      case 'packets':
        return `(facts.${measure} !== undefined && ${this.#compare(inDirection(`facts.${measure}`), operator, value)})`;
      case 'rate': {
        const ask = `facts.rate(${this.#value(direction)}, ${number(window)})`;
        return `(facts.rate !== undefined && ${this.#compare(ask, operator, value)})`;
      }
      case 'size': {
        const mean = `${inDirection('facts.bytes')} / ${inDirection('facts.packets')}`;
        return `(facts.bytes !== undefined && facts.packets !== undefined && ${inDirection('facts.packets')} !== 0 && ${this.#compare(mean, operator, value)})`;
      }
      case 'ratio':
        return `(facts.bytes !== undefined && ${this.#compare('facts.bytes.out / facts.bytes.in', operator, value)})`;
    }
  }

  /** `!=` alone would hold for what is not known: undefined, and NaN that comes of it, are smaller or greater than no number. */
  #compare(fact: Code, operator: Operator, value: number): Code {
    if (operator !== '!=') return `(${fact} ${OPERATORS[operator]} ${number(value)})`;
    return `${this.#value(isKnownAndNot)}(${fact}, ${number(value)})`;
  }

  #inRanges(fact: Code, ranges: readonly NumberRange[], known: (fact: Code) => Code): Code {
    if (ranges.length > 3) return `(${known(fact)} && ${this.#value(this.#compiler.ranges(ranges))}(${fact}))`;
    // undefined and -1 are in no range.
    const tests = ranges.map(({ first, last }) =>
      first === last ? `${fact} === ${number(first)}` : `(${fact} >= ${number(first)} && ${fact} <= ${number(last)})`,
    );
    return `(${tests.join(' || ') || 'false'})`;
  }

  #inPrefixes(address: Code, prefixes: readonly Prefix[]): Code {
    if (prefixes.length > 3) return `${this.#value(this.#compiler.prefixes(prefixes))}(${address})`;
    return `(${prefixes.map((prefix) => inPrefix(address, prefix)).join(' || ') || 'false'})`;
  }

  #anyPattern(patterns: readonly string[]): (name: string) => boolean {
    const tests = patterns.map((pattern) => this.#compiler.pattern(pattern));
    return tests.length === 1 ? tests[0]! : (name) => tests.some((test) => test(name));
  }

  #local(name: keyof typeof LOCALS): Code {
    this.#locals.add(name);
    return name;
  }

  #value(value: unknown): Code {
    return memo(this.#names, value, () => `v${this.#values.push(value) - 1}`);
  }
}

type Of<K extends Condition['kind']> = Extract<Condition, { kind: K }>;

const OPERATORS = { '<': '<', '<=': '<=', '>': '>', '>=': '>=', '=': '===', '!=': '!==' } as const;

const isKnownAndNot = (fact: number | undefined, value: number): boolean =>
  fact !== undefined && !Number.isNaN(fact) && fact !== value;

/** A number as it may stand in code. */
function number(value: number): Code {
  return Number.isFinite(value) ? `${Number(value)}` : value > 0 ? 'Infinity' : value < 0 ? '-Infinity' : 'NaN';
}

function inPrefix(address: Code, { address: bytes, length }: Prefix): Code {
  const tests = [`${address}.length === ${bytes.length}`];
  const whole = length >> 3;
  for (let i = 0; i < whole; i++) tests.push(`${address}[${i}] === ${bytes[i]}`);
  if (length & 7) {
    const mask = (0xff00 >> (length & 7)) & 0xff;
    tests.push(`(${address}[${whole}] & ${mask}) === ${bytes[whole]! & mask}`);
  }
  return `(${tests.join(' && ')})`;
}

/** How dear a condition is to ask, roughly: a comparison of numbers is 1. */
function costOf(condition: Condition): number {
  switch (condition.kind) {
    case 'and':
    case 'or':
      return condition.terms.reduce((sum, term) => sum + costOf(term), 0);
    case 'not':
      return costOf(condition.term);
    case 'origin':
    case 'protocol':
    case 'family':
      return 1;
    case 'port':
      return 1 + condition.ranges.length;
    case 'address':
      return 3 + Math.min(condition.prefixes.length, 20);
    case 'held':
      return 30 + costOf(condition.term);
    case 'set':
    case 'count':
      return 50;
    default:
      return 10;
  }
}

/** Merged prefixes lie apart, so only the last that begins at or before the address can hold it. */
function searchPrefixes(prefixes: readonly Prefix[]): (address: Address) => boolean {
  const merged = mergePrefixes(prefixes);
  return (address) => {
    let low = 0;
    let high = merged.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareAddresses(merged[middle]!.address, address) <= 0) low = middle + 1;
      else high = middle;
    }
    return low > 0 && prefixContains(merged[low - 1]!, address);
  };
}

function searchRanges(ranges: readonly NumberRange[]): (number: number) => boolean {
  const merged = mergeRanges(ranges);
  const firsts = Int32Array.from(merged, (range) => range.first);
  const lasts = Int32Array.from(merged, (range) => range.last);
  return (number) => {
    let low = 0;
    let high = firsts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (firsts[middle]! <= number) low = middle + 1;
      else high = middle;
    }
    return low > 0 && number <= lasts[low - 1]!;
  };
}

function memo<K, V>(made: Map<K, V>, key: K, make: (key: K) => V): V {
  let value = made.get(key);
  if (value === undefined) {
    value = make(key);
    made.set(key, value);
  }
  return value;
}
