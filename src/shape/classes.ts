import { type Policy, type QueuePolicy, shareOf } from '../language/index.ts';
import { chooseTins, MAX_TINS, type MarkField, splitMarkField } from '../model/index.ts';

/** The queues that flows can go to, in the order of the policy: those that no other is nested in. */
export function leafQueues(queues: readonly QueuePolicy[]): QueuePolicy[] {
  const parents = new Set(queues.map((queue) => queue.parent));
  return queues.filter((queue) => !parents.has(queue.name));
}

/** A queue that flows can go to, with the number of its class. */
export interface NumberedQueue {
  readonly queue: QueuePolicy;
  readonly number: number;
}

/**
 * The queues that flows can go to, in the order of the policy, with the numbers of their classes: the minors of the
 * classids, and the values in the mark. A number is the queue's place, from 1. Where a link's tree is cake, it is that of
 * the tin that stands for the queue, in all of the policy: a mark has one meaning.
 */
export function numberedQueues({ queues, links }: Pick<Policy, 'queues' | 'links'>): NumberedQueue[] {
  const flat = leafQueues(queues);
  const cake = links.some(({ tree }) => tree === 'cake') && flat.length <= MAX_TINS;
  const tins = cake ? chooseTins(flat.map((queue) => shareOf(queue, queues))).tins : undefined;
  return flat.map((queue, i) => ({ queue, number: tins?.[i]?.minor ?? i + 1 }));
}

/** Number of a queue's class; 0 for a queue that holds others. */
export const classOf = (policy: Pick<Policy, 'queues' | 'links'>, queue: string): number =>
  numberedQueues(policy).find(({ queue: { name } }) => name === queue)?.number ?? 0;

/** Above it no number is a class of the policy. */
export const highestClass = (policy: Pick<Policy, 'queues' | 'links'>): number =>
  Math.max(...numberedQueues(policy).map(({ number }) => number));

/** The bits of the mark as a policy uses them: where a rule looks at counters, one of them says which flows those are of. */
export const fieldOf = (policy: Policy, field: MarkField): MarkField =>
  policy.needs.counters && field.watch === undefined ? splitMarkField(field, highestClass(policy)) : field;
