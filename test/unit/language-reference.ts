import { readFileSync } from 'node:fs';
import { CATALOGUE, type DiagnosticCode, EXAMPLE_BASE, type Severity } from '../../src/language/index.ts';

export const REFERENCE = new URL('../../docs/language.md', import.meta.url).pathname;

const START =
  '<!-- from src/language/catalogue.ts; written by: npx vitest run test/unit/language-catalogue.test.ts -u -->';
const END = '<!-- end of the catalogue -->';

interface Entry {
  readonly severity: Severity;
  readonly message: string;
  readonly hint?: string;
  readonly about: string;
  readonly fails?: string;
  readonly passes?: string;
  readonly whole?: true;
}

export const ENTRIES: readonly (readonly [DiagnosticCode, Entry])[] = Object.entries(CATALOGUE) as never;

/** The reference with its part on findings written anew from the catalogue. */
export function renderReference(): string {
  const text = readFileSync(REFERENCE, 'utf8');
  const [before, rest] = text.split(START);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`docs/language.md lacks ${START} or ${END}`);
  return `${before}${START}\n\n${ENTRIES.map(renderEntry).join('\n')}\n${END}${after}`;
}

function renderEntry([
  code,
  { severity, message, hint, about, fails, passes, whole },
]: (typeof ENTRIES)[number]): string {
  const lines = [`### ${code}`, '', `${severity}: \`${message}\``, '', about, ''];
  if (hint) lines.push(`Hint: ${hint}`, '');
  const kind = whole ? 'gate whole' : 'gate';
  if (fails !== undefined) lines.push(`\`\`\`${kind} fails`, fails, '```', '');
  if (passes !== undefined) lines.push(`\`\`\`${kind} passes`, passes, '```', '');
  return lines.join('\n');
}

/** The fenced blocks of the reference in a language, with the words behind it. */
export function listExamples(
  text: string,
): { readonly words: readonly string[]; readonly body: string; readonly line: number }[] {
  return [...text.matchAll(/^```gate *([^\n]*)\n([\s\S]*?)\n```$/gm)].map((match) => ({
    words: match[1]!.split(' ').filter(Boolean),
    body: match[2]!,
    line: text.slice(0, match.index).split('\n').length,
  }));
}

export const complete = (body: string, whole: boolean): string => (whole ? `${body}\n` : `${EXAMPLE_BASE}${body}\n`);
