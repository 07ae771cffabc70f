import type { MachineFacts } from '../model/index.ts';
import { check } from './checker.ts';
import { type Diagnostic, Diagnostics } from './diagnostic.ts';
import { loadFile, type ReadInclude } from './include.ts';
import type { Policy } from './policy.ts';
import { createScope } from './scope.ts';
import { Sources } from './source.ts';

/** Characters of a policy that are read, with all that it includes; about 160,000 rules. */
export const MAX_TEXT = 16 << 20;

export interface ParseOptions {
  /** Reads what `include` names; without it including is a mistake. */
  readonly include?: ReadInclude | undefined;
  /** The machine that the policy is for; without it nothing is said about what it serves. */
  readonly machine?: MachineFacts | undefined;
}

export interface ParsedPolicy {
  /** Absent where a finding is an error. */
  readonly policy?: Policy | undefined;
  /** The same, also where no finding but `failed-expect` is an error: to be looked at, and never to be run. */
  readonly checked?: Policy | undefined;
  /** In the order of the text. */
  readonly diagnostics: readonly Diagnostic[];
  /** The texts that were read, by their file: what findings are shown with. */
  readonly texts: ReadonlyMap<string, string>;
}

/**
 * Reads a policy, with what it includes. Any text at all gives findings or a policy, never an exception; the time is
 * linear in its length.
 */
export function parsePolicy(text: string, file: string, options: ParseOptions = {}): ParsedPolicy {
  const sources = new Sources();
  const diagnostics = new Diagnostics(sources);
  if (text.length > MAX_TEXT) {
    sources.add('', file);
    diagnostics.add('too-long', { start: 0, end: 0 }, { size: text.length, most: MAX_TEXT });
    return { diagnostics: diagnostics.list(), texts: new Map() };
  }
  const statements = loadFile(sources.add(text, file), {
    sources,
    diagnostics,
    include: options.include,
    room: MAX_TEXT - text.length,
  });
  const checked = check(statements, createScope(sources, diagnostics, options.machine));
  return {
    policy: diagnostics.errors > 0 ? undefined : checked,
    checked,
    diagnostics: diagnostics.list(),
    texts: new Map(sources.all.map((source) => [source.file, source.text])),
  };
}
