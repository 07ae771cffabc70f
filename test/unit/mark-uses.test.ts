// What the readers of other people's rules say of marks, against what such rules do: expressions are made up and worked out.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readIptablesMarks } from '../../src/kernel/mark-iptables.ts';
import { type NftMarks, readNftMarks } from '../../src/kernel/mark-nft.ts';
import { readXfrmMarks } from '../../src/kernel/mark-xfrm.ts';
import type { MarkUse } from '../../src/model/index.ts';

type Json = Readonly<Record<string, unknown>> | number;
type Marks = Readonly<Record<'ct' | 'packet', number>>;

/** An expression as nft writes it, and what it comes to. */
interface Made {
  readonly json: Json;
  readonly of: (marks: Marks) => number;
}

const mark = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }),
  // Masks as people have them.
  fc
    .tuple(fc.integer({ min: 1, max: 32 }), fc.nat(31))
    .map(([bits, by]) => Number(((2n ** BigInt(bits) - 1n) << BigInt(by)) & 0xffffffffn)),
);
const marks = fc.record({ ct: mark, packet: mark });
const CT: Made = { json: { ct: { key: 'mark' } }, of: ({ ct }) => ct };
const PACKET: Made = { json: { meta: { key: 'mark' } }, of: ({ packet }) => packet };
const LOW: Made = { json: { '>>': [{ '&': [CT.json, 0xf0] }, 4] }, of: ({ ct }) => (ct & 0xf0) >>> 4 };
/** The field that a mark cannot be told from. */
const HEADER: Json = { payload: { protocol: 'ip', field: 'saddr' } };

const OF_NUMBER: Readonly<Record<string, (a: number, b: number) => number>> = {
  '&': (a, b) => (a & b) >>> 0,
  '|': (a, b) => (a | b) >>> 0,
  '^': (a, b) => (a ^ b) >>> 0,
  '<<': (a, b) => Number((BigInt(a) << BigInt(b)) & 0xffffffffn),
  '>>': (a, b) => Number(BigInt(a) >> BigInt(b)),
};
const joinedBy = (sign: string, a: Made, b: Made): Made => ({
  json: { [sign]: [a.json, b.json] },
  of: (all) => OF_NUMBER[sign]!(a.of(all), b.of(all)),
});
const numbered = (number: number): Made => ({ json: number, of: () => number });

const { made } = fc.letrec<{ made: Made }>((tie) => ({
  made: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(CT, PACKET),
    fc.tuple(fc.constantFrom('&', '|', '^'), tie('made'), mark).map(([sign, a, n]) => joinedBy(sign, a, numbered(n))),
    fc
      .tuple(fc.constantFrom('<<', '>>'), tie('made'), fc.nat(33))
      .map(([sign, a, n]) => joinedBy(sign, a, numbered(n))),
    // As newer nft has it.
    fc.tuple(fc.constantFrom('&', '|', '^'), tie('made'), tie('made')).map(([sign, a, b]) => joinedBy(sign, a, b)),
  ),
}));

const readStatements = (...expr: unknown[]): NftMarks =>
  readNftMarks({ nftables: [{ rule: { family: 'inet', table: 'fw', chain: 'c', expr } }] }, new Map(), new Set());
const bitsOf = (uses: readonly MarkUse[], of: 'ct' | 'packet'): number =>
  uses.filter((use) => use.of === of).reduce((bits, use) => (bits | use.bits) >>> 0, 0);
const has = (uses: readonly MarkUse[], whole: MarkUse['whole']): boolean => uses.some((use) => use.whole === whole);

/** What must hold of a mark that is written, by what was said of it, whatever the marks are. */
function holds(uses: readonly MarkUse[], register: 'ct' | 'packet', of: Made['of'], samples: readonly Marks[]): void {
  const other = register === 'ct' ? 'packet' : 'ct';
  const said = bitsOf(uses, register);
  const straight = readBits(uses, other, of, samples);
  readBits(uses, register, of, samples);
  // Of a copy of all bits it is not said which are used: but then it is one of all.
  const copied = (straight | bitsOf(uses, other)) >>> 0;
  if (straight !== 0) expect((copied | said) >>> 0, `bits of ${other} that are copied`).toBe(0xffffffff);
  for (const now of samples) {
    const old = has(uses, 'overwrites') && straight === 0 ? 0 : now[register];
    expect(of(now) & ~(said | copied | old), 'bits that are set').toBe(0);
    if (register === 'ct' && !has(uses, 'overwrites')) expect((of(now) ^ old) & ~said, 'bits that are changed').toBe(0);
  }
}

/** Those that nobody names, and which come to the same place of what is written; they must come to none else. */
function readBits(uses: readonly MarkUse[], from: 'ct' | 'packet', of: Made['of'], samples: readonly Marks[]): number {
  const named = bitsOf(uses, from);
  let straight = 0;
  for (const now of [...samples, ...CORNERS])
    for (let bit = 0; bit < 32; bit++) {
      const one = (1 << bit) >>> 0;
      if ((named & one) !== 0) continue;
      const effect = (of(now) ^ of({ ...now, [from]: (now[from] ^ one) >>> 0 })) >>> 0;
      expect(effect & ~one, `places that bit ${bit} of ${from} comes to`).toBe(0);
      straight |= effect;
    }
  return straight >>> 0;
}

const CORNERS: readonly Marks[] = [0, 0xffffffff].flatMap((ct) => [0, 0xffffffff].map((packet) => ({ ct, packet })));

describe('nft', () => {
  it.each(['ct', 'packet'] as const)(
    'no bit is changed or read that is not said, or it is said to be uncertain: %s',
    (register) => {
      const key = register === 'ct' ? CT.json : PACKET.json;
      let understood = 0;
      fc.assert(
        fc.property(made, fc.array(marks, { maxLength: 4 }), ({ json, of }, all) => {
          const { uses, unseen } = readStatements({ mangle: { key, value: json } });
          if (unseen.length > 0) return;
          understood++;
          holds(uses, register, of, all);
        }),
        { numRuns: 500 },
      );
      expect(understood).toBeGreaterThan(250);
    },
  );

  it('who goes by an expression goes by no bit that is not said, be it a key, a part of one, or put into a set', () => {
    const inKey = (json: Json): unknown[] => [
      { match: { op: '==', left: json, right: 5 } },
      { match: { op: 'in', left: { concat: [HEADER, json] }, right: { set: [{ concat: ['1.2.3.4', 5] }] } } },
      { vmap: { key: { concat: [json, HEADER] }, data: { set: [[{ concat: [5, '1.2.3.4'] }, { accept: null }]] } } },
      { set: { op: 'update', elem: { elem: { val: { concat: [HEADER, json] }, timeout: 3 } }, set: '@s' } },
      { meter: { name: 'm', key: json, stmt: { limit: { rate: 1, per: 'second' } } } },
      { mangle: { key: { meta: { key: 'priority' } }, value: { map: { key: json, data: { set: [[5, '1:2']] } } } } },
      { dnat: { family: 'ip', addr: { map: { key: json, data: { set: [[5, '1.2.3.4']] } } } } },
      { queue: { num: { jhash: { mod: 4, expr: { concat: [json, HEADER] } } } } },
    ];
    fc.assert(
      fc.property(
        made,
        fc.nat(7),
        fc.array(fc.tuple(marks, marks), { minLength: 8, maxLength: 8 }),
        ({ json, of }, i, all) => {
          const { uses, unseen } = readStatements(inKey(json)[i]);
          if (unseen.length > 0) return;
          const whole = (register: 'ct' | 'packet') =>
            uses.some((use) => use.of === register && use.whole === 'compares');
          for (const [now, other] of all) {
            const free = (register: 'ct' | 'packet') =>
              whole(register)
                ? now[register]
                : ((now[register] & bitsOf(uses, register)) | (other[register] & ~bitsOf(uses, register))) >>> 0;
            expect(of({ ct: free('ct'), packet: free('packet') })).toBe(of(now));
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('what is not known is said to be uncertain, wherever a mark stands in it', () => {
    const name = fc.stringMatching(/^[a-z]{3,9}$/).map((word) => `x-${word}`);
    const hide = fc.constantFrom<(word: string, json: Json) => Json>(
      (word, json) => ({ [word]: json }),
      (word, json) => ({ [word]: { expr: json, mod: 4 } }),
      (word, json) => ({ '&': [{ [word]: [json, 1] }, 0xff] }),
      (word, json) => ({ '<<': [HEADER, { [word]: json }] }),
      (word, json) => ({ '<<': [1, json], note: word }),
    );
    const place = fc.constantFrom<(word: string, json: Json) => unknown>(
      (_, json) => ({ mangle: { key: CT.json, value: json } }),
      (_, json) => ({ match: { op: '==', left: json, right: 1 } }),
      (_, json) => ({ match: { op: '==', left: HEADER, right: { set: [json] } } }),
      (_, json) => ({ set: { op: 'add', elem: { concat: [HEADER, json] }, set: '@s' } }),
      (word, json) => ({ [word]: { deep: [{ down: json }] } }),
      (word) => `${word} @s { ip saddr : ct mark & 0xff }`,
    );
    fc.assert(
      fc.property(fc.constantFrom(CT, PACKET, LOW), name, hide, place, ({ json }, word, hidden, placed) => {
        expect(readStatements(placed(word, hidden(word, json))).unseen).toHaveLength(1);
      }),
    );
    expect(
      readStatements({ match: { op: '==', left: HEADER, right: '@s' } }, { 'x-new': { key: 'value' } }).unseen,
    ).toEqual([]);
    expect(readStatements({ xt: null }).unseen).toHaveLength(1);
  });

  it('a set of marks that cannot be listed is said', () => {
    const rule = {
      rule: { family: 'ip', table: 't', chain: 'c', expr: [{ match: { op: '==', left: CT.json, right: '@s' } }] },
    };
    const read = (elements?: unknown[]) =>
      readNftMarks({ nftables: [rule] }, new Map([['ip t s', elements]]), new Set());
    expect(read().unseen).toHaveLength(1);
    expect(read(['*', { elem: { val: 4, timeout: 3 } }, { range: [8, 9] }])).toMatchObject({
      unseen: [],
      uses: [{ bits: 13 }],
    });
    expect(read(['wan']).unseen).toHaveLength(1);
  });
});

describe('iptables', () => {
  const readRule = (rule: string) =>
    readIptablesMarks(`*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING ${rule}\nCOMMIT\n`, 'iptables');
  const hex = (value: number) => `0x${value.toString(16)}`;
  const shift = fc.tuple(fc.constantFrom('', 'left', 'right'), fc.nat(31));
  const words = ([way, by]: [string, number]) => (way === '' ? '' : ` --${way}-shift-mark ${by}`);
  const move = (value: number, [way, by]: [string, number]) =>
    way === '' ? value : OF_NUMBER[way === 'left' ? '<<' : '>>']!(value, by);

  it('of CONNMARK no bit is changed or read that is not said', () => {
    // connmark_tg_shift(), net/netfilter/xt_connmark.c.
    fc.assert(
      fc.property(
        fc.constantFrom('save', 'restore', 'set'),
        mark,
        mark,
        shift,
        fc.array(marks, { maxLength: 4 }),
        (mode, ct, packet, by, all) => {
          const options =
            mode === 'set'
              ? `--set-xmark ${hex(packet)}/${hex(ct)}`
              : `--${mode}-mark --nfmask ${hex(packet)} --ctmask ${hex(ct)}`;
          const { uses, unseen } = readRule(`-p udp -j CONNMARK ${options}${words(by)}`);
          expect(unseen).toEqual([]);
          const of = (now: Marks): number => {
            if (mode === 'set') return move(((now.ct & ~ct) ^ packet) >>> 0, by);
            if (mode === 'save') return ((now.ct & ~ct) ^ move((now.packet & packet) >>> 0, by)) >>> 0;
            return ((now.packet & ~packet) ^ move((now.ct & ct) >>> 0, by)) >>> 0;
          };
          holds(uses, mode === 'restore' ? 'packet' : 'ct', of, all);
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each([
    '-j CONNMARK --save-mark --half-mark 3',
    '-j CONNMARK',
    '-j MARK --turn-mark 0x3',
    '-m xmark --mark 0x1 -j ACCEPT',
    '-m mark --mark 0x1-0x3 -j ACCEPT',
    '-j SET --map-set x src --map-mark',
    '-j HMARK --hmark-tuple src --hmark-mod x',
  ])('what is not known is said to be uncertain: %s', (rule) => expect(readRule(rule).unseen).toHaveLength(1));

  it.each([
    '-j KUBE-MARK-MASQ',
    '-j TPROXY --on-port 5 --on-ip 0.0.0.0 --tproxy-mark 0x0/0x0',
    '-m rpfilter --validmark',
    '-m socket --restore-skmark -j ACCEPT',
    '-m comment --comment "-j CONNMARK \\" --x-mark" -j LOG --log-prefix " --a-mark "',
    '-m set --match-set mark src -j ACCEPT',
  ])('what says nothing of marks is not: %s', (rule) => expect(readRule(rule)).toMatchObject({ uses: [], unseen: [] }));
});

it('of IPsec, as iproute2 6.1 prints them (ip/ipxfrm.c)', () => {
  const text =
    'src 10.0.0.0/24 dst 10.1.0.0/24 \n\tdir out priority 0 ptype main \n\tmark 0x5/0xffffffff \n\ttmpl src 1.1.1.1 dst 2.2.2.2\n';
  expect(readXfrmMarks(text, 'policy')).toEqual([
    {
      who: 'ip xfrm policy',
      where: expect.stringContaining('dst 10.1.0.0/24 mark 0x5'),
      of: 'packet',
      bits: 5,
      whole: 'compares',
    },
  ]);
  const state =
    'src 1.1.1.1 dst 2.2.2.2\n\tproto esp spi 0x00000001 reqid 0 mode tunnel\n\treplay-window 0 \n\tmark 0x30/0xff0 \n\toutput-mark 0x200/0xf00\n';
  expect(readXfrmMarks(state, 'state').map(({ of, bits, whole }) => [of, bits, whole])).toEqual([
    ['packet', 0xff0, undefined],
    ['packet', 0xf00, undefined],
  ]);
});
