// What carries `mirror` and `police`: nft text, as values. test/kernel/rules.test.ts has it drop and copy real packets.

import { describe, expect, it } from 'vitest';
import { type Policy, parsePolicy } from '../../src/language/index.ts';
import { effectOperations, tapsOf, wantedCapabilities } from '../../src/shape/index.ts';

function policyOf(rules: string): Policy {
  const text = `link wan { device eth0 }\nqueue a { share 50% }\nqueue b { share 10% }\n${rules}\ndefault local -> a  remote -> b  new -> a\n`;
  const { policy, diagnostics } = parsePolicy(text, 'test.gate');
  expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([]);
  return policy!;
}

const operations = (rules: string) => effectOperations(policyOf(rules), [{ device: 'eth0' }, { device: 'ppp0' }]);
const ruleset = (rules: string): string => operations(rules).at(-1)!.command.input!;
/** The lines of a chain of the ruleset. */
const chain = (text: string, name: string): string[] =>
  (new RegExp(`chain ${name} \\{\\n((?: {4}.*\\n)*) {2}\\}`).exec(text)?.[1] ?? 'none').trim().split(/\s*\n\s*/);

describe('effects', () => {
  it('are nothing where no rule has one', () => {
    expect(operations('rule x when udp -> b')).toEqual([]);
    expect(wantedCapabilities(policyOf('rule x when udp -> b'))).toEqual([]);
  });

  it('of a live rule reach the flows that stand in its sets, and leave the others to the kernel rules', () => {
    const [tap, tables] = operations('rule x when bytes > 1MB -> mirror to tap0');
    expect(tap!.about).toBe('add tap tap0');
    const text = tables!.command.input!;
    expect(text).toContain(
      'set mirror-in-1-flows4 {\n    type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service',
    );
    expect(text).toContain(
      'ip saddr . ip daddr . meta l4proto . th sport . th dport @mirror-in-1-flows4 jump mirror-in-1',
    );
    expect(text).toContain('@mirror-out-1-flows6 jump mirror-out-1');
  });

  it('take one bucket a direction for all flows of a rule, however its condition is written out', () => {
    const text = ruleset('rule x when udp and remote.port 9 or tcp and local.port 7 -> police 100kbit');
    expect(text.match(/limit police-\S+ \{\n +rate over \d+ bytes\/second burst \d+ bytes/g)).toEqual([
      expect.stringContaining('limit police-1-in {\n    rate over 12500 bytes/second burst 65536 bytes'),
      expect.stringContaining('limit police-1-out {'),
    ]);
    expect(chain(text, 'police-in-1')).toEqual(['counter limit name "police-1-in" counter drop comment "x"']);
    // One chain a condition: it is left by the first that matches, so no packet counts twice.
    expect(chain(text, 'police-in-remote-4-1')).toEqual([
      'meta l4proto udp ct original proto-src 9 goto police-in-1',
      'meta l4proto tcp ct reply proto-src 7 goto police-in-1',
    ]);
    expect(chain(text, 'police-out-local-6-1')[0]).toBe('meta l4proto udp ct reply proto-src 9 goto police-out-1');
  });

  it('ask what arrives and leaves over a link, by who opened it', () => {
    const text = ruleset('rule x when origin remote -> police 1mbit');
    expect(chain(text, 'police-in')).toEqual([
      'type filter hook prerouting priority -90; policy accept;',
      'iifname != { "eth0", "ppp0" } accept',
      'meta nfproto ipv4 ct direction reply goto police-in-local-4',
      'meta nfproto ipv6 ct direction reply goto police-in-local-6',
      'meta nfproto ipv4 ct direction original goto police-in-remote-4',
      'meta nfproto ipv6 ct direction original goto police-in-remote-6',
    ]);
    expect(chain(text, 'police-in-remote-4-1')).toEqual(['goto police-in-1']);
    // Never of a flow that this side opened.
    expect(chain(text, 'police-in-local-4')).toEqual(['']);
  });

  it('stop at the rule that decides, and go on behind one that does not', () => {
    const text = ruleset(
      'rule mine when udp -> a\nrule one when tcp and remote.port 9 -> b, mirror to tap0\nrule two when remote.port 7 -> mirror to tap1',
    );
    expect(chain(text, 'mirror-in-remote-4')).toEqual([
      'meta l4proto udp accept',
      'jump mirror-in-remote-4-2',
      'jump mirror-in-remote-4-3',
    ]);
    expect(chain(text, 'mirror-in-2')).toEqual(['dup to 127.0.0.1 device "tap0" comment "one"', 'accept']);
    expect(chain(text, 'mirror-in-3')).toEqual(['dup to 127.0.0.1 device "tap1" comment "two"']);
    expect(text).toContain('table ip6 headgate {\n  comment "made by headgate"\n');
    expect(text).toContain('dup to fe80::1 device "tap1"');
  });

  it('make each tap once, before anything copies to it', () => {
    const rules = 'rule one when udp -> mirror to tap0\nrule two when tcp -> mirror to tap0, police 1mbit';
    expect(operations(rules).map(({ about }) => about)).toEqual([
      'add tap tap0',
      'add nft chains for police and mirror',
    ]);
    expect(tapsOf(policyOf(rules))).toEqual(['tap0']);
    expect(wantedCapabilities(policyOf(rules)).map(({ capability }) => capability)).toEqual(['nft limit', 'nft dup']);
  });

  it.each([
    ['the first packet alone shows it', 'dscp ef'],
    ['nft has no word for it', 'mac aa:bb:cc:dd:ee:ff'],
  ])('refuse a condition where %s', (_, condition) => {
    expect(() => operations(`rule x when ${condition} -> police 1mbit`)).toThrow(
      /^this kernel cannot do police of rule x \(line 4\)/,
    );
  });
});
