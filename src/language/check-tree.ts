import { chooseTins, MAX_BANDS, MAX_TINS } from '../model/index.ts';
import type { Queues } from './check-queue.ts';
import type { LinkPolicy, QueuePolicy, TreeKind } from './policy.ts';
import type { Scope } from './scope.ts';
import type { Defined } from './settings.ts';
import { shareOf } from './share.ts';
import type { LinkSyntax, SettingSyntax } from './syntax.ts';

/** Queues that flows can go to, at most, where there is a bound. */
const PLACES: Readonly<Partial<Record<TreeKind, readonly [most: number, places: string]>>> = {
  prio: [MAX_BANDS, 'bands'],
  cake: [MAX_TINS, 'tins'],
};

/** What of a queue a kind of tree does not keep. */
const IGNORED: Readonly<Record<TreeKind, readonly ('ceiling' | 'leaf')[]>> = {
  htb: [],
  prio: ['ceiling'],
  cake: ['ceiling', 'leaf'],
};

/** Less than its share by more than this is said of a queue. */
const TOLERANCE = 0.05;

/** Reports what the kinds of the links' trees make of the queues. */
export function reportTrees(
  links: readonly Defined<LinkSyntax>[],
  policies: readonly LinkPolicy[],
  queues: Queues,
  scope: Scope,
): void {
  const { diagnostics } = scope;
  const flat = queues.policies.filter(({ name }) => !queues.inner.has(name));
  const cake = policies.find(({ tree }) => tree === 'cake');
  for (const [i, { tree, name: link }] of policies.entries()) {
    const at = links[i]!.settings?.find(({ key }) => key.text === 'tree');
    if (!at) continue;
    if (tree === 'prio' && cake) diagnostics.add('prio-beside-cake', at, { link, other: cake.name });
    const [most, places] = PLACES[tree] ?? [Number.POSITIVE_INFINITY, ''];
    if (flat.length > most) diagnostics.add('too-many-places', at, { tree, most, places, count: flat.length });
    for (const [n, queue] of queues.syntax.entries()) {
      for (const setting of IGNORED[tree]) {
        const written = queue.settings?.find(({ key }) => key.text === setting);
        if (written && !isUsual(setting, queues.policies[n]!) && !isOfLeaf(tree, setting, queues.policies[n]!))
          diagnostics.add('tree-ignores', written, { tree, link, setting, name: queue.name.text });
      }
    }
    if (tree === 'cake' && flat.length > 0 && flat.length <= MAX_TINS)
      reportParts(link, at, flat, queues.policies, scope);
  }
}

/** Cake's tins have parts of their own. */
function reportParts(
  link: string,
  at: SettingSyntax,
  flat: readonly QueuePolicy[],
  all: readonly QueuePolicy[],
  { diagnostics }: Scope,
): void {
  const shares = flat.map((queue) => shareOf(queue, all));
  for (const [i, { name, part }] of chooseTins(shares).tins.entries()) {
    const share = shares[i]!;
    if (part >= share - TOLERANCE) continue;
    const fields = { link, name: flat[i]!.name, tin: name, part: percent(part), share: percent(share) };
    diagnostics.add('tin-below-share', at, fields);
  }
}

const percent = (part: number): number => Number((part * 100).toFixed(1));

/** What happens anyhow. */
const isUsual = (setting: 'ceiling' | 'leaf', queue: QueuePolicy): boolean =>
  setting === 'ceiling' ? queue.ceiling === 1 : queue.leaf === undefined || queue.leaf === 'cake';

/** A band's own shaper keeps what the band cannot. */
const isOfLeaf = (tree: TreeKind, setting: 'ceiling' | 'leaf', { leaf, fair }: QueuePolicy): boolean =>
  tree === 'prio' && setting === 'ceiling' && leaf === 'tbf' && fair !== 'host';
