import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { OVERHEADS } from '../../src/language/check-overhead.ts';
import {
  type DiagnosticCode,
  EXAMPLE_BASE,
  EXAMPLE_INCLUDE,
  MAX_TEXT,
  parsePolicy,
  type ReadInclude,
} from '../../src/language/index.ts';
import { UNITS } from '../../src/language/literal.ts';
import { FACTS } from '../../src/language/parse-flow.ts';
import {
  BYPASSES,
  CONNECTIVES,
  CONNTRACKS,
  COUNTED,
  EFFECTS,
  FAIRNESS,
  LEAVES,
  LINK_LAYERS,
  REPLACES,
  SETTINGS,
  STATEMENTS,
  SUBJECTS,
  TREES,
  VALUES,
} from '../../src/language/vocabulary.ts';
import { COUNT_KEYS, type MachineFacts } from '../../src/model/index.ts';
import { complete, ENTRIES, listExamples, REFERENCE, renderReference } from './language-reference.ts';

/** The files that examples include: that of the catalogue, one that leads into itself, and a long one. */
const include: ReadInclude = (file) => {
  if (file === EXAMPLE_INCLUDE.file) return { text: EXAMPLE_INCLUDE.text };
  if (file.endsWith('deep.gate')) return { text: 'include "d/deep.gate"' };
  return file === 'long.gate' ? { text: '#'.repeat(MAX_TEXT) } : { problem: 'there is no such file' };
};
const parse = (text: string, machine?: MachineFacts) => parsePolicy(text, 'example.gate', { include, machine });
/** What its example takes for granted. */
const MACHINES: Partial<Record<DiagnosticCode, MachineFacts>> = { unserved: { accounting: false } };

/** Examples that are too long for a page, or made of what does not show on one. */
const UNSHOWN: Partial<Record<DiagnosticCode, { fails: string; passes: string }>> = {
  'control-character': { fails: '# bell: \x07', passes: '# bell' },
  'invisible-character': { fails: 'rule web\u200b when tcp -> local', passes: 'rule web when tcp -> local' },
  'not-utf8': { fails: '# caf\ufffd', passes: '# café' },
  'look-alike': { fails: 'rule web when origin lоcal -> local', passes: 'rule web when origin local -> local' },
  'too-long': { fails: '#'.repeat(MAX_TEXT + 1), passes: '#'.repeat(MAX_TEXT - EXAMPLE_BASE.length - 1) },
  'too-deep': {
    fails: `rule web when ${'('.repeat(65)}tcp${')'.repeat(65)} -> local`,
    passes: `rule web when ${'('.repeat(64)}tcp${')'.repeat(64)} -> local`,
  },
  'queue-too-deep': { fails: nested(8), passes: nested(7) },
  'include-too-many': {
    fails: 'include "deep.gate"',
    passes: 'include "lan.gate"\nrule lan when remote in lan -> local',
  },
  'include-too-long': {
    fails: 'include "long.gate"',
    passes: 'include "lan.gate"\nrule lan when remote in lan -> local',
  },
  'too-many-places': {
    fails: `link dsl { tree prio }\n${queues(17 - 3)}`,
    passes: `link dsl { tree prio }\n${queues(16 - 3)}`,
  },
  'narrow-marks': {
    fails: `marks 0x0f000000\n${queues(16 - 3)}`,
    passes: `marks 0x0f000000\n${queues(15 - 3)}`,
  },
  'too-many-queues': { fails: queues(127 - 3), passes: queues(126 - 3) },
};

function queues(count: number): string {
  const numbers = Array.from({ length: count }, (_, i) => i);
  return numbers.map((i) => `queue q${i} { share 0.1% }\nrule r${i} when protocol ${i} -> q${i}`).join('\n');
}

function nested(depth: number): string {
  const numbers = Array.from({ length: depth }, (_, i) => i);
  return `${numbers.map((i) => `queue q${i} { share 5% `).join('')}${'}'.repeat(depth)}\nrule a when tcp -> q${depth - 1}`;
}

test.each(ENTRIES.filter(([code]) => code !== 'too-many'))(
  '%s: an example that fails, and one that passes',
  (code, entry) => {
    const shown = entry.fails !== undefined && entry.passes !== undefined;
    expect(shown, 'an example in the catalogue or here, and only in one of them').not.toBe(code in UNSHOWN);
    const { fails, passes } = UNSHOWN[code] ?? (entry as { fails: string; passes: string });
    const wrong = parse(complete(fails, entry.whole === true), MACHINES[code]);
    expect([...new Set(wrong.diagnostics.map((d) => d.code))]).toEqual([code]);
    expect(wrong.diagnostics[0]!.severity).toBe(entry.severity);
    expect(wrong.policy === undefined).toBe(entry.severity === 'error');
    for (const { message, hint } of wrong.diagnostics) expect(`${message} ${hint}`).not.toMatch(/\{\w+\}|\bNaN\b/);
    const right = parse(complete(passes, entry.whole === true), MACHINES[code]);
    expect(right.diagnostics).toEqual([]);
    expect(right.policy).toBeDefined();
  },
);

test('too-many: 101 errors give 100 and a count, 100 give 100', () => {
  const mistakes = (n: number) => parsePolicy(`${EXAMPLE_BASE}${'@\n'.repeat(n)}`, 'example.gate').diagnostics;
  expect(mistakes(100).map((d) => d.code)).toEqual(Array.from({ length: 100 }, () => 'unexpected-character'));
  expect(mistakes(101)).toHaveLength(101);
  expect(mistakes(101).at(-1)).toMatchObject({ code: 'too-many', message: 'and 1 more findings that are not shown' });
});

/** Everything that a person could write, by where it stands. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  statements: STATEMENTS,
  connectives: CONNECTIVES,
  subjects: Object.keys(SUBJECTS),
  values: Object.entries(VALUES).flatMap(([type, words]) => (type === 'dscp' ? ['ef', 'va', 'le'] : words)),
  settings: Object.values(SETTINGS).flat(),
  leaves: LEAVES,
  trees: TREES,
  bypasses: BYPASSES,
  'what can be replaced': REPLACES,
  'ways to ask conntrack': CONNTRACKS,
  fairness: FAIRNESS,
  'link layers': LINK_LAYERS,
  overheads: Object.keys(OVERHEADS),
  effects: EFFECTS,
  counted: [...COUNTED, ...COUNT_KEYS],
  units: UNITS,
  facts: FACTS,
  others: ['over', 'by', 'mpu', 'held', 'tree', 'with', 'to', 'both', 'none'],
};

describe('docs/language.md', () => {
  const text = readFileSync(REFERENCE, 'utf8');
  const examples = listExamples(text).filter(({ words }) => !words.includes('fails') && !words.includes('passes'));

  test('says of the findings what the catalogue says', async () => {
    await expect(renderReference()).toMatchFileSnapshot(REFERENCE);
  });

  test('has examples', () => expect(examples.length).toBeGreaterThan(25));

  test.each(Object.entries(WORDS))('has each word: %s', (_, words) => {
    const reference = text.slice(0, text.indexOf('## Findings'));
    const said = new Set([...reference.matchAll(/`([^`\n]+)`/g)].flatMap((code) => code[1]!.split(/[^\w.%-]+/)));
    expect(words.length).toBeGreaterThan(0);
    expect(words.filter((word) => !said.has(word))).toEqual([]);
  });

  test.each(examples)('the example in line $line is clean', ({ words, body }) => {
    expect(parse(complete(body, words.includes('whole'))).diagnostics).toEqual([]);
  });
});
