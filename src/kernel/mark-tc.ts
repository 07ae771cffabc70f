import { type MarkUse, WHOLE_MARK } from '../model/index.ts';
import { isOurPrinted } from './filters.ts';

type Use = Omit<MarkUse, 'who' | 'where'>;

/** Words of `tc filter show` that tell of marks, and what each means. tc-fw(8), tc-u32(8), tc-skbedit(8), tc-connmark(8), tc-ctinfo(8), tc-flower(8), tc-ct(8), tc-ematch(8). */
const WORDS: readonly (readonly [RegExp, (...numbers: (number | undefined)[]) => Use[]])[] = [
  [/^filter .* fw .*\bhandle (0x[0-9a-f]+)(?:\/(0x[0-9a-f]+))?/, (mark, mask) => compared('packet', mark!, mask)],
  [/^ +mark 0x([0-9a-f]+) 0x([0-9a-f]+) \(success/, (mark, mask) => compared('packet', mark!, mask)],
  [
    /\bskbedit\b.*? mark (\d+|0x[0-9a-f]+)(?:\/(0x[0-9a-f]+))?/,
    (mark, mask) => [{ of: 'packet', bits: mask ?? mark! }],
  ],
  [/^\s*action order \d+: {1,2}connmark\b/, () => [{ of: 'packet', bits: 0, whole: 'restores' }]],
  [/ cpmark (0x[0-9a-f]+)/, (mask) => both(mask!)],
  [/ dscp (0x[0-9a-f]+)(?: (0x[0-9a-f]+))?/, (mask, state) => [{ of: 'ct', bits: (mask! | (state ?? 0)) >>> 0 }]],
  [/^ +ct_mark (0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+))?/, (mark, mask) => compared('ct', mark!, mask)],
  [/\bct commit\b.*? mark (0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+))?/, (mark, mask) => [committed(mark!, mask)]],
  [
    /\bmeta\(nf_mark(?: mask (0x[0-9a-f]+))? (?:eq|lt|gt) (0x[0-9a-f]+|\d+)/,
    (mask, mark) => compared('packet', mark!, mask),
  ],
];

/** What `tc filter show` tells that concerns marks. */
export interface TcMarks {
  readonly uses: readonly MarkUse[];
  /** Lines on marks that are not understood, as phrases. */
  readonly unseen: readonly string[];
}

/** Reads what `tc filter show` prints for one place; filters of ours are passed over. */
export function readTcMarks(text: string, place: string): TcMarks {
  const uses = new Map<string, MarkUse>();
  const unseen = new Set<string>();
  const foreign = text.split(/^(?=filter )/m).filter((filter) => !isOurPrinted(filter));
  for (const line of foreign.flatMap((filter) => filter.split('\n'))) {
    if (MARKISH.test(line.replace(/ to device \S+/, '')) && !WORDS.some(([pattern]) => pattern.test(line)))
      unseen.add(`a tc filter on marks on ${place}, which is not understood: ${line.trim()}`);
    for (const [pattern, meaning] of WORDS) {
      const found = pattern.exec(line);
      if (!found) continue;
      // u32 alone writes its hexadecimal numbers without a sign of it, and the pattern has taken it away.
      const hex = pattern.source.startsWith('^ +mark');
      const numbers = found.slice(1).map((n) => (n === undefined ? undefined : Number(hex ? `0x${n}` : n)));
      for (const use of meaning(...numbers))
        uses.set(JSON.stringify(use), { who: `tc filter on ${place}`, where: `tc filter on ${place}`, ...use });
    }
  }
  return { uses: [...uses.values()], unseen: [...unseen] };
}

const MARKISH = /\b(?:ct_|nf_|cp|conn)?mark\b/;

const compared = (of: Use['of'], mark: number, mask: number | undefined): Use[] =>
  mask === undefined || mask === WHOLE_MARK ? [{ of, bits: mark, whole: 'compares' }] : [{ of, bits: mask }];

const committed = (mark: number, mask: number | undefined): Use =>
  mask === undefined || mask === WHOLE_MARK ? { of: 'ct', bits: mark, whole: 'overwrites' } : { of: 'ct', bits: mask };

const both = (mask: number): Use[] =>
  mask === WHOLE_MARK
    ? [{ of: 'packet', bits: 0, whole: 'restores' }]
    : [
        { of: 'packet', bits: mask },
        { of: 'ct', bits: mask },
      ];
