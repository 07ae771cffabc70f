import type { Origin, Rate } from '../model/index.ts';

/** A flow as the screen shows it. */
export interface FlowLine {
  /** `tcp 192.0.2.1:443`: the far end, and a name of it where one is known. */
  readonly protocol: string;
  readonly local: string;
  readonly remote: string;
  readonly origin: Origin;
  readonly queue: string;
  readonly rule?: string | undefined;
  /** Who has it open, or what the far end is called. */
  readonly name?: string | undefined;
  /** Bit/s, and bytes since it began; undefined where nobody counts. */
  readonly rateIn?: Rate | undefined;
  readonly rateOut?: Rate | undefined;
  readonly bytes?: number | undefined;
  /** Seconds. */
  readonly age?: number | undefined;
}

/** In the order in which the key goes through them. */
export const SORTS = ['rate', 'bytes', 'age', 'queue'] as const;
export type Sort = (typeof SORTS)[number];

const rateOf = ({ rateIn = 0, rateOut = 0 }: FlowLine): number => rateIn + rateOut;
const KEYS: Readonly<Record<Sort, (a: FlowLine, b: FlowLine) => number>> = {
  rate: (a, b) => rateOf(b) - rateOf(a),
  bytes: (a, b) => (b.bytes ?? 0) - (a.bytes ?? 0),
  age: (a, b) => (a.age ?? 0) - (b.age ?? 0),
  queue: (a, b) => a.queue.localeCompare(b.queue) || rateOf(b) - rateOf(a),
};

/** The busiest first, the largest, the youngest, or by queue. Equal ones keep their order. */
export const sortFlows = (flows: readonly FlowLine[], by: Sort): FlowLine[] => flows.toSorted(KEYS[by]);
