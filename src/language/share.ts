import type { QueuePolicy } from './policy.ts';

/** The part of the link's rate that a queue is sure of: its share of its parent's. */
export function shareOf(queue: QueuePolicy, queues: readonly QueuePolicy[]): number {
  const parent = queues.find(({ name }) => name === queue.parent);
  return queue.share * (parent ? shareOf(parent, queues) : 1);
}
