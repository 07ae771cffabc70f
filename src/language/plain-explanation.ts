import { plain } from '../model/index.ts';
import type { Explanation } from './explain.ts';

/** An explanation as JSON can carry it: rules by name, addresses as people write them. */
export function plainExplanation({ decision, facts, rules }: Explanation) {
  return {
    queue: decision.queue,
    rule: decision.rule?.name ?? null,
    facts: plain(facts),
    rules: rules.map(({ rule, verdict, because, change, needs, behind }) => ({
      name: rule.name,
      file: rule.file,
      line: rule.line,
      queue: rule.queue ?? null,
      tier: rule.tier,
      verdict,
      because,
      change: change ?? null,
      needs: needs ?? null,
      behind: behind.map(({ name }) => name),
    })),
  };
}

export type PlainExplanation = ReturnType<typeof plainExplanation>;
