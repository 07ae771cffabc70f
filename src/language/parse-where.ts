import { checkCondition } from './check-condition.ts';
import type { Diagnostic } from './diagnostic.ts';
import { parseCondition } from './parse-condition.ts';
import { parseText } from './parse-text.ts';
import type { Condition, Policy } from './policy.ts';
import { leavesOf } from './tier.ts';

export interface ParsedWhere {
  /** Absent where a finding is an error. */
  readonly condition?: Condition | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Reads a condition as it stands behind `when`, to ask it of flows: `origin remote and rate.out > 1mbit`. Of `policy` the dynamic
 * sets are known. `for` has no meaning here: nobody has watched for so long.
 */
export function parseWhere(text: string, { sets }: Pick<Policy, 'sets'>): ParsedWhere {
  const { value, diagnostics } = parseText(text, '--where', sets, {
    parse: parseCondition,
    expected: 'and, or, or the end',
    check: (syntax, scope) => {
      const condition = checkCondition(syntax, scope);
      const place = { start: 0, end: text.length };
      if (condition && [...leavesOf(condition)].some(({ kind }) => kind === 'held') && scope.diagnostics.errors === 0)
        scope.diagnostics.add('expected', place, { expected: 'a condition without "for"', found: text });
      return condition;
    },
  });
  return { condition: value, diagnostics };
}
