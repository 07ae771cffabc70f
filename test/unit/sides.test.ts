import { describe, expect, it } from 'vitest';
import { parseAddress, parsePrefix, type Tuple } from '../../src/model/index.ts';
import { Sides } from '../../src/pipeline/sides.ts';
import { record } from './flow-records.ts';

const WAN = 2;
const LAN = 3;
const address = (text: string) => parseAddress(text)!;
const route = (prefix: string, ifindex: number) => ({ kind: 'route', prefix: parsePrefix(prefix)!, ifindex }) as const;
const own = (text: string, ifindex: number, kind: 'address' | 'addressGone' = 'address') => ({
  kind,
  address: address(text),
  ifindex,
});
const tuple = (source: string, destination: string): Tuple => ({
  source: address(source),
  destination: address(destination),
});

function gateway(): Sides {
  const sides = new Sides((ifindex) => ifindex === WAN);
  for (const text of ['203.0.113.7', '192.168.1.1', '2001:db8::7']) sides.apply(own(text, WAN));
  for (const change of [
    route('0.0.0.0/0', WAN),
    route('203.0.113.0/24', WAN),
    route('192.168.1.0/24', LAN),
    route('::/0', WAN),
    route('2001:db8:1::/48', LAN),
  ])
    sides.apply(change);
  return sides;
}

/** Who is inside opens as a local one what goes to a stranger; neither end of another can be placed. */
function isInside(sides: Sides, text: string): boolean {
  const stranger = text.includes(':') ? '2606::1' : '8.8.8.8';
  const [original, reply] = [tuple(text, stranger), tuple(stranger, text)];
  const origin = sides.originOfRecord(record('new', { original, reply }));
  expect(['local', 'new']).toContain(origin);
  return origin === 'local';
}

describe('sides', () => {
  it('have inside what is not reached by a link', () => {
    const sides = gateway();
    expect(['203.0.113.7', '192.168.1.20', '2001:db8::7', '2001:db8:1::5'].map((a) => isInside(sides, a))).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(['203.0.113.8', '1.1.1.1', '2001:db8:2::5'].map((a) => isInside(sides, a))).toEqual([false, false, false]);
  });

  it.each([
    ['masquerade', tuple('192.168.1.20', '1.1.1.1'), tuple('1.1.1.1', '203.0.113.7'), 'local'],
    ['DNAT', tuple('1.1.1.1', '203.0.113.7'), tuple('192.168.1.20', '1.1.1.1'), 'remote'],
    ['the box itself', tuple('203.0.113.7', '1.1.1.1'), tuple('1.1.1.1', '203.0.113.7'), 'local'],
    ['a service of the box', tuple('1.1.1.1', '203.0.113.7'), tuple('203.0.113.7', '1.1.1.1'), 'remote'],
    ['IPv6 without NAT, out', tuple('2001:db8:1::5', '2606::1'), tuple('2606::1', '2001:db8:1::5'), 'local'],
    ['IPv6 without NAT, in', tuple('2606::1', '2001:db8:1::5'), tuple('2001:db8:1::5', '2606::1'), 'remote'],
    ['two strangers', tuple('1.1.1.1', '8.8.8.8'), tuple('8.8.8.8', '1.1.1.1'), 'new'],
    ['two hosts of the LAN', tuple('192.168.1.20', '192.168.1.21'), tuple('192.168.1.21', '192.168.1.20'), undefined],
    ['hairpin NAT', tuple('192.168.1.20', '203.0.113.7'), tuple('192.168.1.21', '192.168.1.1'), undefined],
    [
      'a host behind an inside router, masqueraded',
      tuple('10.9.9.9', '1.1.1.1'),
      tuple('1.1.1.1', '203.0.113.7'),
      'local',
    ],
  ] as const)('tell the origin of %s', (_, original, reply, origin) => {
    expect(gateway().originOfRecord(record('new', { original, reply }))).toBe(origin);
  });

  it('follow changes: the longest route wins, and what is gone no longer counts', () => {
    const sides = gateway();
    sides.apply(route('10.0.0.0/8', LAN));
    expect(isInside(sides, '10.1.2.3')).toBe(true);
    sides.apply(route('10.1.0.0/16', WAN));
    expect(isInside(sides, '10.1.2.3')).toBe(false);
    sides.apply({ kind: 'routeGone', prefix: parsePrefix('10.1.0.0/16')!, ifindex: WAN });
    expect(isInside(sides, '10.1.2.3')).toBe(true);
    sides.apply(own('203.0.113.7', WAN, 'addressGone'));
    expect(isInside(sides, '203.0.113.7')).toBe(false);
  });

  it('hold an address that two devices have until both have lost it, however often it was told', () => {
    const sides = gateway();
    for (const device of [WAN, LAN, LAN]) sides.apply(own('10.99.0.1', device));
    sides.apply(own('10.99.0.1', LAN, 'addressGone'));
    expect(isInside(sides, '10.99.0.1')).toBe(true);
    sides.apply(own('10.99.0.1', WAN, 'addressGone'));
    expect(isInside(sides, '10.99.0.1')).toBe(false);
  });
});
