import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseTins, MAX_TINS } from '../../src/model/index.ts';

const say = (...shares: number[]): string => {
  const { mode, tins } = chooseTins(shares);
  return `${mode}: ${tins.map(({ minor, name, part }) => `${minor} ${name} ${Math.round(part * 1000) / 10}`).join(', ')}`;
};

// Minors and thresholds as `tc -s qdisc show` on Debian's 6.1 lists them.
describe('tins', () => {
  it('have parts near to the shares', () => {
    expect(say(0.4)).toBe('besteffort: 1 Best Effort 100');
    expect(say(0.7, 0.1, 0.05)).toBe('diffserv3: 2 Best Effort 68.8, 3 Voice 25, 1 Bulk 6.3');
    expect(say(0.1, 0.6, 0.1, 0.05)).toBe('diffserv4: 2 Best Effort 18.8, 3 Video 50, 4 Voice 25, 1 Bulk 6.3');
    expect(say(0.5, 0.5)).toBe('diffserv4: 2 Best Effort 50, 3 Video 50');
    expect(say(0.9, 0.1)).toBe('diffserv3: 2 Best Effort 93.8, 1 Bulk 6.3');
  });

  it('are those of diffserv8 in order for more than four queues', () => {
    expect(say(0.2, 0.2, 0.2, 0.2, 0.2)).toBe(
      'diffserv8: 8 Tin 7 39.3, 7 Tin 6 44.9, 6 Tin 5 15.9, 5 Tin 4 0, 4 Tin 3 0',
    );
  });

  it('are never one for two queues, and together never more than everything', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: MAX_TINS }),
        (shares) => {
          const { tins } = chooseTins(shares);
          expect(new Set(tins.map(({ minor }) => minor)).size).toBe(shares.length);
          expect(tins.reduce((sum, { part }) => sum + part, 0)).toBeCloseTo(1, 9);
        },
      ),
    );
  });
});
