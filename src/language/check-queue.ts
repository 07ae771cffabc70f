import { readChoice, readShare } from './check-value.ts';
import type { QueuePolicy } from './policy.ts';
import { resolveToken, type Scope } from './scope.ts';
import { type Defined, definedOf, settingsOf, settingValue } from './settings.ts';
import type { QueueSyntax } from './syntax.ts';
import { FAIRNESS, LEAVES } from './vocabulary.ts';

/** Queues of a policy: class numbers 1..126 in the mark field. */
export const MAX_QUEUES = 126;

export interface Queues {
  readonly policies: readonly QueuePolicy[];
  readonly syntax: readonly Defined<QueueSyntax>[];
  /** The queues that each holds, by the name of the outer one. */
  readonly inner: ReadonlyMap<string, readonly string[]>;
  /** All names. */
  readonly names: ReadonlySet<string>;
}

/** Queues, each before those within it. */
export function checkQueues(outermost: readonly QueueSyntax[], scope: Scope): Queues {
  const parents = new Map<QueueSyntax, QueueSyntax | undefined>();
  const flatten = (queue: QueueSyntax, parent?: QueueSyntax): readonly QueueSyntax[] => {
    parents.set(queue, parent);
    return [queue, ...queue.queues.flatMap((child) => flatten(child, queue))];
  };
  const syntax = definedOf(
    outermost.flatMap((queue) => flatten(queue)),
    scope,
  );
  const sums = new Map<string | undefined, number>();
  const inner = new Map<string, string[]>();
  const policies = syntax.map((queue, index) => {
    const parent = parents.get(queue)?.name.text;
    if (parent !== undefined) inner.set(parent, [...(inner.get(parent) ?? []), queue.name.text]);
    if (index === MAX_QUEUES)
      scope.diagnostics.add('too-many-queues', queue.name, { number: index + 1, most: MAX_QUEUES });
    return checkQueue(queue, parent, sums, scope);
  });
  return { policies, syntax, inner, names: new Set(syntax.map((queue) => queue.name.text)) };
}

/** `sums`: the shares so far, by the queue around. */
function checkQueue(
  queue: Defined<QueueSyntax>,
  parent: string | undefined,
  sums: Map<string | undefined, number>,
  scope: Scope,
): QueuePolicy {
  const { diagnostics } = scope;
  const name = queue.name.text;
  const settings = settingsOf(queue, scope);
  const at = (key: string) => {
    const token = settingValue(settings, key);
    return token && resolveToken(token, key, scope);
  };
  const [shareToken, ceilingToken, leafToken, fairToken] = [at('share'), at('ceiling'), at('leaf'), at('fair')];
  const share = shareToken && readShare(shareToken, 'share', diagnostics);
  const ceiling = ceilingToken && readShare(ceilingToken, 'ceiling', diagnostics);
  const leaf = leafToken && readChoice(leafToken, 'a leaf', LEAVES, diagnostics);
  const fair = fairToken && readChoice(fairToken, 'what a queue is fair by', FAIRNESS, diagnostics);

  if (queue.settings && !settings.has('share')) diagnostics.add('missing-share', queue.name, { name });
  if (share !== undefined && ceiling !== undefined && ceiling < share) {
    const fields = { name, ceiling: percent(ceiling), share: percent(share) };
    diagnostics.add('ceiling-below-share', ceilingToken!, fields);
  }
  const before = sums.get(parent) ?? 0;
  const sum = before + (share ?? 0);
  sums.set(parent, sum);
  // Thirds of 100% add up to a hair more in binary.
  if (sum > 1 + 1e-9 && before <= 1 + 1e-9) {
    const where = parent === undefined ? '' : ` in queue "${parent}"`;
    diagnostics.add('shares-over', shareToken!, { where, sum: percent(sum) });
  }
  if (queue.queues.length > 0)
    for (const key of ['leaf', 'fair'])
      if (settings.has(key)) diagnostics.add('inner-setting', settings.get(key)!, { name, setting: key });
  return { name, parent, share: share ?? 0, ceiling: ceiling ?? 1, leaf, fair };
}

const percent = (part: number): number => Number((part * 100).toFixed(6));
