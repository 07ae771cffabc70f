import type { Policy, QueuePolicy } from '../language/index.ts';

/** The queues that flows can go to, in the order of the policy: those that no other is nested in. */
export function leafQueues(queues: readonly QueuePolicy[]): QueuePolicy[] {
  const parents = new Set(queues.map((queue) => queue.parent));
  return queues.filter((queue) => !parents.has(queue.name));
}

/**
 * Number of a queue's class: its place among the queues that flows can go to, from 1. It is the minor of the classid
 * and the value in the mark. 0 for a queue that holds others.
 */
export const classOf = (policy: Pick<Policy, 'queues'>, queue: string): number =>
  leafQueues(policy.queues).findIndex((q) => q.name === queue) + 1;
