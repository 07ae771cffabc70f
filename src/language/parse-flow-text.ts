import type { FlowFacts } from '../model/index.ts';
import { checkFlow } from './check-flow.ts';
import { Cursor, describe } from './cursor.ts';
import { type Diagnostic, Diagnostics } from './diagnostic.ts';
import { tokenize } from './lexer.ts';
import { parseFlowSyntax } from './parse-flow.ts';
import type { Policy } from './policy.ts';
import { createScope } from './scope.ts';
import { Sources } from './source.ts';

/** Characters of a flow that are read. */
const MAX_FLOW = 10_000;

export interface ParsedFlow {
  /** Absent where a finding is an error. */
  readonly facts?: FlowFacts | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Reads a flow, as `expect` has it: `tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local bytes.in 60MB age 40s`. `file` is
 * what findings call it; of `policy` the dynamic sets are known, which a flow's ends may be said to be in.
 */
export function parseFlow(text: string, file = '--flow', policy?: Policy): ParsedFlow {
  const sources = new Sources();
  const long = text.length > MAX_FLOW;
  const source = sources.add(long ? '' : text, file);
  const diagnostics = new Diagnostics(sources);
  if (long) {
    diagnostics.add('too-long', { start: 0, end: 0 }, { size: text.length, most: MAX_FLOW });
    return { diagnostics: diagnostics.list() };
  }
  const cursor = new Cursor(tokenize(text, diagnostics).tokens, source, diagnostics);
  const syntax = parseFlowSyntax(cursor);
  if (!cursor.atEnd && diagnostics.errors === 0)
    diagnostics.add('expected', cursor.peek(), { expected: 'a fact of the flow', found: describe(cursor.peek()) });
  const sets = new Map(
    policy?.sets.map(({ name, prefixes }) => [name, { type: 'address' as const, values: prefixes }]),
  );
  const facts = checkFlow(syntax, { ...createScope(sources, diagnostics), sets, dynamic: new Set(sets.keys()) });
  return { facts: diagnostics.errors > 0 ? undefined : facts, diagnostics: diagnostics.list() };
}
