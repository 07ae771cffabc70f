import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePolicy } from '../../src/language/index.ts';
import {
  classOfMark,
  DEFAULT_MARK_FIELD,
  HeadgateError,
  LEAST_MARK_BITS,
  listSoftwareUses,
  type MarkUse,
  MOST_MARK_BITS,
  markFieldOf,
  markOfClass,
  roomOf,
} from '../../src/model/index.ts';
import {
  chooseMarkField,
  compileRules,
  fieldOfTable,
  formatTable,
  type MarkWish,
  warnOfMarkUses,
} from '../../src/shape/index.ts';

const WISH: MarkWish = { classes: 3, marks: true, inPackets: false };
const use = (who: string, bits: number, more: Partial<MarkUse> = {}): MarkUse => ({
  who,
  where: `where ${who} stands`,
  of: 'ct',
  bits,
  ...more,
});
const refusal = (uses: readonly MarkUse[], wish: Partial<MarkWish> = {}): HeadgateError => {
  try {
    chooseMarkField(uses, { ...WISH, ...wish });
  } catch (error) {
    if (error instanceof HeadgateError) return error;
    throw error;
  }
  throw new Error('it was not refused');
};
const maskFor = (uses: readonly MarkUse[], wish: Partial<MarkWish> = {}): number =>
  chooseMarkField(uses, { ...WISH, ...wish }).field.mask;

const mark = fc.integer({ min: 0, max: 0xffffffff });
const field = fc
  .tuple(fc.integer({ min: LEAST_MARK_BITS, max: MOST_MARK_BITS }), fc.nat(28))
  .filter(([bits, shift]) => bits + shift <= 32)
  .map(([bits, shift]) => markFieldOf((2 ** bits - 1) * 2 ** shift)!);

describe('a field', () => {
  it('is a run of four to eight bits, anywhere', () => {
    fc.assert(
      fc.property(mark, (mask) => {
        const text = mask.toString(2);
        expect(markFieldOf(mask) !== undefined).toBe(/^1{4,8}0*$/.test(text));
      }),
    );
    fc.assert(
      fc.property(field, ({ mask, shift }) => {
        expect(mask.toString(2)).toMatch(/^1{4,8}0*$/);
        expect(mask.toString(2).length - mask.toString(2).replace(/0+$/, '').length).toBe(shift);
      }),
    );
    for (const mask of [0, -1, 0.5, 2 ** 32, 0x70000000, 0x1ff00000, 0xf0f00000])
      expect(markFieldOf(mask), `${mask}`).toBeUndefined();
  });

  it('what is written under it by the kernel’s rule changes no bit outside, and reads back', () => {
    fc.assert(
      fc.property(field, mark, fc.nat(255), (of, old, number) => {
        const room = roomOf(of);
        const value = markOfClass(of, number % (room + 1));
        // new = (old & ~mask) | (mark & mask): ctnetlink_change_mark(), and our nft rules.
        const written = ((old & ~of.mask) | (value & of.mask)) >>> 0;
        expect((written ^ old) & ~of.mask).toBe(0);
        expect(classOfMark(of, written)).toBe(number % (room + 1));
      }),
    );
  });

  it('our nft rules write under it keep every bit outside', () => {
    const text =
      'link wan { }\nqueue a { share 60% }\nqueue b { share 10% }\nrule r when tcp -> b\ndefault local -> a  remote -> a  new -> a\n';
    const { policy } = parsePolicy(text, 'test.gate');
    fc.assert(
      fc.property(field, mark, (of, old) => {
        const rules = compileRules(policy!, of, true).chains.flatMap((chain) => chain.rules);
        const set = rules.flatMap((rule) => [
          ...rule.matchAll(/ct mark set ct mark & (0x[0-9a-f]+) \| (0x[0-9a-f]+)/g),
        ]);
        expect(set.length).toBeGreaterThanOrEqual(8);
        expect(rules.filter((rule) => rule.includes('mark set')).length).toBe(set.length);
        for (const [, kept, value] of set) {
          const written = ((old & Number(kept)) | Number(value)) >>> 0;
          expect((written ^ old) & ~of.mask).toBe(0);
          expect([1, 2]).toContain(classOfMark(of, written));
        }
      }),
    );
  });

  it('is known again from the table that it is written into', () => {
    const rules = { sets: [], chains: [], entries: new Map(), left: [] };
    fc.assert(
      fc.property(field, (of) => {
        expect(fieldOfTable(formatTable(rules, ['wan'], of))).toEqual(of);
      }),
    );
    expect(fieldOfTable('table inet headgate {\n\tcomment "made by headgate"\n}\n')).toBeUndefined();
    expect(fieldOfTable('comment "made by headgate, marks 0xffffffff"')).toBeUndefined();
  });
});

describe('the bits that nobody names', () => {
  it.each<[string, MarkUse[], number]>([
    ['nobody', [], 0x7f000000],
    ['mwan3, Tailscale, kube-proxy', [use('a', 0x3f00), use('b', 0xff0000), use('c', 0xc000)], 0x7f000000],
    ['Calico', [use('Calico', 0xffff0000)], 0xfe00],
    ['Calico and kube-proxy', [use('Calico', 0xffff0000), use('kube-proxy', 0xc000)], 0x3f80],
    ['the sign bit alone', [use('x', 0x80000000)], 0x7f000000],
    ['one of ours', [use('x', 0x01000000)], 0xfe000000],
    ['all but six', [use('x', 0xffffff03)], 0xfc],
    ['all but four in the middle', [use('x', 0xfff0ffff)], 0xf0000],
    ['packets of others have them all, which nobody copies', [use('x', 0xffffffff, { of: 'packet' })], 0x7f000000],
  ])('%s', (_, uses, mask) => expect(maskFor(uses)).toBe(mask));

  it('are those of the run before, where they are still free', () => {
    const before = markFieldOf(0x00fe0000)!;
    expect(maskFor([], { before })).toBe(before.mask);
    expect(maskFor([use('x', 0x00100000)], { before })).toBe(DEFAULT_MARK_FIELD.mask);
    expect(maskFor([], { before: markFieldOf(0xf)!, classes: 16 })).toBe(DEFAULT_MARK_FIELD.mask);
  });

  it('never hit anybody, and have room, or there is an error that names who is in the way', () => {
    fc.assert(
      fc.property(fc.array(mark, { maxLength: 4 }), fc.integer({ min: 1, max: 127 }), (masks, classes) => {
        const uses = masks.map((bits, i) => use(`user-${i}`, bits));
        try {
          const chosen = chooseMarkField(uses, { ...WISH, classes }).field;
          expect(uses.filter(({ bits }) => bits & chosen.mask)).toEqual([]);
          expect(roomOf(chosen)).toBeGreaterThanOrEqual(classes);
        } catch (error) {
          expect(error).toMatchObject({ code: 'HG_MARK_NONE' });
          const taken = masks.reduce((a, b) => (a | b) >>> 0, 0);
          const bits = Math.max(LEAST_MARK_BITS, 32 - Math.clz32(classes));
          expect((~taken >>> 0).toString(2).padStart(32, '0')).not.toContain('1'.repeat(bits));
        }
      }),
    );
  });

  it('none: the error says who has them', () =>
    expect(refusal([use('Calico', 0xffff0000), use('fw', 0xffff)])).toMatchObject({
      code: 'HG_MARK_NONE',
      message: expect.stringContaining('Calico (0xffff0000), fw (0x0000ffff)'),
    }));
});

describe('the bits of the policy', () => {
  const wanted = markFieldOf(0x00fe0000)!;

  it('are taken where nobody uses them', () =>
    expect(maskFor([use('mwan3', 0x3f00)], { field: wanted })).toBe(wanted.mask));

  it('are refused with the name of whom they would hit, and others are offered', () =>
    expect(refusal([use('Tailscale', 0xff0000), use('mwan3', 0x3f00)], { field: wanted })).toMatchObject({
      code: 'HG_MARK_TAKEN',
      exit: 4,
      message: 'the bits 0x00fe0000 of the mark, which the policy asks for, are used by Tailscale (0x00ff0000).',
      hint: 'Seen in: where Tailscale stands. Take others in the policy: marks 0x7f000000 is free.',
    }));

  it('may be those of packets that nobody copies to flows, unless the datapath does', () => {
    const packet = use('Cilium', 0xffff0fff, { of: 'packet' });
    expect(maskFor([packet], { field: wanted })).toBe(wanted.mask);
    expect(refusal([packet], { field: wanted, inPackets: true }).code).toBe('HG_MARK_TAKEN');
    expect(refusal([packet, use('fw', 0, { whole: 'overwrites' })], { field: wanted }).code).toBe('HG_MARK_TAKEN');
  });
});

describe('who treats the mark as one number', () => {
  const compares = use('fw', 5, { whole: 'compares' });
  const routes = use('ip rule', 1, { of: 'packet', whole: 'compares' });
  const restores = use('fw', 0, { of: 'packet', whole: 'restores' });
  const overwrites = use('wg-quick', 0, { whole: 'overwrites' });

  it('and compares it is in the way of marks, whichever they are, until the policy names some', () => {
    expect(refusal([compares])).toMatchObject({
      code: 'HG_MARK_COMPARED',
      message: expect.stringContaining('fw (0x00000005)'),
    });
    const { warnings } = chooseMarkField([compares], { ...WISH, field: DEFAULT_MARK_FIELD });
    expect(warnings).toEqual(['fw compares the whole mark, and finds our bits 0x7f000000 in it: where fw stands']);
  });

  it('and compares that of packets is so only where somebody copies it from flows', () => {
    expect(chooseMarkField([routes], WISH).warnings).toEqual([]);
    expect(refusal([routes, restores]).code).toBe('HG_MARK_COMPARED');
    expect(refusal([routes], { inPackets: true }).code).toBe('HG_MARK_COMPARED');
  });

  it('is of no concern to a policy that marks nothing', () =>
    expect(chooseMarkField([compares, overwrites], { ...WISH, marks: false }).warnings).toEqual([]));

  it('and overwrites it takes the class from its flows', () =>
    expect(chooseMarkField([overwrites], WISH).warnings).toEqual([
      'wg-quick overwrites the whole ct mark: its flows lose their class and go by origin: where wg-quick stands',
    ]));

  it('or comes later is warned of, and changes nothing', () => {
    expect(warnOfMarkUses([use('late', 0x02000000), compares], DEFAULT_MARK_FIELD, WISH)).toEqual([
      'late uses our bits 0x7f000000 of the mark by now: where late stands',
      'fw compares the whole mark, and finds our bits 0x7f000000 in it: where fw stands',
    ]);
    expect(warnOfMarkUses([use('mwan3', 0x3f00)], DEFAULT_MARK_FIELD, WISH)).toEqual([]);
  });
});

describe('known software', () => {
  it.each([
    ['mwan3', ['mwan3_hook'], [], 0x3f00],
    ['Tailscale', ['ts-postrouting'], [], 0xff0000],
    ['Tailscale', [], ['tailscale0'], 0xff0000],
    ['kube-proxy', ['KUBE-MARK-MASQ'], [], 0xc000],
    ['kube-proxy', ['kube-proxy'], [], 0xc000],
    ['Calico', ['cali-PREROUTING'], [], 0xffff0000],
    ['Calico', [], ['cali0123456789a'], 0xffff0000],
    ['Cilium', ['CILIUM_PRE_mangle'], [], 0xffff0fff],
    ['Cilium', [], ['cilium_host'], 0xffff0fff],
  ])('%s by its traces %j %j', (who, names, devices, bits) => {
    const uses = listSoftwareUses({ names, devices });
    expect(uses.map((u) => u.who)).toEqual(uses.map(() => who));
    expect(uses.reduce((all, u) => (all | u.bits) >>> 0, 0)).toBe(bits);
  });

  it('is not seen where it is not', () =>
    expect(
      listSoftwareUses({ names: ['PREROUTING', 'mangle', 'fw', 'my-ts-input'], devices: ['eth0', 'wg0', 'calico'] }),
    ).toEqual([]));
});
