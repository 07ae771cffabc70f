import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress, maskAddress, parseAddress, parsePrefix, prefixContains } from '../../src/model/index.ts';

const v4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
const v6 = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe('address', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['::', '::'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    // RFC 5952, 4.2.3: the first of two runs of equal length; 4.2.2: a single zero group stays
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ])('reads %s and writes it as %s', (text, canonical) => {
    expect(formatAddress(parseAddress(text)!)).toBe(canonical);
  });

  it.each([
    '',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4.5',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '12345::',
    '1:2:3:4:5:6:7:8::',
    'fe80::1%eth0',
    '::1.2.3',
  ])('refuses %j', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it('reads back whatever it writes', () => {
    fc.assert(
      fc.property(fc.oneof(v4, v6), (bytes) => {
        expect(parseAddress(formatAddress(bytes))).toEqual(Uint8Array.from(bytes));
      }),
    );
  });
});

describe('prefix', () => {
  it.each(['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/08', '::/129', '/8'])('refuses %j', (text) => {
    expect(parsePrefix(text)).toBeUndefined();
  });

  it('contains an address exactly when their leading bits agree', () => {
    const bits = (bytes: Uint8Array) => [...bytes].map((b) => b.toString(2).padStart(8, '0')).join('');
    const pair = fc.oneof(fc.tuple(v4, v4), fc.tuple(v6, v6));
    fc.assert(
      fc.property(pair, fc.nat(128), fc.nat(128), ([a, b], l, agree) => {
        const length = Math.min(l, a.length * 8);
        // Random addresses rarely agree: copy some leading bits.
        const other = maskAddress(a, agree).map(
          (byte, i) => byte | (b[i]! & ~maskAddress(new Uint8Array(a.length).fill(255), agree)[i]!),
        );
        expect(prefixContains({ address: maskAddress(a, length), length }, other)).toBe(
          bits(a).slice(0, length) === bits(other).slice(0, length),
        );
      }),
    );
  });

  it('never contains an address of the other family', () => {
    expect(prefixContains(parsePrefix('::/0')!, parseAddress('192.0.2.1')!)).toBe(false);
    expect(prefixContains(parsePrefix('0.0.0.0/0')!, parseAddress('::1')!)).toBe(false);
  });
});
