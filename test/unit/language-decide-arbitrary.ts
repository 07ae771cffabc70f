import fc from 'fast-check';
import type { Condition, NumberRange, Operator, Policy, Rule } from '../../src/language/index.ts';
import {
  type Address,
  COUNT_KEYS,
  type FlowFacts,
  maskAddress,
  ORIGINS,
  type Prefix,
  TCP_STATES,
} from '../../src/model/index.ts';

// Conditions of every kind, and flows of every completeness, over small domains: so that they meet often.

const byte = fc.constantFrom(0, 1, 127, 128, 255);
const ipv4: fc.Arbitrary<Address> = fc.tuple(fc.constantFrom(10, 192), byte, byte, byte).map((b) => Uint8Array.from(b));
/** They differ within the first 48 bits, between them and the 64th, and behind. */
const ipv6: fc.Arbitrary<Address> = fc
  .tuple(fc.constantFrom(0xfd, 0x20), byte, byte, byte, byte)
  .map(([a, b, c, d, e]) => Uint8Array.from([a, 0, 0, 0, 0, b, 0, c, 0, 0, 0, 0, 0, 0, d, e]));
const prefix: fc.Arbitrary<Prefix> = fc.tuple(fc.oneof(ipv4, ipv6), fc.nat(1000)).map(([address, n]) => {
  const length = n % (address.length * 8 + 1);
  return { address: maskAddress(address, length), length };
});

const rangeOf = (values: fc.Arbitrary<number>): fc.Arbitrary<NumberRange> =>
  fc.tuple(values, values).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const rangesOf = (values: fc.Arbitrary<number>) => fc.array(rangeOf(values), { minLength: 1, maxLength: 6 });
/** Ranges may run backwards: over midnight. */
const clockRanges = fc.array(
  fc.tuple(fc.nat(1439), fc.nat(1439)).map(([first, last]) => ({ first, last })),
  { minLength: 1, maxLength: 3 },
);

const port = fc.constantFrom(0, 1, 22, 23, 79, 80, 81, 443, 6881, 6889, 51413, 65534, 65535);
const protocol = fc.constantFrom(1, 6, 17, 58, 132, 255);
const end = fc.constantFrom('local' as const, 'remote' as const);
const small = fc.integer({ min: 0, max: 4 });
const operator = fc.constantFrom<Operator>('<', '<=', '>', '>=', '=', '!=');
const direction = fc.constantFrom('in' as const, 'out' as const, 'total' as const);
const SETS = ['busy', 'known'] as const;
const name = fc.constantFrom('', 'a', 'ab', 'ba', 'aba', 'abab', 'b.a', 'a.b.a');
const pattern = fc.constantFrom('*', 'a', 'a*', '*a', '*b*', 'a*a', '*.a', '*a*b*', 'a**', 'ab*ba');
const users = fc.array(fc.oneof(fc.constantFrom(0, 1, 1000), fc.constantFrom('root', 'me')), {
  minLength: 1,
  maxLength: 3,
});

const leaf: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({ kind: fc.constant('origin' as const), origin: fc.constantFrom(...ORIGINS) }),
  fc.record({ kind: fc.constant('protocol' as const), protocol }),
  fc.record({ kind: fc.constant('family' as const), family: fc.constantFrom(4 as const, 6 as const) }),
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('address' as const),
      end,
      prefixes: fc.array(prefix, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('port' as const), end, ranges: rangesOf(port) }),
  },
  fc.record({ kind: fc.constant('set' as const), end, set: fc.constantFrom(...SETS) }),
  fc.record({ kind: fc.constantFrom('dscp' as const, 'zone' as const), ranges: rangesOf(small) }),
  fc.record({
    kind: fc.constant('nat' as const),
    nat: fc.constantFrom('source' as const, 'destination' as const, 'any' as const),
  }),
  fc.record({
    kind: fc.constantFrom('device', 'mac', 'helper', 'process', 'unit', 'cgroup', 'domain'),
    patterns: fc.array(pattern, { minLength: 1, maxLength: 2 }),
  }) as fc.Arbitrary<Condition>,
  fc.record({ kind: fc.constant('user' as const), users }),
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('measure' as const),
      measure: fc.constantFrom('bytes', 'packets', 'rate', 'age', 'idle', 'size', 'ratio'),
      direction,
      operator,
      value: fc.constantFrom(0, 0.5, 1, 2, 3),
      window: fc.constantFrom(undefined, 1000),
    }) as fc.Arbitrary<Condition>,
  },
  fc.record({
    kind: fc.constant('tcp.state' as const),
    states: fc.array(fc.constantFrom(...TCP_STATES.slice(0, 3)), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    kind: fc.constant('count' as const),
    of: fc.constantFrom('flows' as const, 'peers' as const),
    by: fc.constantFrom(...COUNT_KEYS),
    operator,
    value: small,
  }),
  fc.record({ kind: fc.constant('p2p' as const) }),
  fc.record({ kind: fc.constant('time' as const), ranges: clockRanges }),
  fc.record({ kind: fc.constant('day' as const), days: fc.array(fc.nat(6), { minLength: 1, maxLength: 4 }) }),
);

/** `breadth`: most terms of one `and` or `or`. */
export const conditionOf = (breadth: number): fc.Arbitrary<Condition> =>
  fc.letrec<{ condition: Condition }>((tie) => ({
    condition: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaf,
      fc.record({
        kind: fc.constantFrom('and' as const, 'or' as const),
        terms: fc.array(tie('condition'), { maxLength: breadth }),
      }),
      fc.record({ kind: fc.constant('not' as const), term: tie('condition') }),
      fc.record({
        kind: fc.constant('held' as const),
        term: tie('condition'),
        for: fc.constantFrom(0, 1, 2),
        timer: fc.nat(3),
      }),
    ),
  })).condition;

const QUEUES = ['alpha', 'beta', 'gamma'];

const rule: fc.Arbitrary<Pick<Rule, 'when' | 'queue' | 'effects' | 'until'>> = fc.record({
  when: conditionOf(3),
  queue: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...QUEUES) }, fc.constant(undefined)),
  until: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, leaf),
  effects: fc.oneof(fc.constant([]), fc.constant([{ kind: 'mirror' as const, tap: 'look' }])),
});

export const policyOf = (count: { min: number; max: number }): fc.Arbitrary<Policy> =>
  fc
    .record({
      rules: fc.array(rule, { minLength: count.min, maxLength: count.max, size: 'max' }),
      contents: fc.array(prefix, { maxLength: 2 }),
    })
    .map(({ rules, contents }) =>
      makePolicy(
        rules.map((one, i) => ({
          ...one,
          name: `r${i}`,
          tier: { kind: 'live', because: [] },
          file: 'test.gate',
          line: i + 1,
        })),
        contents,
      ),
    );

export const makePolicy = (rules: readonly Rule[], contents: readonly Prefix[] = []): Policy => ({
  file: 'test.gate',
  links: [],
  queues: QUEUES.map((queue) => ({ name: queue, share: 0.1, ceiling: 1 })),
  sets: SETS.map((set, i) => ({ name: set, prefixes: i === 0 ? contents : [] })),
  rules,
  defaults: { local: 'alpha', remote: 'beta', new: 'gamma' },
  expects: [],
  needs: {
    events: [],
    counters: false,
    timers: false,
    dns: false,
    sockets: false,
    p2p: false,
    packets: false,
    clock: false,
    company: false,
  },
});

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 3 });
const counter = fc.record({ in: maybe(small), out: maybe(small) });
/** Answers of a function by a number that the question gives. */
const answers = fc.array(maybe(small), { minLength: 12, maxLength: 12 });

export const anyFlow: fc.Arbitrary<FlowFacts> = fc
  .tuple(fc.boolean(), maybe(answers), maybe(answers), maybe(answers), maybe(fc.nat(15)))
  .chain(([six, rates, counts, held, members]) => {
    const anyEnd = fc.record({ address: six ? ipv6 : ipv4, port: maybe(port) });
    return fc.record({
      origin: fc.constantFrom(...ORIGINS),
      protocol,
      local: anyEnd,
      remote: anyEnd,
      device: maybe(name),
      mac: maybe(name),
      dscp: maybe(small),
      zone: maybe(small),
      nat: maybe(fc.record({ source: fc.boolean(), destination: fc.boolean() })),
      helper: maybe(name),
      user: maybe(fc.record({ id: fc.constantFrom(0, 1, 1000), name: maybe(fc.constantFrom('root', 'me')) })),
      process: maybe(name),
      unit: maybe(name),
      cgroup: maybe(name),
      domains: maybe(fc.array(name, { maxLength: 3 })),
      p2p: maybe(fc.record({ holds: fc.boolean(), evidence: fc.constant([]) })),
      bytes: maybe(counter),
      packets: maybe(counter),
      age: maybe(small),
      idle: maybe(small),
      rate: fc.constant(
        rates &&
          ((asked: string, window: number) =>
            rates[['in', 'out', 'total'].indexOf(asked) * 2 + (window === 5000 ? 1 : 0)]),
      ),
      tcpState: maybe(fc.constantFrom(...TCP_STATES.slice(0, 4))),
      count: fc.constant(
        counts &&
          ((of: string, by: (typeof COUNT_KEYS)[number]) =>
            counts[COUNT_KEYS.indexOf(by) * 2 + (of === 'flows' ? 1 : 0)]),
      ),
      clock: maybe(fc.record({ minute: fc.nat(1439), day: fc.nat(6) })),
      inSet: fc.constant(
        members === undefined
          ? undefined
          : (set: string, address: Address) =>
              ((members >> ((address.at(-1)! & 1) * 2 + (set === 'busy' ? 1 : 0))) & 1) === 1,
      ),
      held: fc.constant(held && ((timer: number) => held[timer] ?? 0)),
    });
  });
