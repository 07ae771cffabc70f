/** By what flows can be put in order: names downwards from A, all else from the most. */
export const FLOW_ORDERS = ['bytes', 'packets', 'rate', 'age', 'local', 'remote', 'queue', 'rule'] as const;
export type FlowOrder = (typeof FLOW_ORDERS)[number];

/** Flows in one list at most. */
export const MOST_LISTED = 10_000;
