import { type MarkUse, WHOLE_MARK } from '../model/index.ts';
import { and, compared, constant, joined, markOf, type Use, written } from './mark-value.ts';

/** Reads what `ip xfrm policy list`, or `ip xfrm state list`, prints: ip-xfrm(8), mark, output-mark. Of many alike, the first is named. */
export function readXfrmMarks(text: string, kind: 'policy' | 'state'): MarkUse[] {
  const uses = new Map<string, MarkUse>();
  let selector = '';
  for (const line of text.split('\n')) {
    if (/^\S/.test(line)) selector = line.trim();
    const [, word, value, mask] = /^\s+(mark|output-mark) (0x[0-9a-f]+|0)(?:\/(0x[0-9a-f]+|0))?/.exec(line) ?? [];
    if (word === undefined) continue;
    const who = `ip xfrm ${kind}`;
    for (const use of word === 'mark' ? looksFor(value, mask) : puts(value, mask)) {
      const key = JSON.stringify(use);
      if (!uses.has(key)) uses.set(key, { who, where: `${who} ${selector} ${line.trim()}`, ...use });
    }
  }
  return [...uses.values()];
}

type Words = [value: string | undefined, mask: string | undefined];
const bitsOf = (mask: string | undefined): number => Number(mask ?? WHOLE_MARK);

const looksFor = (...[value, mask]: Words): Iterable<Use> =>
  compared(and(markOf('packet'), bitsOf(mask)), () => Number(value));
/** On packets that have been put into a tunnel, or taken out of it. */
const puts = (...[value, mask]: Words): Iterable<Use> =>
  written('packet', joined(and(markOf('packet'), ~bitsOf(mask)), constant(Number(value)), '|')!);
