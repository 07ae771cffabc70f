import type { FlowFacts } from '../model/index.ts';
import { checkFlow } from './check-flow.ts';
import type { Diagnostic } from './diagnostic.ts';
import { parseFlowSyntax } from './parse-flow.ts';
import { parseText } from './parse-text.ts';
import type { Policy } from './policy.ts';

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
  const { value, diagnostics } = parseText(text, file, policy?.sets ?? [], {
    parse: parseFlowSyntax,
    expected: 'a fact of the flow',
    check: checkFlow,
  });
  return { facts: value, diagnostics };
}
