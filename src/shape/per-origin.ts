import { outermost, type Policy, type QueuePolicy } from '../language/index.ts';
import { ORIGINS, type Origin } from '../model/index.ts';
import { numberedQueues } from './classes.ts';

/** What one ifb of a link with `ifb per origin` holds. */
export interface OriginQueues {
  /** By which the ifb is named: the first whose default leads here. */
  readonly origin: Origin;
  /** Of the link's rate, what the ifb has: the share of the queue that holds all the others. */
  readonly share: number;
  /** That queue, which may take all that the ifb has, and those nested in it. */
  readonly queues: readonly QueuePolicy[];
  /** Of the queues that flows can go to. */
  readonly numbers: readonly number[];
}

/**
 * The queues of each origin: the outermost queue that its default lead into, with all that is nested in it. Origins
 * whose defaults lead into the same one have one ifb.
 */
export function queuesPerOrigin({
  queues,
  links,
  defaults,
}: Pick<Policy, 'queues' | 'links' | 'defaults'>): OriginQueues[] {
  const numbered = numberedQueues({ queues, links });
  const owners = new Map<string, Origin>();
  for (const origin of ORIGINS) {
    const { name } = outermost(defaults[origin], queues);
    if (!owners.has(name)) owners.set(name, origin);
  }
  return [...owners].map(([name, origin]) => {
    const inside = queues.filter((queue) => outermost(queue.name, queues).name === name);
    return {
      origin,
      share: inside[0]!.share,
      queues: inside.map((queue) => (queue.name === name ? { ...queue, share: 1, ceiling: 1 } : queue)),
      numbers: numbered.flatMap(({ queue, number }) => (inside.includes(queue) ? [number] : [])),
    };
  });
}
