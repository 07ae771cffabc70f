// Where the conformance cases play: on real machines in namespaces (conformance-lab.ts), or in memory (test/fake/stage.ts).

import type { Ask } from './host.ts';
import type { Bytes } from './packets.ts';

export const BOX = { v4: '192.0.2.1', v6: '2001:db8::1', mac: '02:00:00:00:00:01' };
export const WORLD = { v4: '192.0.2.2', v6: '2001:db8::2', mac: '02:00:00:00:00:02' };
export const INSIDE = { v4: '10.0.0.2', v6: '2001:db8:1::2' };

/** In the order of the policy: the first one's class is 1. */
export const QUEUES = ['local', 'new', 'remote', 'voice', 'bulk'] as const;
export type Queue = (typeof QUEUES)[number];

/** Packets by the queue whose class they took. `some`: at least one, where it is not for us to say how many; `any`: nor whether. */
export type Counts = Partial<Record<Queue, number | 'some' | 'any'>>;
export interface BothWays {
  readonly in: Counts;
  readonly out: Counts;
}

export type End = 'box' | 'world' | 'inside';

export interface Stage {
  /** Sends datagrams on a new flow, each when the one before was answered and the datapath has had time to know the flow. */
  talk(from: End, ask: Omit<Ask, 'from' | 'transport'>): Promise<void>;
  /** @throws Error that says REFUSED where an ICMP error comes back */
  ask(from: End, ask: Ask): Promise<void>;
  /** Sends datagrams that nobody answers. */
  tell(from: End, address: string, port: number, times: number): Promise<void>;
  /** Each is answered. */
  ping(from: End, address: string, times: number): Promise<void>;
  /** Sends a crafted frame from the world towards `wan`. */
  inject(frame: Bytes): Promise<void>;
}

/** What was counted, as `expected` has it: without zeros, and `some` where no more is expected to be known. */
export function generalised(counted: BothWays, expected: BothWays): BothWays {
  const of = (way: 'in' | 'out') =>
    Object.fromEntries(
      QUEUES.map((queue) => {
        const wanted = expected[way][queue];
        const packets = counted[way][queue] ?? 0;
        return [queue, wanted === 'any' || (wanted === 'some' && packets !== 0) ? wanted : packets] as const;
      }).filter(([, packets]) => packets !== 0),
    ) as Counts;
  return { in: of('in'), out: of('out') };
}
