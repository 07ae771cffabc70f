import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  classOfMark,
  DEFAULT_MARK_FIELD,
  ERRORS,
  type ErrorCode,
  formatRate,
  HeadgateError,
  markOfClass,
  parseRate,
} from '../../src/model/index.ts';

describe('rate', () => {
  it.each([
    ['100mbit', 100e6],
    ['2.5gbit', 2.5e9],
    ['12MBPS', 96e6],
    ['9600bit', 9600],
  ])('reads %s', (text, rate) => expect(parseRate(text)).toBe(rate));

  it.each(['', '100', 'mbit', '-1mbit', '0mbit', '1 mbit', '1mb', '1e3mbit', '99999999999tbit', '0.1bit'])(
    'refuses %j',
    (text) => expect(parseRate(text)).toBeUndefined(),
  );

  it.each([
    [18e6, '18mbit'],
    [2.5e9, '2.5gbit'],
    [950, '950bit'],
    [12_600_000, '12.6mbit'],
  ])('writes %d as %s', (rate, text) => expect(formatRate(rate)).toBe(text));
});

describe('mark field', () => {
  it('holds every class number of its width, and touches no bit outside its mask', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 127 }), (n) => {
        const mark = markOfClass(DEFAULT_MARK_FIELD, n);
        expect(mark & ~DEFAULT_MARK_FIELD.mask).toBe(0);
        expect(classOfMark(DEFAULT_MARK_FIELD, (mark | 0x80ffffff) >>> 0)).toBe(n);
      }),
    );
  });
});

describe('error catalogue', () => {
  const documented = new Map(
    [
      ...readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8').matchAll(
        /^\| `(HG_\w+)` \| (\d+) \|/gm,
      ),
    ].map((m) => [m[1]!, Number(m[2])]),
  );

  it('is what docs/errors.md lists, with the same exit codes', () => {
    expect(Object.fromEntries(documented)).toEqual(
      Object.fromEntries(Object.entries(ERRORS).map(([code, e]) => [code, e.exit])),
    );
  });

  it('fills messages and hints from fields, wherever the error is thrown', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      const names = [...`${ERRORS[code].message} ${ERRORS[code].hint}`.matchAll(/\{(\w+)\}/g)].map((m) => m[1]!);
      const error = new HeadgateError(code, Object.fromEntries(names.map((n) => [n, `<${n}>`])));
      expect(error.message + error.hint).not.toMatch(/\{\w+\}/);
      expect(error.exit).toBe(ERRORS[code].exit);
    }
    const { hint } = new HeadgateError('HG_USAGE', { problem: 'no such path', command: '' });
    expect(hint).toBe('headgate --help shows how it is called.');
  });
});
