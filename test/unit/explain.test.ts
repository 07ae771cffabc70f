import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Condition,
  createDecide,
  decideByWalking,
  evaluate,
  explainFlow,
  formatExplanation,
  type Need,
  type Policy,
  parseFlow,
  parsePolicy,
  type Rule,
  type Term,
} from '../../src/language/index.ts';
import type { FlowFacts } from '../../src/model/index.ts';
import { anyFlow, makePolicy, policyOf } from './language-decide-arbitrary.ts';

const POLICY = `link wan { }
queue fast { share 50% }
queue slow { share 10% }
queue rest { share 10% }
set lan = { 192.168.0.0/16, fd00::/8 }
rule look   when udp -> mirror to look
rule voice  when udp and remote.port in 10000-20000 -> fast
rule swarm  when origin remote and local.port in { 6881-6889, 51413 } -> slow
rule bulk   when bytes.in > 50MB and not (remote in lan or age < 30s) -> slow until rate.in < 1mbit
rule web    when tcp and remote.port 443 -> rest
default local -> fast  remote -> slow  new -> rest
`;

function read(text: string): Policy {
  const { policy, diagnostics } = parsePolicy(text, 'my.gate');
  if (!policy) throw new Error(diagnostics.map((d) => d.message).join('\n'));
  return policy;
}
const policy = read(POLICY);

function flow(text: string): FlowFacts {
  const { facts, diagnostics } = parseFlow(text, '--flow', policy);
  if (!facts) throw new Error(diagnostics.map((d) => d.message).join('\n'));
  return facts;
}

const say = ({ text, value, holds }: Term) => `${text}: ${value ?? '?'}: ${holds}`;
const ruleOf = (facts: string, name: string) => {
  const found = explainFlow(policy, flow(facts)).rules.find(({ rule }) => rule.name === name)!;
  return { verdict: found.verdict, because: found.because.map(say), change: found.change?.map(say) };
};

describe('explaining a flow', () => {
  test('says of a rule that fails what it looked at, what was there, and nothing that was right', () => {
    expect(ruleOf('tcp 1.1.1.1:443 -> 192.168.1.2:80 origin remote', 'swarm')).toEqual({
      verdict: 'fails',
      because: ['local.port in { 6881-6889, 51413 }: 80: false'],
      change: ['local.port in { 6881-6889, 51413 }: 80: false'],
    });
    expect(ruleOf('tcp 192.168.1.2:80 -> 10.0.0.1:443 origin local bytes.in 60MB age 10s', 'bulk').because).toEqual([
      'age < 30s: 10s: true',
    ]);
    expect(ruleOf('tcp 192.168.1.2:80 -> 10.0.0.1:443 origin local', 'bulk').because).toEqual([
      'bytes.in > 50MB: ?: false',
    ]);
  });

  test('says of a rule that decides what held', () => {
    const facts = 'tcp 192.168.1.2:40000 -> 1.1.1.1:443 origin local bytes.in 60MB age 40s';
    expect(ruleOf(facts, 'bulk')).toEqual({
      verdict: 'decides',
      because: [
        'bytes.in > 50MB: 60MB: true',
        'remote in { 192.168.0.0/16, fd00::/8 }: 1.1.1.1: false',
        'age < 30s: 40s: false',
        'rate.in < 1mbit: ?: false',
      ],
      change: ['rate.in < 1mbit: ?: false'],
    });
    expect(ruleOf(facts, 'web').verdict).toBe('takes');
    const { rules, decision } = explainFlow(policy, flow(facts));
    expect(rules.map(({ behind }) => behind.map(({ name }) => name))).toEqual([[], [], [], [], ['bulk']]);
    expect(decision).toEqual({ queue: 'slow', rule: policy.rules[3] });
  });

  test('reads well', () => {
    expect(
      formatExplanation(explainFlow(policy, flow('udp [fd00::2]:40000 -> [fd00::1]:443 origin local'))),
    ).toMatchInlineSnapshot(`
      "udp [fd00::2]:40000 -> [fd00::1]:443 origin local

         look   line 6   takes    udp; it has no queue to give
         voice  line 7   fails    needs remote.port in 10000-20000 (it is 443)
         swarm  line 8   fails    needs origin remote (it is local), local.port in { 6881-6889, 51413 } (it is 40000)
         bulk   line 9   fails    needs bytes.in > 50MB (not known), not remote in { 192.168.0.0/16, fd00::/8 } (it is fd00::1)
         web    line 10  fails    needs tcp (it is udp)

      queue fast, the default of origin local: no rule takes the flow"
    `);
    expect(
      formatExplanation(
        explainFlow(policy, flow('tcp 192.168.1.2:4 -> 1.1.1.1:443 origin local bytes.in 60MB age 40s')),
      ),
    ).toMatchInlineSnapshot(`
      "tcp 192.168.1.2:4 -> 1.1.1.1:443 origin local

         look   line 6   fails    needs udp (it is tcp)
         voice  line 7   fails    needs udp (it is tcp), remote.port in 10000-20000 (it is 443)
         swarm  line 8   fails    needs origin remote (it is local), local.port in { 6881-6889, 51413 } (it is 4)
      -> bulk   line 9   decides  bytes.in > 50MB (it is 60MB), not remote in { 192.168.0.0/16, fd00::/8 } (it is 1.1.1.1), not age < 30s (it is 40s), not rate.in < 1mbit (not known)
         web    line 10  takes    tcp, remote.port in 443 (it is 443); too late, behind bulk

      queue slow, by rule bulk
      it would leave that with one of: not bytes.in > 50MB (it is 60MB), remote in { 192.168.0.0/16, fd00::/8 } (it is 1.1.1.1), age < 30s (it is 40s), rate.in < 1mbit (not known); then rule web comes next: rest"
    `);
  });

  test.each([
    ['bytes > 1MB', true],
    ['bytes > 1MB and remote.port 80', false],
    ['remote.port 80 or bytes > 1MB and origin local', true],
    ['(remote.port 80 or age > 5s) and (local.port 9 or tcp and local.port 8)', false],
    ['rate > 1mbit for 10s', true],
  ])('says that "%s" may take it of which not all is known: %s', (when, may) => {
    const text = POLICY.replace(
      'rule look ',
      `rule first when tcp -> fast\nrule open when ${when} -> rest\nrule look `,
    );
    const said = formatExplanation(explainFlow(read(text), flow('tcp 10.0.0.1:4 -> 1.1.1.1:5 origin local')));
    expect(said.endsWith('; then no other rule takes it, unless open, bulk: not all is known')).toBe(may);
    expect(said.endsWith('; then no other rule takes it, unless bulk: not all is known')).toBe(!may);
  });

  test('names every branch of an "or" that would do', () => {
    const chosen = read(
      POLICY.replace(
        'rule look ',
        `rule any when tcp and (remote.port 22 or local.port 22 or not (origin local or remote.port 443) and age > 5s) -> rest
rule look `,
      ),
    );
    const lines = formatExplanation(explainFlow(chosen, flow('udp 192.168.1.2:4 -> 1.1.1.1:443 origin local'))).split(
      '\n',
    );
    expect(lines[2]).toBe(
      '   any    line 6   fails    needs tcp (it is udp); and one of: remote.port in 22 (it is 443), local.port in 22 (it is 4), not origin local (it is local) and not remote.port in 443 (it is 443) and age > 5s (not known)',
    );
    expect(lines[3]).toBe('   look   line 7   takes    udp; it has no queue to give');
  });

  test('does not spell out big sets', () => {
    const prefixes = Array.from({ length: 1000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/25`);
    const big = read(POLICY.replace('192.168.0.0/16', prefixes.join(', ')));
    const text = formatExplanation(
      explainFlow(big, flow('tcp 192.168.1.2:4 -> 10.0.0.1:443 origin local bytes.in 60MB age 40s')),
    );
    expect(text).toContain(', and 993 more }');
    expect(text.length).toBeLessThan(2000);
  });

  test('agrees with deciding, and with every change that it proposes, over random policies and flows', () => {
    let failing = 0;
    fc.assert(
      fc.property(
        policyOf({ min: 1, max: 8 }),
        fc.array(anyFlow, { minLength: 10, maxLength: 10 }),
        (random, flows) => {
          let current: Rule | undefined;
          const decide = createDecide(random);
          for (const facts of flows) {
            const explanation = explainFlow(random, facts, current);
            expect(explanation.decision).toEqual(decideByWalking(random, facts, current));
            expect(explanation.rules.map(({ rule }) => rule)).toEqual(random.rules);
            for (const { rule, verdict, because, change, behind } of explanation.rules) {
              if (verdict === 'decides') expect(rule).toBe(explanation.decision.rule);
              // Nothing that is proposed is so already, and no rule is without a reason that has one.
              if (verdict === 'fails') {
                failing++;
                if (change) expect(because).toEqual(change);
                if (change) expect(change.length).toBeGreaterThan(0);
              }
              for (const one of behind) expect(one.queue).toBeDefined();
            }
            expect(() => formatExplanation(explanation)).not.toThrow();
            current = decide(facts, current).rule;
          }
        },
      ),
      { numRuns: 200 },
    );
    expect(failing).toBeGreaterThan(1000);
  });

  test('proposes the fewest changes there are, by trying all of them', () => {
    // Six facts that know nothing of each other, each looked at once.
    const FACTS = ['device', 'mac', 'helper', 'process', 'unit', 'cgroup'] as const;
    type Tree = 'leaf' | { readonly kind: 'and' | 'or' | 'not'; readonly terms: readonly Tree[] };
    const tree = fc.letrec<{ tree: Tree }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.constant('leaf' as const),
        fc.record({
          kind: fc.constantFrom('and' as const, 'or' as const),
          terms: fc.array(tie('tree'), { minLength: 1, maxLength: 3 }),
        }),
        fc.record({ kind: fc.constant('not' as const), terms: fc.tuple(tie('tree')) }),
      ),
    })).tree;
    const conditionOf = (shape: Tree, next: { leaf: number }): Condition => {
      if (shape === 'leaf') return { kind: FACTS[next.leaf++ % FACTS.length]!, patterns: ['yes'] };
      const terms = shape.terms.map((term) => conditionOf(term, next));
      return shape.kind === 'not' ? { kind: 'not', term: terms[0]! } : { kind: shape.kind, terms };
    };
    const factsOf = (bits: number): FlowFacts => ({
      ...flow('tcp 10.0.0.1:1 -> 1.1.1.1:1 origin local'),
      ...Object.fromEntries(FACTS.flatMap((fact, i) => ((bits >> i) & 1 ? [[fact, 'yes']] : []))),
    });
    const bitsOf = (terms: readonly Term[]) =>
      terms.reduce((bits, { subject }) => bits | (1 << FACTS.indexOf(subject as never)), 0);
    const sizeOf = (bits: number) => bits.toString(2).replaceAll('0', '').length;
    let changed = 0;
    fc.assert(
      fc.property(tree, fc.nat(63), (shape, bits) => {
        const next = { leaf: 0 };
        const when = conditionOf(shape, next);
        fc.pre(next.leaf <= FACTS.length);
        const holds = (b: number) => evaluate(when, factsOf(b));
        const { because, change, needs } = explainFlow(makePolicy([ruleOfCondition(when)]), factsOf(bits)).rules[0]!;
        const fewest = Math.min(
          ...Array.from({ length: 64 }, (_, flip) => (holds(bits ^ flip) === holds(bits) ? 7 : sizeOf(flip))),
        );
        expect(sizeOf(bitsOf(change!))).toBe(fewest);
        expect(holds(bits ^ bitsOf(change!))).toBe(!holds(bits));
        // Each way that is named leads there.
        const ways = (all: readonly Need[]): readonly number[] =>
          all.reduce<readonly number[]>(
            (before, need) => {
              const its = 'oneOf' in need ? need.oneOf.flatMap(ways) : [bitsOf([need])];
              return before.flatMap((bits0) => its.map((more) => bits0 | more));
            },
            [0],
          );
        for (const way of ways(needs!)) expect(holds(bits ^ way)).toBe(!holds(bits));
        expect(Math.min(...ways(needs!).map(sizeOf))).toBe(fewest);
        // What is given as the reason of a match is enough for it, whatever the rest.
        if (holds(bits))
          for (let other = 0; other < 64; other++)
            expect(holds((bits & bitsOf(because)) | (other & ~bitsOf(because)))).toBe(true);
        changed++;
      }),
      { numRuns: 300 },
    );
    expect(changed).toBeGreaterThan(200);
  });
});

const ruleOfCondition = (when: Condition): Rule => ({
  name: 'r',
  when,
  queue: 'alpha',
  effects: [],
  tier: { kind: 'live', because: [] },
  file: 'test.gate',
  line: 1,
});
