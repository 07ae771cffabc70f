import type { Policy, Rule } from '../language/index.ts';
import { DEFAULT_MARK_FIELD } from '../model/index.ts';
import { compileRules } from '../shape/index.ts';

/** Lines that a hover shows. */
const MAX_LINES = 40;

/** What a kernel rule is in nft, as if it stood alone; for one that nft cannot carry, why. */
export function formatKernelRule(rule: Rule, policy: Policy): string | undefined {
  if (rule.queue === undefined) return undefined;
  const { sets, chains, left } = compileRules({ ...policy, rules: [rule] }, policy.marks ?? DEFAULT_MARK_FIELD);
  const [problem] = left;
  if (problem) return `# not in nft: ${problem.why}`;
  if (chains.length === 0) return '# nothing to do in nft: its flows are in that queue by their origin';
  const lines = [
    ...sets,
    ...chains.flatMap(({ name, rules }) => [`chain ${name} {`, ...rules.map((one) => `  ${one}`), '}']),
  ];
  return lines.slice(0, MAX_LINES).join('\n') + (lines.length > MAX_LINES ? '\n...' : '');
}
