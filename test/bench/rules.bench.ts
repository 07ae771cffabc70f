// How long a decision takes, in ns a flow, on flows that match nothing: generated code against the tree walker in the
// same run. Shared machines only ever make it slower, so the best of several rounds counts.

import { describe, expect, test } from 'vitest';
import {
  type Condition,
  createDecide,
  decideByWalking,
  evaluate,
  type Policy,
  type Rule,
} from '../../src/language/index.ts';
import { type FlowFacts, maskAddress, type Origin } from '../../src/model/index.ts';

/** The limits, ns a flow, by number of rules. */
const LIMITS: readonly (readonly [rules: number, ns: number])[] = [
  [50, 150],
  [500, 400],
  [5000, 4000],
];
const ROUNDS = 15;
const FLOWS = 1000;

/** Numbers below `n`, the same ones in each run (Numerical Recipes' generator). */
function random(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** Rules as policies have them: ports, ranges, prefixes, origins, and one in ten that looks at counters. */
function conditionOf(pick: (n: number) => number): Condition {
  const origin: Condition = { kind: 'origin', origin: pick(2) ? 'local' : 'remote' };
  const protocol: Condition = { kind: 'protocol', protocol: pick(2) ? 6 : 17 };
  const first = 1024 + pick(60_000);
  const port = (end: 'local' | 'remote', width: number): Condition => ({
    kind: 'port',
    end,
    ranges: [{ first, last: first + pick(width) }],
  });
  const length = 16 + pick(9);
  const address = maskAddress(Uint8Array.of(1 + pick(220), pick(256), pick(256), 0), length);
  const remote: Condition = { kind: 'address', end: 'remote', prefixes: [{ address, length }] };
  const measure = (m: 'bytes' | 'age', value: number): Condition => ({
    kind: 'measure',
    measure: m,
    direction: 'in',
    operator: '>',
    value,
  });
  const and = (...terms: Condition[]): Condition => ({ kind: 'and', terms });
  switch (pick(10)) {
    case 0:
    case 1:
    case 2:
      return and(protocol, origin, port('remote', 20));
    case 3:
    case 4:
      return and(origin, port('local', 5));
    case 5:
    case 6:
      return and(protocol, remote);
    case 7:
      return and(remote, { kind: 'not', term: port('remote', 100) });
    case 8:
      return { kind: 'or', terms: [and(protocol, port('local', 3)), and(origin, port('remote', 3))] };
    default:
      return and(origin, measure('bytes', 50e6 + pick(1e6)), measure('age', 30_000));
  }
}

function policyOf(count: number): Policy {
  const pick = random(count);
  const rules = Array.from(
    { length: count },
    (_, i): Rule => ({
      name: `r${i}`,
      when: conditionOf(pick),
      queue: 'b',
      effects: [],
      tier: { kind: 'live', because: [] },
      file: 'bench.gate',
      line: i,
    }),
  );
  return {
    file: 'bench.gate',
    links: [],
    queues: [],
    sets: [],
    rules,
    defaults: { local: 'a', remote: 'a', new: 'a' },
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
  };
}

/** Flows that no rule matches, each an object of its own, as a flow table has them. */
function unmatched(policy: Policy): FlowFacts[] {
  const pick = random(7);
  const flows: FlowFacts[] = [];
  const origins: readonly Origin[] = ['local', 'remote', 'new'];
  for (let tries = 0; flows.length < FLOWS && tries < 100 * FLOWS; tries++) {
    const facts: FlowFacts = {
      origin: origins[pick(3)]!,
      protocol: [6, 17, 17, 6, 1][pick(5)]!,
      local: { address: Uint8Array.of(192, 168, pick(4), pick(256)), port: 1024 + pick(64_000) },
      remote: { address: Uint8Array.of(1 + pick(220), pick(256), pick(256), pick(256)), port: pick(65_536) },
      bytes: { in: pick(1e6), out: pick(1e6) },
      age: pick(60_000),
    };
    if (!policy.rules.some((rule) => evaluate(rule.when, facts))) flows.push(facts);
  }
  return flows;
}

/** The best round, ns a flow. */
function time(
  decide: (facts: FlowFacts) => { readonly rule?: unknown },
  flows: readonly FlowFacts[],
  repeat: number,
): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    let matched = 0;
    const start = performance.now();
    for (let i = 0; i < repeat; i++) for (const facts of flows) if (decide(facts).rule !== undefined) matched++;
    best = Math.min(best, ((performance.now() - start) * 1e6) / (repeat * flows.length));
    expect(matched).toBe(0);
  }
  return best;
}

describe('a decision on a flow that matches nothing', () => {
  const rows: string[] = [];
  test.each(LIMITS)('%i rules: at most %i ns', (count, limit) => {
    const policy = policyOf(count);
    const flows = unmatched(policy);
    expect(policy.rules.length).toBe(count);
    expect(flows.length).toBe(FLOWS);
    const start = performance.now();
    const decide = createDecide(policy);
    const compiling = performance.now() - start;
    const generated = time(decide, flows, 20);
    const some = flows.slice(0, Math.max(10, Math.round(50_000 / count)));
    const walked = time((facts) => decideByWalking(policy, facts), some, 1);
    rows.push(
      `${String(count).padStart(5)} rules: ${generated.toFixed(0).padStart(5)} ns generated, ${walked.toFixed(0).padStart(7)} ns walked, ${(walked / generated).toFixed(0).padStart(4)} times as fast; at most ${limit} ns; compiled in ${compiling.toFixed(0)} ms`,
    );
    if (rows.length === LIMITS.length) process.stdout.write(`\n${rows.join('\n')}\n\n`);
    expect(generated).toBeLessThanOrEqual(limit);
  });
});
