// Where a datapath cannot tell what the others can, and what it does instead. test/unit/limits.test.ts holds the table of
// docs/limits.md to these reasons.

import type { DatapathName } from '../../src/shape/index.ts';
import type { BothWays } from './conformance-stage.ts';

export interface Difference extends Partial<BothWays> {
  /** Key of {@link REASONS}. */
  readonly reason: keyof typeof REASONS;
}

/** As the table of docs/limits.md has them. */
export const REASONS = {
  type: 'ICMP echo goes by its type',
  fragments: 'fragments are `new`',
  'later fragments': 'later fragments are `new`',
  errors: 'ICMP errors that arrive are `new`',
  depth: 'two VLAN tags, or PPPoE on an Ethernet link: `new`',
  zones: 'what leaves is known in every conntrack zone',
  late: 'a flow is `new` until the pipeline has put it into the map',
  protocols: 'protocols other than TCP, UDP and ICMP are `new`',
} as const;

const both = (name: string, difference: Difference): [string, Difference][] =>
  ['v4', 'v6'].map((v) => [`IP${v}, ${name}`, difference]);
const deep: [string, Difference][] = [
  ...['v4', 'v6'].flatMap((v) =>
    ['behind two VLAN tags', 'in PPPoE', 'in PPPoE behind a VLAN tag'].map((how) => `IP${v} ${how}`),
  ),
].map((name) => [name, { in: { new: 1 }, reason: 'depth' }]);
const zones = both('a flow in a conntrack zone', { out: { local: 2 }, reason: 'zones' });

/** By datapath, then by the case's name. What is not given is as in the case. */
export const DIFFERENCES: Readonly<Record<DatapathName, ReadonlyMap<string, Difference>>> = {
  bpf: new Map([
    ...both('ping by the world', { in: { remote: 3 }, reason: 'type' }),
    ['a protocol without ports', { out: { new: 1 }, reason: 'protocols' }],
  ]),
  ct: new Map([
    ...both('fragments, of what the box asked', { in: { new: 3 }, reason: 'fragments' }),
    ...both('fragments, of what the world asked', { in: { new: 6 }, reason: 'fragments' }),
    ['fragments from the inside, IPv6', { in: { new: 3 }, reason: 'fragments' }],
    ...deep,
    ...zones,
  ]),
  mark: new Map([
    ...both('fragments, of what the box asked', { in: { local: 1, new: 2 }, reason: 'later fragments' }),
    ...both('fragments, of what the world asked', { in: { new: 5, remote: 1 }, reason: 'later fragments' }),
    ['fragments from the inside, IPv6', { in: { local: 1, new: 2 }, reason: 'later fragments' }],
    ...both('an ICMP error about what the box asked', { in: { new: 1 }, reason: 'errors' }),
    ['an ICMP error about what is masqueraded', { in: { new: 1 }, reason: 'errors' }],
    ['an ICMP error about what the inside asked, IPv6', { in: { new: 1 }, reason: 'errors' }],
    ...deep,
    ...zones,
  ]),
  map: new Map([
    ...both('ping by the world', { in: { remote: 3 }, reason: 'type' }),
    ...both('UDP, opened by the box', { in: { local: 'some', new: 'any' }, reason: 'late' }),
    ...both('TCP, opened by the box', { in: { local: 'any', new: 'some' }, reason: 'late' }),
    ...both('TCP, opened by the world: the first packet is new', {
      in: { new: 'some', remote: 'any' },
      reason: 'late',
    }),
    ...both('UDP that nobody answers, from the world', { in: { new: 'some', remote: 'any' }, reason: 'late' }),
    ...both('a rule sends what the box opens to another queue', { in: { new: 'any', voice: 'some' }, reason: 'late' }),
    ['udp from behind masquerade', { in: { local: 'some', new: 'any' }, reason: 'late' }],
    ['udp from the inside, IPv6', { in: { local: 'some', new: 'any' }, reason: 'late' }],
    ...['from behind masquerade', 'from the inside, IPv6'].map((name): [string, Difference] => [
      `tcp ${name}`,
      { in: { local: 'any', new: 'some' }, reason: 'late' },
    ]),
    ...['to a forwarded port', 'to the inside, IPv6'].map((name): [string, Difference] => [
      `tcp ${name}`,
      { in: { new: 'some', remote: 'any' }, reason: 'late' },
    ]),
    ...both('fragments, of what the box asked', { in: { new: 3 }, reason: 'later fragments' }),
    ...both('fragments, of what the world asked', { in: { new: 5, remote: 1 }, reason: 'later fragments' }),
    ['fragments from the inside, IPv6', { in: { new: 3 }, reason: 'later fragments' }],
    ...both('an ICMP error about what the box asked', { in: { new: 1 }, reason: 'errors' }),
    ['an ICMP error about what is masqueraded', { in: { new: 1 }, reason: 'errors' }],
    ['an ICMP error about what the inside asked, IPv6', { in: { new: 1 }, reason: 'errors' }],
    ...deep,
    ...zones,
  ]),
};
