import fc from 'fast-check';
import type { PortRange } from '../../src/language/index.ts';
import {
  type Address,
  type End,
  type FlowFacts,
  formatAddress,
  formatPrefix,
  hasPorts,
  maskAddress,
  ORIGINS,
  type Prefix,
} from '../../src/model/index.ts';

// Small domains, so that flows and conditions meet often: few addresses that differ in few bits, few ports.

const byte = fc.constantFrom(0, 1, 2, 127, 128, 255);
const ipv4: fc.Arbitrary<Address> = fc.tuple(fc.constantFrom(10, 192), byte, byte, byte).map((b) => Uint8Array.from(b));
const ipv6: fc.Arbitrary<Address> = fc
  .tuple(fc.constantFrom(0xfd, 0x20), byte, byte, byte)
  .map(([a, b, c, d]) => Uint8Array.from([a, b, 0, 0, 0, 0, 0, 0, c, 0, 0, 0, 0, 0, 0, d]));
const port = fc.constantFrom(0, 1, 22, 23, 79, 80, 81, 443, 6881, 6889, 51413, 65534, 65535);
const protocol = fc.constantFrom(1, 6, 17, 47, 50, 58, 132, 99, 255);

const prefix: fc.Arbitrary<Prefix> = fc.tuple(fc.oneof(ipv4, ipv6), fc.nat(1000)).map(([address, n]) => {
  const length = n % (address.length * 8 + 1);
  return { address: maskAddress(address, length), length };
});
const range: fc.Arbitrary<PortRange> = fc
  .tuple(port, port)
  .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));

export const flow: fc.Arbitrary<FlowFacts> = fc
  .tuple(fc.constantFrom(...ORIGINS), protocol, fc.boolean(), fc.boolean())
  .chain(([origin, number, six, ports]) => {
    const end: fc.Arbitrary<End> = fc.record({
      address: six ? ipv6 : ipv4,
      port: ports && hasPorts(number) ? port : fc.constant(undefined),
    });
    return fc.record({ origin: fc.constant(origin), protocol: fc.constant(number), local: end, remote: end });
  });

/** A condition as text, and what it means, said in the plainest way: this is the oracle. */
export interface Sample {
  readonly text: string;
  readonly holds: (facts: FlowFacts) => boolean;
}

const inPrefix = ({ address, length }: Prefix, at: Address): boolean => {
  const bits = (a: Address) => [...a].map((b) => b.toString(2).padStart(8, '0')).join('');
  return address.length === at.length && bits(at).startsWith(bits(address).slice(0, length));
};
const inRange = ({ first, last }: PortRange, at: number | undefined) => at !== undefined && at >= first && at <= last;

const spellPrefix = (p: Prefix) => (p.length === p.address.length * 8 ? formatAddress(p.address) : formatPrefix(p));
const spellRange = (r: PortRange) => (r.first === r.last ? `${r.first}` : `${r.first}-${r.last}`);
const list = (values: readonly string[], braces: boolean) =>
  values.length === 1 && !braces ? values[0]! : `{ ${values.join(', ')} }`;

const end = fc.constantFrom('local' as const, 'remote' as const);
const inOperator = fc.constantFrom('in', 'not in', '=', '!=', '');
const turn = (operator: string, held: boolean) => (operator === 'not in' || operator === '!=' ? !held : held);

const PROTOCOL_WORDS: readonly (readonly [string, number])[] = [
  ['tcp', 6],
  ['udp', 17],
  ['icmp', 1],
  ['icmpv6', 58],
  ['sctp', 132],
  ['gre', 47],
  ['esp', 50],
];

const leaf: fc.Arbitrary<Sample> = fc.oneof(
  fc
    .constantFrom(...ORIGINS)
    .map((origin) => ({ text: `origin ${origin}`, holds: (f: FlowFacts) => f.origin === origin })),
  fc.constantFrom(...PROTOCOL_WORDS).map(([text, n]) => ({ text, holds: (f: FlowFacts) => f.protocol === n })),
  protocol.map((n) => ({ text: `protocol ${n}`, holds: (f: FlowFacts) => f.protocol === n })),
  fc.constantFrom(4, 6).map((n) => ({
    text: `family ipv${n}`,
    holds: (f: FlowFacts) => f.local.address.length === (n === 4 ? 4 : 16),
  })),
  fc
    .tuple(end, inOperator, fc.array(prefix, { minLength: 1, maxLength: 5 }), fc.boolean())
    .map(([e, operator, prefixes, braces]) => ({
      text: `${e} ${operator} ${list(prefixes.map(spellPrefix), braces)}`,
      holds: (f: FlowFacts) =>
        turn(
          operator,
          prefixes.some((p) => inPrefix(p, f[e].address)),
        ),
    })),
  fc
    .tuple(end, inOperator, fc.array(range, { minLength: 1, maxLength: 5 }), fc.boolean())
    .map(([e, operator, ranges, braces]) => ({
      text: `${e}.port ${operator} ${list(ranges.map(spellRange), braces)}`,
      holds: (f: FlowFacts) =>
        turn(
          operator,
          ranges.some((r) => inRange(r, f[e].port)),
        ),
    })),
  fc.tuple(end, fc.constantFrom(22, 80, 443)).map(([e, n]) => ({
    text: `${e}.port > ${n}`,
    holds: (f: FlowFacts) => f[e].port !== undefined && f[e].port > n,
  })),
  fc.tuple(end, fc.constantFrom(22, 80, 443)).map(([e, n]) => ({
    text: `${e}.port <= ${n}`,
    holds: (f: FlowFacts) => f[e].port !== undefined && f[e].port <= n,
  })),
);

/** Conditions with parentheses only where they must be: so precedence is put to the test. */
export const condition: fc.Arbitrary<Sample> = fc.letrec<{ or: Sample; and: Sample; not: Sample }>((tie) => ({
  or: fc.array(tie('and'), { minLength: 1, maxLength: 3 }).map((terms) => ({
    text: terms.map((t) => t.text).join(' or '),
    holds: (f: FlowFacts) => terms.some((t) => t.holds(f)),
  })),
  and: fc.array(tie('not'), { minLength: 1, maxLength: 3 }).map((terms) => ({
    text: terms.map((t) => t.text).join(' and\n  '),
    holds: (f: FlowFacts) => terms.every((t) => t.holds(f)),
  })),
  not: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    tie('not').map((t) => ({ text: `not ${t.text}`, holds: (f: FlowFacts) => !t.holds(f) })),
    tie('or').map((t) => ({ text: `(${t.text})`, holds: t.holds })),
  ),
})).or;
