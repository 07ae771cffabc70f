/** What a counter of the kernel says. */
export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

export const NOTHING: Count = { packets: 0, bytes: 0 };

export const sumCounts = (counts: readonly Count[]): Count =>
  counts.reduce((a, b) => ({ packets: a.packets + b.packets, bytes: a.bytes + b.bytes }), NOTHING);
