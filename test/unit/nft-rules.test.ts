import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Condition, evaluate, type Policy, parsePolicy, type Rule } from '../../src/language/index.ts';
import { DEFAULT_MARK_FIELD, type FlowFacts, PROTOCOLS, prefixContains } from '../../src/model/index.ts';
import { compileRules, formatTable, MOST_MATCHES, tableOperation } from '../../src/shape/index.ts';
import { type Conjunction, disjunctiveForm } from '../../src/shape/nft-conjunction.ts';
import { formulaOf, negate, type Place } from '../../src/shape/nft-formula.ts';
import { anyFlow, conditionOf, makePolicy } from './language-decide-arbitrary.ts';

function read(text: string): Policy {
  const { policy, diagnostics } = parsePolicy(text, 'test.gate');
  if (!policy) throw new Error(diagnostics.map((d) => `${d.range.start.line}: ${d.message}`).join('\n'));
  return policy;
}
const HEAD = `link wan { device eth0 }
queue local { share 50% }
queue new { share 10% }
queue seed { share 5% }
default local -> local  remote -> seed  new -> new
`;
const tableOf = (policy: Policy) => tableOperation(policy, [{ device: 'eth0' }]).command.input!;
/** The lines of a chain. */
const chainOf = (table: string, name: string): string[] =>
  (new RegExp(`chain ${name} \\{\\n([^}]*(?:\\{[^}]*\\}[^}]*)*?)\\n  \\}`).exec(table)?.[1] ?? '')
    .split('\n')
    .map((l) => l.trim());

const PORTED: readonly number[] = [6, 17, 33, 132, 136];

/** What nft would see: of a protocol without ports, some number in their place. */
function holds({ numbers, others }: Conjunction, place: Place, facts: FlowFacts, noise: number): boolean {
  const seen = {
    protocol: facts.protocol,
    localPort: facts.local.port ?? noise,
    remotePort: facts.remote.port ?? noise,
    dscp: facts.dscp!,
    zone: facts.zone!,
  };
  return (
    [...numbers].every(([field, ranges]) => ranges.some((r) => r.first <= seen[field] && seen[field] <= r.last)) &&
    others.every((match) => {
      if (match.kind === 'address')
        return match.prefixes.some((p) => prefixContains(p, facts[match.end].address)) !== match.negated;
      if (match.yes.includes('snat')) return facts.nat!.source !== match.negated;
      if (match.yes.includes('dnat')) return facts.nat!.destination !== match.negated;
      throw new Error(`${place.origin}: ${match.yes}`);
    })
  );
}

/** Conditions that nft has words for, but for devices: what those are is the kernel's to show. */
const isPlain = (condition: Condition): boolean => {
  if (condition.kind === 'and' || condition.kind === 'or') return condition.terms.every(isPlain);
  if (condition.kind === 'not') return isPlain(condition.term);
  return ['origin', 'protocol', 'family', 'address', 'port', 'dscp', 'zone', 'nat'].includes(condition.kind);
};

describe('conditions as conjunctions for nft', () => {
  test('hold where the condition does, negated or not, over random conditions and first packets', () => {
    let divided = 0;
    const met = [0, 0];
    fc.assert(
      fc.property(
        conditionOf(3).filter(isPlain),
        fc.array(anyFlow, { minLength: 20, maxLength: 20 }),
        fc.nat(65_535),
        (condition, flows, noise) => {
          for (const some of flows) {
            if (some.origin === 'new' || (some.local.port === undefined) !== (some.remote.port === undefined)) continue;
            const facts: FlowFacts = {
              ...some,
              protocol: some.local.port === undefined ? 1 : PORTED.includes(some.protocol) ? some.protocol : 17,
              dscp: some.dscp ?? 0,
              zone: some.zone ?? 0,
              nat: some.nat ?? { source: false, destination: false },
            };
            const place: Place = { origin: some.origin, family: facts.local.address.length === 4 ? 4 : 6 };
            const formula = formulaOf(condition, place)!;
            const expected = evaluate(condition, facts);
            for (const [form, wanted] of [
              [disjunctiveForm(formula, MOST_MATCHES), expected],
              [disjunctiveForm(negate(formula), MOST_MATCHES), !expected],
            ] as const) {
              if (!form) {
                divided++;
                continue;
              }
              expect(form.some((one) => holds(one, place, facts, noise))).toBe(wanted);
              met[wanted ? 1 : 0]!++;
            }
          }
        },
      ),
      { numRuns: 2000 },
    );
    expect(met[0]).toBeGreaterThan(5000);
    expect(met[1]).toBeGreaterThan(5000);
    expect(divided).toBeLessThan(met[0]! / 10);
  });
});

describe('the table', () => {
  test('of a policy without kernel rules makes the kernel track, and asks nothing', () => {
    expect(tableOf(read(HEAD))).toMatchInlineSnapshot(`
      "table inet headgate {
        comment "made by headgate, marks 0x7f000000"
        chain track {
          type filter hook prerouting priority mangle; policy accept;
          ct state invalid counter
        }
      }
      "
    `);
  });

  test('says for each direction and family what its rules say, set spelled once, live rules passed over', () => {
    const policy = read(`${HEAD}
      set many = { ${Array.from({ length: 10 }, (_, i) => `10.${i}.0.0/24`).join(', ')}, fd00::/8 }
      rule bulk  when bytes.in > 50MB -> seed
      rule voice when udp and origin local and remote.port in { 10000-20000, 3478 } -> new
      rule web   when origin remote and tcp and (local.port 80 or local.port 443) and not remote in many -> local
      rule lan   when remote in many -> new
      rule rest  when origin local -> local
      rule none  when tcp -> seed
    `);
    expect(tableOf(policy)).toMatchInlineSnapshot(`
      "table inet headgate {
        comment "made by headgate, marks 0x7f000000"
        set addresses-1 {
          type ipv4_addr
          flags interval
          elements = { 10.0.0.0/24, 10.1.0.0/24, 10.2.0.0/24, 10.3.0.0/24, 10.4.0.0/24, 10.5.0.0/24, 10.6.0.0/24, 10.7.0.0/24, 10.8.0.0/24, 10.9.0.0/24 }
        }
        chain track {
          type filter hook prerouting priority mangle; policy accept;
          ct state invalid counter
        }
        chain local-ipv4 {
          meta l4proto udp ct reply proto-src { 3478, 10000-20000 } ct mark set ct mark & 0x80ffffff | 0x02000000 accept comment "voice"
          ct reply ip saddr @addresses-1 ct mark set ct mark & 0x80ffffff | 0x02000000 accept comment "lan"
          accept comment "rest"
        }
        chain local-ipv6 {
          meta l4proto udp ct reply proto-src { 3478, 10000-20000 } ct mark set ct mark & 0x80ffffff | 0x02000000 accept comment "voice"
          ct reply ip6 saddr fd00::/8 ct mark set ct mark & 0x80ffffff | 0x02000000 accept comment "lan"
          accept comment "rest"
        }
        chain remote-ipv4 {
          meta l4proto tcp ct reply proto-src { 80, 443 } ct original ip saddr != @addresses-1 ct mark set ct mark & 0x80ffffff | 0x01000000 accept comment "web"
          ct original ip saddr @addresses-1 ct mark set ct mark & 0x80ffffff | 0x02000000 accept comment "lan"
          meta l4proto tcp accept comment "none"
        }
        chain remote-ipv6 {
          meta l4proto tcp ct reply proto-src { 80, 443 } ct original ip6 saddr != fd00::/8 ct mark set ct mark & 0x80ffffff | 0x01000000 accept comment "web"
          ct original ip6 saddr fd00::/8 ct mark set ct mark & 0x80ffffff | 0x02000000 accept comment "lan"
          meta l4proto tcp accept comment "none"
        }
        chain local {
          ct state new,related ct status & confirmed == 0 ct mark & 0x7f000000 == 0 meta nfproto vmap { ipv4 : goto local-ipv4, ipv6 : goto local-ipv6 }
        }
        chain remote {
          ct state new,related ct status & confirmed == 0 ct mark & 0x7f000000 == 0 meta nfproto vmap { ipv4 : goto remote-ipv4, ipv6 : goto remote-ipv6 }
        }
        chain input {
          type filter hook input priority 110; policy accept;
          iifname "eth0" goto remote
        }
        chain postrouting {
          type filter hook postrouting priority 110; policy accept;
          iifname "eth0" oifname "eth0" accept
          iifname "eth0" goto remote
          oifname "eth0" goto local
        }
      }
      "
    `);
  });

  test('ends at a rule that takes every flow of its place, and has no chain where nothing is marked', () => {
    const table = tableOf(
      read(`${HEAD}rule a when origin local -> seed\nrule b when tcp -> local\nrule c when udp -> seed`),
    );
    expect(chainOf(table, 'local-ipv4')).toEqual(['ct mark set ct mark & 0x80ffffff | 0x03000000 accept comment "a"']);
    expect(chainOf(table, 'remote-ipv6')).toEqual([
      'meta l4proto tcp ct mark set ct mark & 0x80ffffff | 0x01000000 accept comment "b"',
      'meta l4proto udp accept comment "c"',
    ]);
    expect(tableOf(read(`${HEAD}rule a when origin local -> local`))).not.toContain('priority 110');
  });

  test('gives a condition that would take too many rules a chain of its own', () => {
    // Three choices of eight each, of things that have nothing to do with each other: 512 combinations.
    const eight = (choice: (j: number) => string) => `(${Array.from({ length: 8 }, (_, j) => choice(j)).join(' or ')})`;
    const policy = read(`${HEAD}rule long when origin local
      and ${eight((j) => `remote.port ${1000 + 2 * j} and local in 10.${j}.0.0/16`)}
      and ${eight((j) => `local.port ${2000 + 2 * j} and remote in 172.${j}.0.0/16`)}
      and ${eight((j) => `dscp ${2 * j} and zone ${3 * j}`)} -> new
      rule next when udp -> seed`);
    const { chains, left } = compileRules(policy, DEFAULT_MARK_FIELD);
    expect(left).toEqual([]);
    const rulesOf = (name: string) => chains.find((chain) => chain.name === name)!.rules;
    expect(rulesOf('local-ipv4')[0]).toBe('jump local-ipv4-1');
    expect(rulesOf('local-ipv4')).toHaveLength(2);
    expect(rulesOf('local-ipv4-1').every((rule) => rule.endsWith(' goto local-ipv4-2'))).toBe(true);
    expect(rulesOf('local-ipv4-2')).toHaveLength(8);
    expect(rulesOf('local-ipv4-2')[1]).toBe(
      'ip dscp 2 ct zone 3 ct mark set ct mark & 0x80ffffff | 0x02000000 accept comment "long"',
    );
  });

  test('leaves a condition that is beyond all measure to the pipeline', () => {
    const eight = (i: number) =>
      `(${Array.from({ length: 8 }, (_, j) => `local.port ${i * 100 + 2 * j} and remote in 10.${i}.${j}.0/24`).join(' or ')})`;
    const terms = Array.from({ length: 4 }, (_, i) => `not (tcp and ${eight(i)} and dscp ${i})`);
    const policy = read(
      `${HEAD}rule worst when (zone 1 or ${terms.join(' and ')}) and (zone 2 or not ${eight(9)}) -> new`,
    );
    const { left } = compileRules(policy, DEFAULT_MARK_FIELD);
    expect(left.map(({ rule }) => rule.name)).toEqual(['worst']);
  });

  test('stays small, whatever the condition', () => {
    fc.assert(
      fc.property(fc.array(conditionOf(6).filter(isPlain), { minLength: 1, maxLength: 5 }), (conditions) => {
        const rules = conditions.map((when, i): Rule => ({ ...kernelRule, when, name: `r${i}` }));
        const { chains, left } = compileRules(makePolicy(rules), DEFAULT_MARK_FIELD);
        const leaves = rules.reduce((sum, { when }) => sum + leavesOf(when), 0);
        const lines = chains.reduce((sum, chain) => sum + chain.rules.length, 0);
        expect(lines).toBeLessThanOrEqual(4 * (leaves + 1) * MOST_MATCHES);
        expect(left.length).toBeLessThan(rules.length + 1);
      }),
      { numRuns: 300 },
    );
  });

  test('leaves to the pipeline what nft has no word for, and says so', () => {
    const rules: Rule[] = [
      { ...kernelRule, name: 'odd', when: { kind: 'device', patterns: ['*lan'] } },
      { ...kernelRule, name: 'fine', when: { kind: 'protocol', protocol: PROTOCOLS.tcp } },
    ];
    const { left, chains } = compileRules(makePolicy(rules), DEFAULT_MARK_FIELD);
    expect(left.map(({ rule, why }) => [rule.name, why])).toEqual([['odd', 'nft has no word for what it looks at']]);
    expect(chains.flatMap((chain) => chain.rules).join()).toContain('"fine"');
  });

  test('touches no bit of the mark but ours, whichever those are', () => {
    const policy = makePolicy([{ ...kernelRule, name: 'r' }]);
    const field = { mask: 0xf0, shift: 4 };
    const table = formatTable(compileRules(policy, field), ['eth0'], field);
    expect(table).toContain('ct mark & 0xf0 == 0');
    expect(table).toContain('ct mark set ct mark & 0xffffff0f | 0x00000030 accept');
  });

  test('quotes devices, also those that end in a wildcard', () => {
    const table = formatTable(compileRules(makePolicy([kernelRule]), DEFAULT_MARK_FIELD), ['ppp0', 'odd*', 'a"b']);
    expect(table).toContain('oifname { "ppp0", "odd\\*" } goto local');
  });
});

describe('a link that says conntrack create', () => {
  const table = (more: string) => {
    const policy = read(HEAD.replace(/device \w+/, `$& ${more}`));
    const datapath = { field: DEFAULT_MARK_FIELD, marksOrigin: true, leavesByNft: false };
    return tableOperation(policy, [{ device: policy.links[0]!.device!, upload: undefined }], datapath).command.input!;
  };

  test('has its flows asked by their mark alone: their entries are confirmed', () => {
    const rest = 'ct mark & 0x7f000000 == 0 meta nfproto vmap { ipv4 : goto remote-ipv4, ipv6 : goto remote-ipv6 }';
    const first = `ct state new,related ct status & confirmed == 0 ${rest}`;
    expect(chainOf(table(''), 'remote')).toEqual([first]);
    expect(chainOf(table('conntrack create'), 'remote')).toEqual([
      first,
      expect.stringMatching(/^iifname "\w+" ct state new /),
    ]);
    expect(chainOf(table('conntrack create'), 'remote')[1]).toContain(rest);
    expect(chainOf(table('conntrack create'), 'local')).toHaveLength(1);
  });
});

describe('a datapath without a program of ours', () => {
  const policy = read(`${HEAD}rule web when origin local and tcp and remote.port 443 -> seed\n`);
  const shapes = [
    { device: 'eth0', upload: { kind: 'htb', rate: 1e6, classes: [] } as const },
    { device: 'eth1', upload: undefined },
  ];
  const table = (of: { marksOrigin: boolean; leavesByNft: boolean }) =>
    tableOperation(policy, shapes, { ...of, field: DEFAULT_MARK_FIELD }).command.input!;

  test('has every flow marked, behind the rules, with the class of its origin', () => {
    const text = table({ marksOrigin: true, leavesByNft: false });
    expect(chainOf(text, 'local-ipv6')).toEqual([
      'meta l4proto tcp ct reply proto-src 443 ct mark set ct mark & 0x80ffffff | 0x03000000 accept comment "web"',
      'ct mark set ct mark & 0x80ffffff | 0x01000000 accept',
    ]);
    expect(chainOf(text, 'remote-ipv4')).toEqual(['ct mark set ct mark & 0x80ffffff | 0x03000000 accept']);
    expect(text).not.toContain('chain leave');
  });

  test('has what leaves by its shaped links classified there', () => {
    const lines = chainOf(table({ marksOrigin: true, leavesByNft: true }), 'leave');
    expect(lines.slice(0, 2)).toEqual([
      'type filter hook postrouting priority 130; policy accept;',
      'oifname != { "eth0" } accept',
    ]);
    expect(lines.slice(-4)).toEqual([
      'meta priority set ct mark & 0x7f000000 map { 0x01000000 : 7fe1:1, 0x02000000 : 7fe1:2, 0x03000000 : 7fe1:3 } accept',
      'ct direction reply meta priority set 7fe1:3 accept',
      'ct direction original meta priority set 7fe1:1 accept',
      'meta priority set 7fe1:2',
    ]);
    expect(tableOf(policy)).not.toContain('leave');
  });
});

const kernelRule: Rule = {
  name: 'r',
  when: { kind: 'and', terms: [] },
  queue: 'gamma',
  effects: [],
  tier: { kind: 'kernel' },
  file: 'test.gate',
  line: 1,
};

const leavesOf = (condition: Condition): number => {
  if (condition.kind === 'and' || condition.kind === 'or')
    return condition.terms.reduce((sum, term) => sum + leavesOf(term), 0);
  return condition.kind === 'not' ? leavesOf(condition.term) : 1;
};
