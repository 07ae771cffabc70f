import type { QueuePolicy } from './policy.ts';

/** The part of the link's rate that a queue is sure of: its share of its parent's. */
export function shareOf(queue: QueuePolicy, queues: readonly QueuePolicy[]): number {
  const parent = queues.find(({ name }) => name === queue.parent);
  return queue.share * (parent ? shareOf(parent, queues) : 1);
}

/** The queue that holds the one of this name and is in no other: itself, where it is nested in none. */
export function outermost(name: string, queues: readonly QueuePolicy[]): QueuePolicy {
  const queue = queues.find((q) => q.name === name)!;
  return queue.parent === undefined ? queue : outermost(queue.parent, queues);
}
