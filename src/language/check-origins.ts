import type { Origin } from '../model/index.ts';
import type { Queues } from './check-queue.ts';
import type { LinkPolicy } from './policy.ts';
import type { Scope } from './scope.ts';
import type { Defined } from './settings.ts';
import { outermost } from './share.ts';
import type { LinkSyntax } from './syntax.ts';

/** Less of a link's rate than this is left out for a reason. */
const TOLERANCE = 0.01;

/** Reports what `ifb per origin` makes of the queues: which ifb each is on, and what is nobody's. */
export function reportOrigins(
  links: readonly Defined<LinkSyntax>[],
  policies: readonly LinkPolicy[],
  queues: Queues,
  defaults: Readonly<Record<Origin, string>>,
  { diagnostics }: Scope,
): void {
  const leads = Object.values(defaults).map((name) => outermost(name, queues.policies));
  const owners = new Set(leads);
  const orphans = queues.policies.filter((queue) => queue.parent === undefined && !owners.has(queue));
  const whole = [...owners, ...orphans].reduce((sum, { share }) => sum + share, 0);
  for (const [i, { ifbPer, tree, name: link }] of policies.entries()) {
    const at = links[i]!.settings?.find(({ key }) => key.text === 'ifb');
    if (!at || ifbPer === undefined) continue;
    if (tree === 'cake') diagnostics.add('cake-per-origin', at, { link });
    if (whole < 1 - TOLERANCE) diagnostics.add('rate-unused', at, { link, part: Math.round((1 - whole) * 100) });
    for (const [n, queue] of queues.policies.entries()) {
      const { name, settings } = queues.syntax[n]!;
      if (queue.parent !== undefined) continue;
      if (!owners.has(queue)) diagnostics.add('queue-without-ifb', name, { name: queue.name, link });
      const ceiling = settings?.find(({ key }) => key.text === 'ceiling');
      if (ceiling) diagnostics.add('ceiling-per-origin', ceiling, { name: queue.name, link });
    }
  }
}
