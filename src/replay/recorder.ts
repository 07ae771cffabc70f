import type { MonitorItem } from '../monitor/index.ts';
import { oldestOf } from '../pipeline/oldest.ts';

/** Flows whose end is waited for; of more, those that were told of the longest ago have none. */
const MOST_OPEN = 500_000;

/** What a recording begins with. */
export const RECORDING_START = '{"headgate":"recording",';

/** What the first line of each run of `headgate record` says. */
export interface RecordingHead {
  readonly headgate: 'recording';
  readonly version: 1;
  readonly session: string;
  /** Wall time at its beginning. */
  readonly time: string;
}

/**
 * One line of a recording behind its head. Times are ms since the line before; flows are numbered in the order of their `n`, places
 * in that of their `p`, from 0, within one run.
 *
 * - `p`: a queue, and the rule that leads there, which later lines name by number
 * - `n`: a flow begins: protocol, ends, origin, place; how old it was already, zone, and what it had carried, as `e` has it
 * - `u`: it goes to another place
 * - `c`: recording ends, and it goes on: what it has carried, as `e` has it
 * - `e`: it ends: bytes in, bytes out, packets in, packets out, where the kernel counts
 * - `x`: something was lost, or read anew
 */
export type RecordedLine =
  | readonly ['p', queue: string, rule: string | null]
  | readonly [
      'n',
      ms: number,
      protocol: string,
      local: string,
      remote: string,
      origin: string,
      place: number,
      age?: number,
      zone?: number,
      ...before: number[],
    ]
  | readonly ['u', ms: number, flow: number, place: number]
  | readonly ['c' | 'e', ms: number, flow: number, ...counts: number[]]
  | readonly ['x', ms: number, kind: 'gap' | 'overrun' | 'resync', count: number];

type FlowItem = Extract<MonitorItem, { readonly origin: string }>;

/** Makes lines of a recording of the items of the stream. */
export class Recorder {
  readonly #flows = new Map<string, number>();
  readonly #places = new Map<string, number>();
  /** Of which the last items have told what they have carried: what is behind that may be older. */
  readonly #told = new Set<string>();
  readonly #most: number;
  #born = 0;
  /** Some were told of too long ago: who is not known may be one of them, and stand there already. */
  #forgot = false;
  #last: number | undefined;

  constructor(most = MOST_OPEN) {
    this.#most = most;
  }

  /** Flows in it so far. */
  get flows(): number {
    return this.#born;
  }

  /** The lines of one item, each without its end; none for what is not recorded. */
  linesOf(item: MonitorItem): string[] {
    switch (item.kind) {
      case 'stream': {
        const { session, time } = item;
        const head: RecordingHead = { headgate: 'recording', version: 1, session, time };
        this.#last = item.monotonic;
        return [JSON.stringify(head)];
      }
      case 'gap':
        return [line('x', this.#passed(item), 'gap', item.to - item.from + 1)];
      case 'overrun':
        return [line('x', this.#passed(item), 'overrun', item.count)];
      case 'resync':
        return [line('x', this.#passed(item), 'resync', item.added + item.removed)];
      case 'flow.new':
      case 'flow.known': {
        const key = keyOf(item);
        const known = this.#flows.get(key);
        // One that was there has carried something before: an earlier run in the same file may have that.
        if (known === undefined) return this.#begin(item, item.kind === 'flow.known' ? countsOf(item) : []);
        // The longest known first.
        this.#flows.delete(key);
        this.#flows.set(key, known);
        // The kernel's table was read anew, or it came while we were told what is there.
        return this.#move(item, known);
      }
      case 'flow.update': {
        const flow = this.#flows.get(keyOf(item));
        if (flow !== undefined) return this.#move(item, flow);
        return this.#forgot ? [] : this.#begin(item);
      }
      case 'flow.end':
        return this.#end('e', item);
      default:
        return [];
    }
  }

  /** The same of the last items: what has happened until recording ended, and flows that go on, with what they have carried. */
  lastLinesOf(item: MonitorItem): string[] {
    switch (item.kind) {
      case 'stream':
        return [];
      case 'flow.known': {
        const key = keyOf(item);
        if (!item.in || this.#told.has(key)) return [];
        this.#told.add(key);
        return this.#end('c', item);
      }
      case 'flow.new':
        return this.#told.has(keyOf(item)) ? [] : this.linesOf(item);
      case 'flow.update':
      case 'flow.end':
        // Of one that is not known any more, all has been said.
        return this.#flows.has(keyOf(item)) ? this.linesOf(item) : [];
      default:
        return this.linesOf(item);
    }
  }

  #begin(item: FlowItem, counts: readonly number[] = []): string[] {
    const { kind, protocol, local, remote, origin, began, zone } = item;
    this.#flows.set(keyOf(item), this.#born++);
    for (const oldest of oldestOf(this.#flows, this.#most)) {
      this.#flows.delete(oldest);
      this.#forgot = true;
    }
    const [place, before] = this.#placeOf(item.queue, item.rule);
    const age = kind === 'flow.new' ? 0 : began ? Date.parse(item.time) - Date.parse(began) : -1;
    const some = zone !== undefined || counts.length > 0;
    const rest: number[] = some ? [age, zone ?? 0, ...counts] : age !== 0 ? [age] : [];
    return [...before, line('n', this.#passed(item), protocol, local, remote, origin, place, ...rest)];
  }

  #move(item: FlowItem, flow: number): string[] {
    const [place, before] = this.#placeOf(item.queue, item.rule);
    return [...before, line('u', this.#passed(item), flow, place)];
  }

  /** Of one that was never told of, the beginning, too: then recording began in its middle, or ended before its turn came. */
  #end(how: 'c' | 'e', item: FlowItem): string[] {
    const key = keyOf(item);
    const known = this.#flows.has(key);
    if (!known && this.#forgot) return [];
    const before = known ? [] : this.#begin(item);
    const flow = this.#flows.get(key)!;
    this.#flows.delete(key);
    return [...before, line(how, this.#passed(item), flow, ...countsOf(item))];
  }

  /** Ms since the line before; what is rounded off is not lost. */
  #passed({ monotonic }: MonitorItem): number {
    const ms = Math.max(0, Math.round(monotonic - (this.#last ?? monotonic)));
    this.#last = (this.#last ?? monotonic) + ms;
    return ms;
  }

  #placeOf(queue: string, rule: string | undefined): [place: number, lines: string[]] {
    const key = JSON.stringify([queue, rule ?? null]);
    const known = this.#places.get(key);
    if (known !== undefined) return [known, []];
    const place = this.#places.size;
    this.#places.set(key, place);
    return [place, [line('p', queue, rule ?? null)]];
  }
}

/** Bytes in, bytes out, packets in, packets out, where the kernel counts. */
const countsOf = ({ in: arrived, out: left }: FlowItem): number[] =>
  arrived && left ? [arrived.bytes, left.bytes, arrived.packets, left.packets] : [];

const line = (...values: RecordedLine): string => JSON.stringify(values);

const keyOf = ({
  id,
  protocol,
  local,
  remote,
}: {
  id: number;
  protocol: string;
  local: string;
  remote: string;
}): string => `${id} ${protocol} ${local} ${remote}`;
