import { Cursor, describe } from './cursor.ts';
import { type Diagnostic, Diagnostics } from './diagnostic.ts';
import { tokenize } from './lexer.ts';
import type { Policy } from './policy.ts';
import { createScope, type Scope } from './scope.ts';
import { Sources } from './source.ts';

/** Characters that are read. */
const MOST = 10_000;

/** How one kind of text is read. */
export interface Grammar<Syntax, Value> {
  readonly parse: (cursor: Cursor) => Syntax;
  /** What could stand where more stands than there should, for a finding. */
  readonly expected: string;
  readonly check: (syntax: Syntax, scope: Scope) => Value | undefined;
}

/**
 * Reads a text that is no policy but a piece of one, alone. `file` is what findings call it; the dynamic sets among `sets`
 * are known in it. The value is undefined where a finding is an error.
 */
export function parseText<Syntax, Value>(
  text: string,
  file: string,
  sets: Policy['sets'],
  { parse, expected, check }: Grammar<Syntax, Value>,
): { readonly value: Value | undefined; readonly diagnostics: readonly Diagnostic[] } {
  const sources = new Sources();
  const long = text.length > MOST;
  const source = sources.add(long ? '' : text, file);
  const diagnostics = new Diagnostics(sources);
  if (long) {
    diagnostics.add('too-long', { start: 0, end: 0 }, { size: text.length, most: MOST });
    return { value: undefined, diagnostics: diagnostics.list() };
  }
  const cursor = new Cursor(tokenize(text, diagnostics).tokens, source, diagnostics);
  const syntax = parse(cursor);
  if (!cursor.atEnd && diagnostics.errors === 0)
    diagnostics.add('expected', cursor.peek(), { expected, found: describe(cursor.peek()) });
  const known = new Map(sets.map(({ name, prefixes }) => [name, { type: 'address' as const, values: prefixes }]));
  const value = check(syntax, {
    ...createScope(sources, diagnostics),
    ...{ sets: known, dynamic: new Set(known.keys()) },
  });
  return { value: diagnostics.errors > 0 ? undefined : value, diagnostics: diagnostics.list() };
}
