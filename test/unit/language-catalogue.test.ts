import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type DiagnosticCode, EXAMPLE_BASE, MAX_TEXT, parsePolicy } from '../../src/language/index.ts';
import { complete, ENTRIES, listExamples, REFERENCE, renderReference } from './language-reference.ts';

const codesOf = (text: string) => [...new Set(parsePolicy(text, 'example.gate').diagnostics.map((d) => d.code))];

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
  'too-many-queues': { fails: queues(127 - 3), passes: queues(126 - 3) },
};

function queues(count: number): string {
  const numbers = Array.from({ length: count }, (_, i) => i);
  return numbers.map((i) => `queue q${i} { share 0.1% }\nrule r${i} when protocol ${i} -> q${i}`).join('\n');
}

test.each(ENTRIES.filter(([code]) => code !== 'too-many'))(
  '%s: an example that fails, and one that passes',
  (code, entry) => {
    const shown = entry.fails !== undefined && entry.passes !== undefined;
    expect(shown, 'an example in the catalogue or here, and only in one of them').not.toBe(code in UNSHOWN);
    const { fails, passes } = UNSHOWN[code] ?? (entry as { fails: string; passes: string });
    const wrong = parsePolicy(complete(fails, entry.whole === true), 'example.gate');
    expect([...new Set(wrong.diagnostics.map((d) => d.code))]).toEqual([code]);
    expect(wrong.diagnostics[0]!.severity).toBe(entry.severity);
    expect(wrong.policy === undefined).toBe(entry.severity === 'error');
    for (const { message, hint } of wrong.diagnostics) expect(`${message} ${hint}`).not.toMatch(/\{\w+\}|\bNaN\b/);
    const right = parsePolicy(complete(passes, entry.whole === true), 'example.gate');
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

describe('docs/language.md', () => {
  const text = readFileSync(REFERENCE, 'utf8');
  const examples = listExamples(text).filter(({ words }) => !words.includes('fails') && !words.includes('passes'));

  test('says of the findings what the catalogue says', async () => {
    await expect(renderReference()).toMatchFileSnapshot(REFERENCE);
  });

  test('has examples', () => expect(examples.length).toBeGreaterThan(7));

  test.each(examples)('the example in line $line is clean', ({ words, body }) => {
    expect(codesOf(complete(body, words.includes('whole')))).toEqual([]);
  });
});
