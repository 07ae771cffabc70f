import type { Term } from '../language/index.ts';
import { formatEnd, type Origin, protocolName } from '../model/index.ts';
import type { FlowEvent } from '../monitor/index.ts';
import type { EvenClock } from './even-clock.ts';
import { type Carried, type Counted, countsOf } from './flow-memory.ts';
import type { FlowView } from './flow-view.ts';

/** What the kernel tells at the end of a flow. Times in ms since 1970 by the clock of the wall, where it takes them. */
export interface FlowEnd extends Counted {
  readonly start?: number | undefined;
  readonly stop?: number | undefined;
}

/**
 * What is told of an end. `heard` is when we were told of the flow, and decided it; where that was by its event, the kernel
 * says only now how long it had been there. A dump says so at once, and then they are the same.
 */
export function endOf(
  origin: Origin,
  heard: number,
  now: number,
  times: Pick<EvenClock, 'evenOf' | 'startOf'>,
  end: FlowEnd = {},
): NoteOfEnd {
  const start = end.start === undefined ? undefined : times.startOf(end.start, heard);
  const began = start ?? heard;
  const age = (end.stop === undefined ? now : times.evenOf(end.stop, now)) - began;
  return {
    began,
    duration: Number.isNaN(age) ? undefined : age,
    unknown: start !== undefined && heard !== start ? heard - start : undefined,
    counts: countsOf(end, origin),
  };
}

type NoteOfEnd = Pick<FlowNote, 'began' | 'duration' | 'unknown' | 'counts'>;

/** What is told of a flow beside what the view shows. */
export interface FlowNote {
  readonly id: number;
  readonly queue: string;
  readonly rule?: string | undefined;
  /** Why the rule takes it. */
  readonly because?: readonly Term[] | undefined;
  readonly before?: FlowEvent['before'];
  /** Ms since 1970; NaN: not known. */
  readonly began: number;
  /** Ms: its age at its end, and how much of that went by before it was decided. */
  readonly duration?: number | undefined;
  readonly unknown?: number | undefined;
  readonly counts?: Carried | undefined;
}

/** An item of the event stream about the flow that the view stands on. */
export const flowEvent = (
  kind: FlowEvent['kind'],
  flow: Pick<FlowView, 'protocol' | 'local' | 'remote' | 'origin' | 'zone'>,
  { id, queue, rule, because, before, began, duration, unknown, counts }: FlowNote,
): FlowEvent => ({
  kind,
  id,
  protocol: protocolName(flow.protocol),
  local: formatEnd(flow.local),
  remote: formatEnd(flow.remote),
  origin: flow.origin,
  queue,
  ...(rule !== undefined && { rule }),
  ...(because !== undefined && {
    because: because.map(({ text, value }) => (value === undefined ? { term: text } : { term: text, value })),
  }),
  ...(before !== undefined && { before }),
  ...(flow.zone !== 0 && { zone: flow.zone }),
  ...(!Number.isNaN(began) && { began: new Date(began).toISOString() }),
  ...(duration !== undefined && { duration: ms(duration) }),
  ...(unknown !== undefined && { unknown: ms(unknown) }),
  ...(counts && {
    bytes: counts.bytes.in + counts.bytes.out,
    packets: counts.packets.in + counts.packets.out,
    in: { bytes: counts.bytes.in, packets: counts.packets.in },
    out: { bytes: counts.bytes.out, packets: counts.packets.out },
  }),
});

/** To the microsecond. Clocks of two sources may differ by less than they say. */
const ms = (time: number): number => Math.max(0, Math.round(time * 1000) / 1000);
