import { checkCondition } from './check-condition.ts';
import { Cursor, describe } from './cursor.ts';
import { type Diagnostic, Diagnostics } from './diagnostic.ts';
import { tokenize } from './lexer.ts';
import { parseCondition } from './parse-condition.ts';
import type { Condition, Policy } from './policy.ts';
import { createScope } from './scope.ts';
import { Sources } from './source.ts';
import { leavesOf } from './tier.ts';

/** Characters of a condition that are read. */
const MAX_WHERE = 10_000;

export interface ParsedWhere {
  /** Absent where a finding is an error. */
  readonly condition?: Condition | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Reads a condition as it stands behind `when`, to ask it of flows: `origin remote and rate.out > 1mbit`. Of `policy` the dynamic
 * sets are known. `for` has no meaning here: nobody has watched for so long.
 */
export function parseWhere(text: string, policy: Pick<Policy, 'sets'>, file = '--where'): ParsedWhere {
  const sources = new Sources();
  const long = text.length > MAX_WHERE;
  const source = sources.add(long ? '' : text, file);
  const diagnostics = new Diagnostics(sources);
  if (long) {
    diagnostics.add('too-long', { start: 0, end: 0 }, { size: text.length, most: MAX_WHERE });
    return { diagnostics: diagnostics.list() };
  }
  const cursor = new Cursor(tokenize(text, diagnostics).tokens, source, diagnostics);
  const syntax = parseCondition(cursor);
  if (!cursor.atEnd && diagnostics.errors === 0)
    diagnostics.add('expected', cursor.peek(), { expected: 'and, or, or the end', found: describe(cursor.peek()) });
  const sets = new Map(policy.sets.map(({ name, prefixes }) => [name, { type: 'address' as const, values: prefixes }]));
  const condition = checkCondition(syntax, {
    ...createScope(sources, diagnostics),
    ...{ sets, dynamic: new Set(sets.keys()) },
  });
  if (condition && [...leavesOf(condition)].some(({ kind }) => kind === 'held') && diagnostics.errors === 0)
    diagnostics.add('expected', { start: 0, end: text.length }, { expected: 'a condition without "for"', found: text });
  return { condition: diagnostics.errors > 0 ? undefined : condition, diagnostics: diagnostics.list() };
}
