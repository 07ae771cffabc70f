import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addressKey,
  BoundsFinder,
  DIMENSIONS,
  type Dimension,
  NO_PORT,
  originKey,
} from '../../src/language/decide-bounds.ts';
import {
  type Condition,
  createDecide,
  createEffects,
  decideByWalking,
  evaluate,
  type Policy,
  type Rule,
  setContents,
  takes,
} from '../../src/language/index.ts';
import type { FlowFacts } from '../../src/model/index.ts';
import { anyFlow, conditionOf, makePolicy, policyOf } from './language-decide-arbitrary.ts';

/** Holds the generated code to the tree walker over random policies and flows; returns how many flows met a rule. */
function compare(policies: fc.Arbitrary<Policy>, runs: number, flows: number): { met: number; missed: number } {
  let met = 0;
  let missed = 0;
  fc.assert(
    fc.property(policies, fc.array(anyFlow, { minLength: flows, maxLength: flows, size: 'max' }), (policy, list) => {
      const decide = createDecide(policy);
      let current: Rule | undefined;
      for (const facts of list) {
        const decision = decide(facts, current);
        expect(decision).toEqual(decideByWalking(policy, facts, current));
        current = decision.rule;
        if (current) met++;
        else missed++;
      }
    }),
    { numRuns: runs },
  );
  return { met, missed };
}

/** Few flows meet none of many random rules; rules that hardly match anything let flows fall through to the last. */
const narrow = (policy: Policy): Policy => ({
  ...policy,
  rules: policy.rules.map((rule, i) => ({
    ...rule,
    when: {
      kind: 'and',
      terms: [
        rule.when,
        { kind: 'port', end: 'remote', ranges: [{ first: (i * 37) % 90, last: (i * 37) % 90 }] },
        { kind: 'protocol', protocol: [1, 6, 17, 58, 132, 255][i % 6]! },
      ],
    },
  })),
});

describe('generated code and tree walker', () => {
  test('decide alike, with a handful of rules', () => {
    const { met, missed } = compare(policyOf({ min: 0, max: 6 }), 1000, 20);
    expect(met).toBeGreaterThan(5000);
    expect(missed).toBeGreaterThan(1000);
  });

  test('decide alike, with 50 rules', () => {
    expect(compare(policyOf({ min: 50, max: 50 }), 100, 100).met).toBeGreaterThan(5000);
    expect(compare(policyOf({ min: 50, max: 50 }).map(narrow), 100, 100).missed).toBeGreaterThan(1000);
  });

  test('decide alike, with 2,000 rules and so an index', () => {
    const { met, missed } = compare(policyOf({ min: 2000, max: 2000 }).map(narrow), 5, 1000);
    expect(met).toBeGreaterThan(200);
    expect(missed).toBeGreaterThan(200);
  });
});

test('a flow that makes a condition hold has what its bounds ask for, in each dimension', () => {
  let held = 0;
  let bounded = 0;
  fc.assert(
    fc.property(conditionOf(3), fc.array(anyFlow, { minLength: 20, maxLength: 20 }), (condition, flows) => {
      const bounds = new BoundsFinder().find(condition);
      for (const facts of flows) {
        if (!evaluate(condition, facts)) continue;
        held++;
        expect(bounds).toBeDefined();
        const keys: Readonly<Record<Dimension, number>> = {
          origin: originKey(facts.origin),
          protocol: facts.protocol,
          local: addressKey(facts.local.address),
          remote: addressKey(facts.remote.address),
          localPort: facts.local.port ?? NO_PORT,
          remotePort: facts.remote.port ?? NO_PORT,
        };
        for (const dimension of DIMENSIONS) {
          const ranges = bounds![dimension];
          if (!ranges) continue;
          bounded++;
          expect(ranges.some(({ first, last }) => first <= keys[dimension] && keys[dimension] <= last)).toBe(true);
        }
      }
    }),
    { numRuns: 3000 },
  );
  expect(held).toBeGreaterThan(10_000);
  expect(bounded).toBeGreaterThan(3000);
});

test('an index by addresses alone decides alike, with sets that are longer than a bound', () => {
  const prefixes = Array.from({ length: 100 }, (_, i) => ({ address: Uint8Array.of(10, i, 0, 0), length: 24 }));
  const rules = Array.from({ length: 300 }, (_, i) =>
    rule(`r${i}`, {
      queue: 'beta',
      when: {
        kind: 'and',
        terms: [
          {
            kind: 'address',
            end: 'remote',
            prefixes:
              i % 50 === 0 ? prefixes.slice(i / 10) : [{ address: Uint8Array.of(11, i & 255, i >> 8, 0), length: 24 }],
          },
          {
            kind: 'not',
            term: {
              kind: 'address',
              end: 'local',
              prefixes: [{ address: Uint8Array.of(192, 168, i & 3, 0), length: 24 }],
            },
          },
        ],
      },
    }),
  );
  const policy = makePolicy(rules);
  const decide = createDecide(policy);
  let met = 0;
  for (let i = 0; i < 4000; i++) {
    const facts: FlowFacts = {
      origin: 'local',
      protocol: 6,
      local: { address: Uint8Array.of(192, 168, (i >> 1) & 3, 7) },
      remote: { address: Uint8Array.of(10 + (i & 1), (i >> 1) % 256, i >> 11, i & 255) },
    };
    const decision = decide(facts);
    expect(decision).toEqual(decideByWalking(policy, facts));
    if (decision.rule) met++;
  }
  expect(met).toBeGreaterThan(300);
  expect(met).toBeLessThan(3500);
});

const flow: FlowFacts = {
  origin: 'local',
  protocol: 6,
  local: { address: Uint8Array.of(10, 0, 0, 2), port: 40000 },
  remote: { address: Uint8Array.of(1, 1, 1, 1), port: 443 },
};
function rule(name: string, parts: Partial<Rule>): Rule {
  return {
    name,
    when: { kind: 'and', terms: [] },
    effects: [],
    tier: { kind: 'kernel' },
    file: 'test.gate',
    line: 1,
    ...parts,
  };
}
const both = (condition: Condition, facts: FlowFacts): boolean => {
  const walked = evaluate(condition, facts);
  const policy = makePolicy([rule('r', { when: condition, queue: 'beta' })]);
  expect(createDecide(policy)(facts).rule !== undefined).toBe(walked);
  return walked;
};
const measure = (parts: Partial<Extract<Condition, { kind: 'measure' }>>): Condition => ({
  kind: 'measure',
  measure: 'bytes',
  direction: 'total',
  operator: '>',
  value: 0,
  ...parts,
});

describe('meaning', () => {
  test('what is not known makes every comparison false, and its not true', () => {
    const unknown: Condition[] = [
      ...(['<', '<=', '>', '>=', '=', '!='] as const).flatMap((operator) => [
        ...(['bytes', 'packets', 'rate', 'age', 'idle', 'size', 'ratio'] as const).map((m) =>
          measure({ measure: m, operator }),
        ),
        { kind: 'count', of: 'flows', by: 'local', operator, value: 0 } as const,
      ]),
      { kind: 'dscp', ranges: [{ first: 0, last: 63 }] },
      { kind: 'zone', ranges: [{ first: 0, last: 65535 }] },
      { kind: 'nat', nat: 'any' },
      { kind: 'domain', patterns: ['*'] },
      { kind: 'unit', patterns: ['*'] },
      { kind: 'user', users: [0, 'root'] },
      { kind: 'tcp.state', states: ['established'] },
      { kind: 'time', ranges: [{ first: 0, last: 1439 }] },
      { kind: 'day', days: [0, 1, 2, 3, 4, 5, 6] },
      { kind: 'set', end: 'remote', set: 'busy' },
      { kind: 'held', term: { kind: 'and', terms: [] }, for: 0, timer: 0 },
    ];
    for (const condition of unknown) {
      expect(both(condition, flow)).toBe(false);
      expect(both({ kind: 'not', term: condition }, flow)).toBe(true);
    }
    const portless = { ...flow, protocol: 1, local: { address: flow.local.address } };
    const anyPort: Condition = { kind: 'port', end: 'local', ranges: [{ first: 0, last: 65535 }] };
    expect(both(anyPort, portless)).toBe(false);
    expect(both({ kind: 'not', term: anyPort }, portless)).toBe(true);
  });

  test('a wildcard stands for any run of characters; a domain’s holds below it, not for itself', () => {
    const matches = (pattern: string, domain: string) =>
      both({ kind: 'domain', patterns: [pattern] }, { ...flow, domains: ['other', domain] });
    expect(matches('*.example.org', 'www.example.org')).toBe(true);
    expect(matches('*.example.org', 'a.b.example.org')).toBe(true);
    expect(matches('*.example.org', 'example.org')).toBe(false);
    expect(matches('*.example.org', 'badexample.org')).toBe(false);
    expect(matches('*.example.org', 'www.example.org.evil')).toBe(false);
    expect(matches('example.org', 'example.org')).toBe(true);
    expect(matches('cdn*.net', 'cdn.net')).toBe(true);
    expect(matches('a*a', 'a')).toBe(false);
    expect(matches('a.c', 'abc')).toBe(false);
  });

  test('a hard pattern takes no longer than a soft one', () => {
    const condition: Condition = { kind: 'process', patterns: [`${'*a'.repeat(100)}b`] };
    expect(both(condition, { ...flow, process: 'a'.repeat(10_000) })).toBe(false);
  });

  test('ratio is out divided by in; size is bytes a packet', () => {
    const counted = { ...flow, bytes: { in: 100, out: 300 }, packets: { in: 2, out: 3 } };
    const is = (m: 'ratio' | 'size', direction: 'in' | 'out' | 'total', value: number) =>
      both(measure({ measure: m, direction, operator: '=', value }), counted);
    expect(is('ratio', 'total', 3)).toBe(true);
    expect(is('size', 'in', 50)).toBe(true);
    expect(is('size', 'out', 100)).toBe(true);
    expect(is('size', 'total', 80)).toBe(true);
    const nothing = { ...flow, bytes: { in: 0, out: 0 }, packets: { in: 0, out: 0 } };
    for (const m of ['ratio', 'size'] as const)
      for (const operator of ['<', '>=', '!='] as const)
        expect(both(measure({ measure: m, operator }), nothing)).toBe(false);
    const arriving = { ...flow, bytes: { in: 100 }, packets: { in: 2 } };
    expect(both(measure({ direction: 'in', operator: '=', value: 100 }), arriving)).toBe(true);
    expect(both(measure({ measure: 'size', direction: 'in', operator: '=', value: 50 }), arriving)).toBe(true);
    for (const operator of ['<', '<=', '>', '>=', '=', '!='] as const)
      for (const m of ['bytes', 'packets', 'size', 'ratio'] as const)
        for (const direction of ['out', 'total'] as const)
          expect(both(measure({ measure: m, direction, operator, value: 100 }), arriving)).toBe(false);
    const answered = { ...flow, bytes: { in: 0, out: 1 } };
    expect(both(measure({ measure: 'ratio', value: 1e9 }), answered)).toBe(true);
  });

  test('a time may run over midnight', () => {
    const at = (minute: number, first: number, last: number) =>
      both({ kind: 'time', ranges: [{ first, last }] }, { ...flow, clock: { minute, day: 0 } });
    expect([at(59, 60, 120), at(60, 60, 120), at(120, 60, 120), at(121, 60, 120)]).toEqual([false, true, true, false]);
    expect([at(1380, 1380, 60), at(0, 1380, 60), at(60, 1380, 60), at(61, 1380, 60)]).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });

  test('what is held must hold now and have held that long', () => {
    const held = (milliseconds: number, protocol = 6) =>
      both(
        { kind: 'held', term: { kind: 'protocol', protocol: 6 }, for: 1000, timer: 7 },
        { ...flow, protocol, held: (timer) => (timer === 7 ? milliseconds : 0) },
      );
    expect([held(999), held(1000), held(2000, 17)]).toEqual([false, true, false]);
  });

  test('a dynamic set holds what it began with and what was added', () => {
    const inBusy: Condition = { kind: 'set', end: 'remote', set: 'busy' };
    const policy = makePolicy(
      [rule('r', { when: inBusy, queue: 'beta' })],
      [{ address: Uint8Array.of(1, 1, 1, 0), length: 24 }],
    );
    const decide = createDecide(policy);
    const other = { ...flow, remote: { address: Uint8Array.of(9, 9, 9, 9) } };
    for (const [facts, met] of [
      [flow, true],
      [other, false],
      [{ ...other, inSet: (set: string) => set === 'busy' }, true],
      [{ ...other, inSet: (set: string) => set === 'known' }, false],
    ] as const) {
      expect(decide(facts).rule !== undefined).toBe(met);
      expect(evaluate(inBusy, facts, setContents(policy))).toBe(met);
    }
  });
});

describe('until', () => {
  const above = rule('above', { when: { kind: 'protocol', protocol: 17 }, queue: 'gamma' });
  const latched = rule('latched', {
    when: measure({ measure: 'rate', value: 10 }),
    until: measure({ measure: 'rate', operator: '<', value: 1 }),
    queue: 'beta',
  });
  const below = rule('below', { when: { kind: 'origin', origin: 'local' }, queue: 'alpha' });
  const decide = createDecide(makePolicy([above, latched, below]));
  const at = (rate: number | undefined, current?: Rule, protocol = 6) => {
    const facts = { ...flow, protocol, rate: () => rate };
    const { rule: by } = decide(facts, current);
    expect(by).toBe(decideByWalking(makePolicy([above, latched, below]), facts, current).rule);
    return by?.name;
  };

  test('holds a flow between the two conditions, and lets it go when the second holds', () => {
    expect(at(5)).toBe('below');
    expect(at(20)).toBe('latched');
    expect(at(5, latched)).toBe('latched');
    expect(at(undefined, latched)).toBe('latched');
    expect(at(0, latched)).toBe('below');
    expect(at(20, below)).toBe('latched');
  });

  test('gives way to a rule above', () => {
    expect(at(5, latched, 17)).toBe('above');
  });

  test('counts also where the condition goes on holding', () => {
    const bulk = rule('bulk', {
      when: measure({ value: 50 }),
      until: measure({ measure: 'rate', operator: '<', value: 1 }),
      queue: 'beta',
    });
    const leaving = { ...flow, bytes: { in: 100, out: 0 }, rate: () => 0 };
    expect(createDecide(makePolicy([bulk]))(leaving, bulk).rule).toBeUndefined();
    expect(takes(bulk, leaving, bulk)).toBe(false);
  });
});

describe('effects', () => {
  const mirror = [{ kind: 'mirror', tap: 'look' }] as const;
  const tcp = rule('tcp', { when: { kind: 'protocol', protocol: 6 }, effects: mirror });
  const udp = rule('udp', { when: { kind: 'protocol', protocol: 17 }, effects: mirror });
  const web = rule('web', {
    when: { kind: 'port', end: 'remote', ranges: [{ first: 443, last: 443 }] },
    queue: 'beta',
    effects: mirror,
  });
  const late = rule('late', { effects: mirror });
  const policy = makePolicy([tcp, udp, web, late]);
  const namesOf = (facts: FlowFacts) =>
    createEffects(policy)(facts, createDecide(policy)(facts)).map((one) => one.name);

  test('are those of the rules that take the flow, down to the deciding one', () => {
    expect(namesOf(flow)).toEqual(['tcp', 'web']);
    expect(namesOf({ ...flow, protocol: 17 })).toEqual(['udp', 'web']);
    expect(namesOf({ ...flow, remote: { address: flow.remote.address, port: 80 } })).toEqual(['tcp', 'late']);
  });

  test('are none, without a new list, where no rule has any', () => {
    const without = makePolicy([rule('r', { queue: 'beta' })]);
    const find = createEffects(without);
    expect(find(flow, createDecide(without)(flow))).toBe(find(flow, { queue: 'alpha' }));
  });
});
