import { expect, it } from 'vitest';
import { readRuleMarks } from '../../src/kernel/mark-routing.ts';
import { readTcMarks } from '../../src/kernel/mark-tc.ts';

// As iproute2 6.1 prints them (tc/f_fw.c, f_u32.c, m_skbedit.c, m_connmark.c, m_ctinfo.c, f_flower.c, m_ct.c, em_meta.c).
it.each([
  ['filter protocol all pref 5 fw chain 0 handle 0x10/0xff classid 1:2 ', [['packet', 0xff]]],
  ['filter parent 1: protocol ip pref 1 fw chain 0 handle 0x6 classid 1:6 ', [['packet', 6, 'compares']]],
  [
    'filter protocol ip pref 1 u32 chain 0 fh 800::800 order 2048\n  mark 0x0010 0x00ff (success 0)',
    [['packet', 0xff]],
  ],
  ['\taction order 1: skbedit  mark 32/0xff pipe', [['packet', 0xff]]],
  ['\taction order 1: skbedit  priority 1:2 mark 7 pipe', [['packet', 7]]],
  ['\taction order 1: skbedit  priority 1:2 pipe', []],
  ['\taction order 1:  connmark zone 0 pipe', [['packet', 0, 'restores']]],
  [
    '\taction order 1: ctinfo zone 0 pipe\n\t index 1 ref 1 bind 1 dscp 0xfc000000 0x01000000 cpmark 0x00ffff00',
    [
      ['packet', 0xffff00],
      ['ct', 0xffff00],
      ['ct', 0xfd000000],
    ],
  ],
  ['  ct_state +trk+est\n  ct_mark 0x2/0xf', [['ct', 0xf]]],
  ['\taction order 1: ct commit mark 0x300/0x300 zone 0 pipe', [['ct', 0x300]]],
  ['  meta(nf_mark mask 0x000000f0 eq 0x00000010)', [['packet', 0xf0]]],
  // Ours, by rare numbers: the entry of bpf, and a filter in a chain of datapath mark.
  [
    'filter protocol all pref 32736 bpf chain 0 handle 0x1 ingress-1a.bpf.o:[ingress]\n\taction order 1: skbedit mark 1',
    [],
  ],
  // Somebody else's of the same number.
  [
    'filter protocol all pref 32736 bpf chain 0 handle 0x1 other.o:[main]\n\taction order 1: skbedit mark 1/0x1',
    [['packet', 1]],
  ],
  [
    'filter protocol all pref 32762 fw chain 32740 handle 0x1000000/0x7f000000 \n\taction order 1: skbedit mark 0 pipe',
    [],
  ],
])('of a tc filter: %j', (text, expected) => {
  const { uses, unseen } = readTcMarks(`${text}\n`, 'wan');
  expect(unseen).toEqual([]);
  expect(uses.map(({ of, bits, whole }) => (whole ? [of, bits, whole] : [of, bits]))).toEqual(expected);
  for (const { where } of uses) expect(where).toBe('tc filter on wan');
});

it.each([
  '  meta(nf_mark shift 4 mask 0x0000000f eq 0x00000001)',
  'filter protocol ip pref 1 flow chain 0 handle 0x1 hash keys mark divisor 8',
  '\taction order 1:  ife encode action pipe type 0xED3E allow mark',
])('of a tc filter, what is not understood is said: %j', (line) => {
  const place = 'a tc filter on marks on wan, which is not understood: ';
  expect(readTcMarks(`${line}\n`, 'wan')).toEqual({ uses: [], unseen: [place + line.trim()] });
});

it('of a tc filter, a device is no mark', () =>
  expect(readTcMarks('\taction order 1: mirred (Egress Redirect to device mark) stolen\n', 'wan').unseen).toEqual([]));

it.each([
  ['{"priority":5210,"src":"all","fwmark":"0x80000","fwmask":"0xff0000","table":"main"}', 0xff0000, undefined],
  ['{"priority":100,"src":"all","fwmark":"0x1","table":"100"}', 1, 'compares'],
  ['{"priority":0,"src":"all","table":"local"}', undefined, undefined],
])('of a rule of routing: %s', (rule, bits, whole) =>
  expect(readRuleMarks(`[${rule}]`, 6).map((use) => [use.bits, use.whole])).toEqual(
    bits === undefined ? [] : [[bits, whole]],
  ),
);

it('wg-quick is known by a table with the number of the mark', () => {
  const rule = '{"priority":32765,"not":null,"src":"all","fwmark":"0xca6c","table":"51820"}';
  expect(readRuleMarks(`[${rule}]`, 4)).toMatchObject([{ who: 'wg-quick', whole: 'compares' }]);
  expect(readRuleMarks('', 6)).toEqual([]);
});
