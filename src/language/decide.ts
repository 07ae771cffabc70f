import { type Address, type FlowFacts, type Prefix, prefixContains } from '../model/index.ts';
import type { Condition, Decision, Policy, PortRange } from './policy.ts';
import { compareAddresses, mergePrefixes, mergeRanges } from './sets.ts';

type Test = (facts: FlowFacts) => boolean;

/**
 * Compiles a policy to the function that says where a flow goes: to the queue of the first rule that matches,
 * or of its origin's default. Decisions are shared and frozen; deciding allocates nothing.
 */
export function createDecide(policy: Policy): (facts: FlowFacts) => Decision {
  const compile = createCompile();
  const tests = policy.rules.map((rule) => compile(rule.when));
  const decisions = policy.rules.map((rule): Decision => Object.freeze({ queue: rule.queue, rule }));
  const defaults = {
    local: Object.freeze({ queue: policy.defaults.local }),
    remote: Object.freeze({ queue: policy.defaults.remote }),
    new: Object.freeze({ queue: policy.defaults.new }),
  };
  return (facts) => {
    for (let i = 0; i < tests.length; i++) if (tests[i]!(facts)) return decisions[i]!;
    return defaults[facts.origin];
  };
}

function createCompile(): (condition: Condition) => Test {
  // Rules that name the same set share one search.
  const prefixSearches = new Map<readonly Prefix[], (address: Address) => boolean>();
  const rangeSearches = new Map<readonly PortRange[], (port: number) => boolean>();
  const compile = (condition: Condition): Test => {
    switch (condition.kind) {
      case 'and': {
        const terms = condition.terms.map(compile);
        return (facts) => {
          for (let i = 0; i < terms.length; i++) if (!terms[i]!(facts)) return false;
          return true;
        };
      }
      case 'or': {
        const terms = condition.terms.map(compile);
        return (facts) => {
          for (let i = 0; i < terms.length; i++) if (terms[i]!(facts)) return true;
          return false;
        };
      }
      case 'not': {
        const term = compile(condition.term);
        return (facts) => !term(facts);
      }
      case 'origin': {
        const { origin } = condition;
        return (facts) => facts.origin === origin;
      }
      case 'protocol': {
        const { protocol } = condition;
        return (facts) => facts.protocol === protocol;
      }
      case 'family': {
        const bytes = condition.family === 4 ? 4 : 16;
        return (facts) => facts.local.address.length === bytes;
      }
      case 'address': {
        const { end } = condition;
        const contains = memo(prefixSearches, condition.prefixes, compilePrefixes);
        return (facts) => contains(facts[end].address);
      }
      case 'port': {
        const { end } = condition;
        const contains = memo(rangeSearches, condition.ranges, compileRanges);
        return (facts) => {
          const { port } = facts[end];
          return port !== undefined && contains(port);
        };
      }
    }
  };
  return compile;
}

function memo<K, V>(made: Map<K, V>, key: K, make: (key: K) => V): V {
  let value = made.get(key);
  if (value === undefined) {
    value = make(key);
    made.set(key, value);
  }
  return value;
}

/** Merged prefixes lie apart, so only the last that begins at or before the address can hold it. */
function compilePrefixes(prefixes: readonly Prefix[]): (address: Address) => boolean {
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

function compileRanges(ranges: readonly PortRange[]): (port: number) => boolean {
  const merged = mergeRanges(ranges);
  const firsts = Uint16Array.from(merged, (range) => range.first);
  const lasts = Uint16Array.from(merged, (range) => range.last);
  return (port) => {
    let low = 0;
    let high = firsts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (firsts[middle]! <= port) low = middle + 1;
      else high = middle;
    }
    return low > 0 && port <= lasts[low - 1]!;
  };
}
