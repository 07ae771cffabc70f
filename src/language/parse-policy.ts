import { check } from './checker.ts';
import { type Diagnostic, Diagnostics } from './diagnostic.ts';
import { parse } from './parser.ts';
import type { Policy } from './policy.ts';
import { Source } from './source.ts';

/** Characters of a policy that are read; about 40,000 rules. */
export const MAX_TEXT = 4 << 20;

export interface ParsedPolicy {
  /** Absent where a finding is an error. */
  readonly policy?: Policy | undefined;
  /** In the order of the text. */
  readonly diagnostics: readonly Diagnostic[];
}

/** Reads a policy. Any text at all gives findings or a policy, never an exception; the time is linear in its length. */
export function parsePolicy(text: string, file: string): ParsedPolicy {
  if (text.length > MAX_TEXT) {
    const diagnostics = new Diagnostics(new Source('', file));
    diagnostics.add('too-long', { start: 0, end: 0 }, { size: text.length, most: MAX_TEXT });
    return { diagnostics: diagnostics.list() };
  }
  const source = new Source(text, file);
  const diagnostics = new Diagnostics(source);
  const policy = check(parse(source, diagnostics), source, diagnostics);
  return { policy, diagnostics: diagnostics.list() };
}
