import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EXAMPLE_BASE, evaluate, type Policy, parsePolicy, takes } from '../../src/language/index.ts';
import { type FlowFacts, hasPorts, ORIGINS, parseAddress } from '../../src/model/index.ts';

// A world so small that all of its flows can be asked: what the checker says of rules is held to that, both ways.

const ADDRESSES = [
  '11.0.0.1',
  'fe80::1',
  '10.0.0.0',
  '10.0.0.1',
  '10.0.0.2',
  '10.0.0.3',
  '10.0.0.4',
  'fd00::1',
  'fd00::2',
];
/** 5 stands for all other ports, 3 bytes for all larger amounts, 2.5 and 12:03 for what lies between. */
const PORTS = [undefined, 1, 2, 3, 5];
const BYTES = [undefined, 0, 1, 2, 3];
const STATES = [undefined, 'established', 'syn_sent', 'close'] as const;
const MINUTES = [undefined, 0, 1, 2, 1439];
const DEVICES = [undefined, 'eth0', 'eth1', 'wg0', 'other'];

/** Of each class of flows that {@link leaf} can tell apart one. */
const FLOWS: readonly FlowFacts[] = ADDRESSES.flatMap((address) =>
  ORIGINS.flatMap((origin) =>
    [1, 6, 17, 47, 132].flatMap((protocol) =>
      PORTS.filter((port) => port === undefined || hasPorts(protocol)).flatMap((port) =>
        STATES.filter((state) => state === undefined || protocol === 6).flatMap((tcpState) =>
          BYTES.map((bytes): FlowFacts => {
            const here = address.includes(':') ? 'fd00::9' : '192.168.0.1';
            return {
              origin,
              protocol,
              local: { address: parseAddress(here)!, port },
              remote: { address: parseAddress(address)!, port: hasPorts(protocol) ? 9 : undefined },
              tcpState,
              ...(bytes === undefined ? {} : { bytes: { in: bytes, out: 0 } }),
            };
          }),
        ),
      ),
    ),
  ),
);

/** Some of them with what {@link wider} looks at besides. */
const WIDER: readonly FlowFacts[] = FLOWS.flatMap((flow, i) =>
  i % 7 > 0
    ? []
    : MINUTES.map((minute, j) => {
        const device = DEVICES[(i + j) % DEVICES.length];
        return {
          ...flow,
          ...(minute === undefined ? {} : { clock: { minute, day: 1 } }),
          ...(device === undefined ? {} : { device }),
        };
      }),
);

const leaf = fc.oneof(
  fc.constantFrom('origin local', 'origin remote', 'origin new', 'origin in { local, new }', 'tcp', 'udp', 'icmp'),
  fc.constantFrom('tcp.state established', 'tcp.state in { established, syn_sent }'),
  fc.constantFrom('family ipv4', 'family ipv6'),
  fc
    .constantFrom('10.0.0.0/30', '10.0.0.0/31', '10.0.0.2', '10.0.0.4', 'fd00::/64', '{ 10.0.0.1, fd00::2 }')
    .map((p) => `remote in ${p}`),
  fc.constantFrom('1', '1-2', '2-3', '3', '{ 1, 3 }', '0-65535').map((p) => `local.port in ${p}`),
  fc.tuple(fc.constantFrom('<', '<=', '>', '>=', '=', '!='), fc.nat(2)).map(([o, n]) => `bytes.in ${o} ${n}B`),
);
/** Here not all classes of flows are in the world, so only soundness can be told. */
const wider = fc.oneof(
  leaf,
  fc.constantFrom('00:00-00:02', '00:01-00:03', '23:59-00:01', '00:00-24:00').map((t) => `time in ${t}`),
  fc.constantFrom('"eth*"', 'eth0', 'eth1', '"*0"', '"*"').map((d) => `device ${d}`),
  fc.constantFrom('tcp', 'origin local', 'local.port 1').map((c) => `${c} for 10s`),
);

const conditionOf = (leaves: fc.Arbitrary<string>) =>
  fc.letrec<{ or: string; and: string; not: string }>((tie) => ({
    or: fc.array(tie('and'), { minLength: 1, maxLength: 2 }).map((terms) => terms.join(' or ')),
    and: fc.array(tie('not'), { minLength: 1, maxLength: 3 }).map((terms) => terms.join(' and ')),
    not: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaves.map((text) => (text.includes(' for ') ? `(${text})` : text)),
      tie('not').map((term) => `not ${term}`),
      tie('or').map((term) => `(${term})`),
    ),
  })).or;

const rulesOf = (conditions: readonly string[], until: readonly (string | undefined)[] = []) =>
  conditions.map((c, i) => `rule r${i} when ${c} -> seed${until[i] ? ` until ${until[i]}` : ''}\n`).join('');

function read(text: string): { policy: Policy; shadowed: ReadonlySet<string>; codes: readonly string[] } {
  const whole = EXAMPLE_BASE + text;
  const { policy, diagnostics } = parsePolicy(whole, 'test.gate');
  if (!policy) throw new Error(diagnostics.map((d) => d.message).join('\n'));
  const of = diagnostics.filter(({ code }) => code === 'shadowed-rule' || code === 'shadowed-together');
  const shadowed = new Set(of.map(({ range }) => whole.slice(range.start.offset, range.end.offset)));
  return { policy, shadowed, codes: diagnostics.map(({ code }) => code) };
}

describe('shadowing', () => {
  test('is told exactly, over all flows of a small world', () => {
    let found = 0;
    let free = 0;
    fc.assert(
      fc.property(fc.array(conditionOf(leaf), { minLength: 2, maxLength: 5 }), (conditions) => {
        const { policy, shadowed } = read(rulesOf(conditions));
        const decides = new Set<string>();
        const matches = new Set<string>();
        for (const facts of FLOWS) {
          let first = true;
          for (const { name, when } of policy.rules) {
            if (!evaluate(when, facts)) continue;
            matches.add(name);
            if (first) decides.add(name);
            first = false;
          }
        }
        for (const { name } of policy.rules) {
          // One that never matches is not shadowed, but contradicts itself.
          expect(shadowed.has(name), name).toBe(matches.has(name) && !decides.has(name));
          if (shadowed.has(name)) found++;
          else free++;
        }
      }),
      { numRuns: 300 },
    );
    expect(found).toBeGreaterThan(50);
    expect(free).toBeGreaterThan(50);
  }, 60_000);

  test('is never told of a rule that decides, with patterns, clocks, durations and until', () => {
    let found = 0;
    const until = fc.option(conditionOf(leaf), { nil: undefined, freq: 4 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(conditionOf(wider), until), { minLength: 2, maxLength: 4 }),
        fc.constantFrom(0, 5000, 20_000),
        (some, held) => {
          // One is said again, narrowed, so that there are shadows.
          const rules = [...some, [`(${some[0]![0]}) and tcp`, undefined] as const];
          const { policy, shadowed } = read(
            rulesOf(
              rules.map(([c]) => c),
              rules.map(([, u]) => u),
            ),
          );
          found += shadowed.size;
          for (const flow of WIDER) {
            const facts = { ...flow, held: () => held };
            const decider = policy.rules.find((rule) => takes(rule, facts));
            expect(shadowed).not.toContain(decider?.name);
          }
        },
      ),
      { numRuns: 80 },
    );
    expect(found).toBeGreaterThan(20);
  }, 60_000);

  test.each([
    ['ports within ports', 'remote.port in 400-500', 'remote.port in { 443, 450-460 }', true],
    ['ports that only overlap', 'remote.port in 400-500', 'remote.port in 450-501', false],
    ['prefixes within prefixes', 'remote in 10.0.0.0/8', 'remote in { 10.1.0.0/16, 10.9.9.9 }', true],
    ['another family', 'remote in ::/0', 'remote in 10.0.0.0/8', false],
    ['both halves of everything', 'remote in { 0.0.0.0/1, 128.0.0.0/1, ::/0 }', 'tcp', true],
    ['more bytes', 'bytes.in > 1MB', 'bytes.in > 1MiB', true],
    ['fewer bytes', 'bytes.in > 1MiB', 'bytes.in > 1MB', false],
    ['a rate over another window', 'rate.in over 10s > 1mbit', 'rate.in > 2mbit', false],
    ['a longer time', 'tcp for 10s', 'tcp for 1m', true],
    ['a shorter time', 'tcp for 1m', 'tcp for 10s', false],
    ['what has held holds', 'tcp', 'tcp for 1m', true],
    ['a time of day', 'time in 22:00-06:00', 'time in 23:00-00:30', true],
    ['days', 'day in fri-mon', 'day sun', true],
    ['a name below a pattern', 'domain "*.example.org"', 'domain www.example.org', true],
    ['a name beside a pattern', 'domain "*.example.org"', 'domain example.org', false],
    ['a pattern below a pattern', 'device "eth*"', 'device "eth1*"', true],
    ['a company', 'count(peers by local.port) > 5', 'count(peers by local.port) >= 6', true],
    ['a smaller company', 'count(peers by local.port) > 5', 'count(peers by local.port) > 4', false],
    ['users', 'user in { 1000, alice }', 'user alice', true],
    ['a state', 'tcp.state in { established, close }', 'tcp.state established', true],
    ['any translation', 'nat any', 'nat source', true],
    ['less than not knowing', 'not bytes.in > 1MB', 'bytes.in < 1kB', true],
  ])('%s: %s above %s', (_, above, below, expected) => {
    expect(read(rulesOf([above, below])).shadowed.has('r1')).toBe(expected);
  });

  test.each([
    ['tcp -> local until tcp', ['never-holds']],
    ['bytes.in > 5MB -> local until bytes.in > 1MB', ['never-holds']],
    ['bytes.in > 5MB -> local until bytes.in > 9MB', []],
    ['tcp -> local until rate.in < 1mbit for 10s', []],
  ])('a rule that its until lets go at once: %s', (rule, expected) => {
    const { diagnostics } = parsePolicy(`${EXAMPLE_BASE}rule a when ${rule}\n`, 'test.gate');
    expect(diagnostics.map(({ code }) => code)).toEqual(expected);
  });

  test('several together, and a rule with until leaves what it would let go', () => {
    const text =
      'rule a when tcp -> seed\nrule b when udp and origin remote -> seed\nrule c when udp and not origin remote -> local\nrule d when tcp or udp -> seed\n';
    const { diagnostics } = parsePolicy(EXAMPLE_BASE + text, 'test.gate');
    expect(diagnostics).toMatchObject([
      { code: 'shadowed-together', hint: 'they are a on line 6, b on line 7, c on line 8' },
    ]);
    expect(read('rule a when tcp -> seed until idle > 5s\nrule b when tcp -> local').shadowed.size).toBe(0);
    expect(read('rule a when tcp -> seed until udp\nrule b when tcp -> local').shadowed).toEqual(new Set(['b']));
    expect(read('rule a when tcp -> police 1mbit\nrule b when tcp -> local').shadowed.size).toBe(0);
  });

  test('is found among thousands of rules', () => {
    const lines = Array.from(
      { length: 3000 },
      (_, i) => `remote in 10.${i >> 8}.${i & 255}.0/24 and remote.port in ${i}-${i + 9}`,
    );
    const { shadowed } = read(
      rulesOf([...lines, 'tcp and remote in 10.3.7.9 and remote.port 780', 'remote in 10.3.7.9 and remote.port 785']),
    );
    expect(shadowed).toEqual(new Set(['r3000']));
  });
});

describe('contradictions', () => {
  test('are told of `and` exactly where no flow of a small world meets all terms', () => {
    let found = 0;
    fc.assert(
      fc.property(fc.array(leaf, { minLength: 2, maxLength: 4 }), (leaves) => {
        const terms = leaves.filter((text) => !text.includes('< 0B'));
        fc.pre(terms.length > 1);
        const { policy, codes } = read(rulesOf([terms.join(' and ')]));
        const ever = FLOWS.some((facts) => evaluate(policy.rules[0]!.when, facts));
        expect(codes.includes('contradiction')).toBe(!ever);
        if (!ever) found++;
      }),
      { numRuns: 500 },
    );
    expect(found).toBeGreaterThan(50);
  });

  test('on several lines are quoted on one', () => {
    const { diagnostics } = parsePolicy(
      `${EXAMPLE_BASE}rule a when icmp\n  and not (remote.port 80 or # web\n    not remote.port 80) -> seed\n`,
      'test.gate',
    );
    expect(diagnostics.map(({ message }) => message)).toEqual([
      '"icmp and not (remote.port 80 or not remote.port 80)" never holds',
    ]);
    const pair = parsePolicy(`${EXAMPLE_BASE}rule a when tcp and not\n # no\n tcp -> seed\n`, 'test.gate');
    expect(pair.diagnostics.map(({ message }) => message)).toEqual(['this never holds: "tcp" excludes "not tcp"']);
  });

  test.each([
    ['not (tcp or not tcp)'],
    ['not (remote.port 80 or not remote.port 80)'],
    ['tcp and not (tcp or udp) or udp and not (udp or tcp)'],
  ])('alone: %s', (text) => {
    const { codes } = read(rulesOf([text]));
    expect(codes.some((code) => code === 'never-holds' || code === 'contradiction')).toBe(true);
  });

  test('a rule that never matches is told of, over all flows of a small world', () => {
    let found = 0;
    fc.assert(
      fc.property(conditionOf(leaf), (condition) => {
        const { policy, codes } = read(rulesOf([condition]));
        const ever = FLOWS.some((facts) => evaluate(policy.rules[0]!.when, facts));
        if (ever) return;
        found++;
        expect(codes.includes('contradiction') || codes.includes('never-holds')).toBe(true);
      }),
      { numRuns: 2000 },
    );
    expect(found).toBeGreaterThan(50);
  }, 60_000);

  test.each([
    ['remote in 10.0.0.0/8 and family ipv6'],
    ['local in 10.0.0.0/8 and remote in fd00::/8'],
    ['bytes.in > 5MB and bytes.in < 1MB'],
    ['local.port < 1024 and local.port in 6881-6889'],
    ['time in 01:00-07:00 and time in 08:00-09:00'],
    ['device eth0 and device eth1'],
    ['tcp.state established and tcp.state close'],
    ['origin remote and (origin local or origin new)'],
    ['tcp and not tcp'],
    ['not (tcp or udp) and udp'],
    ['day in sat-sun and day in mon-fri'],
    ['icmp and remote.port 80'],
    ['icmpv6 and not local.port > 1023 and local.port 22'],
    ['udp and tcp.state established'],
    ['not tcp and tcp.state established'],
    ['family ipv4 and remote in fd00::/8'],
    ['(icmp or gre) and (remote.port 80 or local.port 80)'],
  ])('%s', (text) => expect(read(rulesOf([text])).codes).toContain('contradiction'));

  test.each([
    ['remote in 10.0.0.0/8 and remote in 10.1.0.0/16'],
    ['domain "*.a.org" and domain "*.b.org"'],
    ['user alice and user 1000'],
    ['rate.in > 5mbit and rate.in over 1m < 1mbit'],
    ['device "eth*" and device eth0'],
    ['sctp and remote.port 80'],
    ['icmp and not remote.port 80'],
    ['tcp and tcp.state established'],
    ['not udp and remote.port 80'],
  ])('none in: %s', (text) => expect(read(rulesOf([text])).codes).toEqual([]));
});
