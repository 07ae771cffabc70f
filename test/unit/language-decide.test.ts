import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createDecide, evaluate, formatCondition, type Policy, parsePolicy } from '../../src/language/index.ts';
import { parseAddress } from '../../src/model/index.ts';
import { condition, flow, type Sample } from './language-arbitrary.ts';

const QUEUES = ['alpha', 'beta', 'local'];
const HEAD = `link wan { }
${QUEUES.map((name) => `queue ${name} { share 10% }`).join('\n')}
default local -> alpha  remote -> beta  new -> local
`;

function read(text: string): Policy {
  const { policy, diagnostics } = parsePolicy(text, 'test.gate');
  if (!policy) throw new Error(diagnostics.map((d) => `${d.range.start.line}: ${d.message}`).join('\n'));
  return policy;
}

const policyText = (samples: readonly Sample[]) =>
  HEAD + samples.map(({ text }, i) => `rule r${i} when ${text} -> ${QUEUES[i % 3]}\n`).join('');

describe('deciding', () => {
  test('agrees with a brute-force reading of the text, over random policies and flows', () => {
    let matched = 0;
    let fellThrough = 0;
    fc.assert(
      fc.property(
        fc.array(condition, { maxLength: 6 }),
        fc.array(flow, { minLength: 20, maxLength: 20 }),
        (samples, flows) => {
          const decide = createDecide(read(policyText(samples)));
          for (const facts of flows) {
            const index = samples.findIndex((sample) => sample.holds(facts));
            const decision = decide(facts);
            expect(decision.rule?.name).toBe(index < 0 ? undefined : `r${index}`);
            const byOrigin = { local: 'alpha', remote: 'beta', new: 'local' }[facts.origin];
            expect(decision.queue).toBe(index < 0 ? byOrigin : QUEUES[index % 3]);
            if (index < 0) fellThrough++;
            else matched++;
          }
        },
      ),
      { numRuns: 500 },
    );
    // A generator whose flows meet no rule would prove nothing.
    expect(matched).toBeGreaterThan(1000);
    expect(fellThrough).toBeGreaterThan(500);
  });

  test('a condition written out and read again is the same condition', () => {
    fc.assert(
      fc.property(condition, ({ text }) => {
        const when = read(policyText([{ text, holds: () => true }])).rules[0]!.when;
        const again = read(`${HEAD}rule r when ${formatCondition(when)} -> alpha`).rules[0]!.when;
        expect(again).toEqual(when);
      }),
      { numRuns: 500 },
    );
  });

  test('a rule said to be shadowed never decides, and a condition holds as its tree says', () => {
    let shadowed = 0;
    fc.assert(
      fc.property(
        fc.array(condition, { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(3), { minLength: 1, maxLength: 3 }),
        fc.array(flow, { minLength: 10, maxLength: 10 }),
        (samples, repeats, flows) => {
          // Conditions said again, alone and narrowed, so that there are shadows.
          const more = repeats.map((n, i): Sample => {
            const sample = samples[n % samples.length]!;
            if (i % 2 === 0) return sample;
            return { text: `(${sample.text}) and tcp`, holds: (f) => sample.holds(f) && f.protocol === 6 };
          });
          const all = [...samples, ...more];
          const text = policyText(all);
          const { policy, diagnostics } = parsePolicy(text, 'test.gate');
          const decide = createDecide(policy!);
          const names = diagnostics
            .filter((d) => d.code === 'shadowed-rule')
            .map((d) => text.slice(d.range.start.offset, d.range.end.offset));
          shadowed += names.length;
          for (const facts of flows) {
            expect(names).not.toContain(decide(facts).rule?.name);
            for (const [i, rule] of policy!.rules.entries())
              expect(evaluate(rule.when, facts)).toBe(all[i]!.holds(facts));
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(shadowed).toBeGreaterThan(100);
  });

  test('gives the same frozen object for the same decision', () => {
    const policy = read(`${HEAD}rule web when remote.port 443 -> beta`);
    const decide = createDecide(policy);
    const facts = (port: number) => ({
      origin: 'local' as const,
      protocol: 6,
      local: { address: parseAddress('192.168.1.2')!, port: 40000 },
      remote: { address: parseAddress('1.1.1.1')!, port },
    });
    expect(decide(facts(443))).toBe(decide(facts(443)));
    expect(decide(facts(443)).rule).toBe(policy.rules[0]);
    expect(decide(facts(80))).toBe(decide(facts(81)));
    expect(Object.isFrozen(decide(facts(443))) && Object.isFrozen(decide(facts(80)))).toBe(true);
  });

  test('10,000 rules on one set of 20,000 prefixes compile at once', () => {
    const prefixes = Array.from({ length: 20_000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`);
    const rules = Array.from(
      { length: 10_000 },
      (_, i) => `rule r${i} when tcp and local.port ${i} and remote in many -> beta`,
    );
    const policy = read(`${HEAD}set many = { ${prefixes.join(', ')} }\n${rules.join('\n')}`);
    const start = performance.now();
    createDecide(policy);
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test('a set of 20,000 prefixes decides as a search through all of them', () => {
    const prefixes = Array.from({ length: 20_000 }, (_, i) => `10.${i >> 8}.${i & 255}.${(i * 7) & 0xf8}/29`);
    const policy = read(`${HEAD}set many = { ${prefixes.join(', ')} }\nrule r when remote in many -> beta`);
    const decide = createDecide(policy);
    let hits = 0;
    for (let i = 0; i < 20_000; i++) {
      const [a, b, c] = [i >> 8, i & 255, (i * 13) & 255];
      const address = Uint8Array.of(10, a, b, c);
      const hit = (c & 0xf8) === ((i * 7) & 0xf8);
      if (hit) hits++;
      const facts = { origin: 'local' as const, protocol: 6, local: { address }, remote: { address } };
      expect(decide(facts).queue).toBe(hit ? 'beta' : 'alpha');
    }
    expect(hits).toBeGreaterThan(100);
  });
});
