import { BehaviorSubject, type Observable, Subject } from 'rxjs';
import { messageOf } from '../model/index.ts';
import { EVERYTHING, wantsFlows } from './filter.ts';
import { isOfFlows, type MonitorEvent, type MonitorItem } from './items.ts';
import { type ReadOptions, StreamReader } from './reader.ts';
import { Ring } from './ring.ts';

/** Ms for which flows are told on after the last who read of them has gone: whoever lost the connection comes back. */
export const LINGER_MS = 3000;

/** What gives items their times. */
export interface StreamClocks {
  readonly now: () => Date;
  /** CLOCK_MONOTONIC, ms. */
  readonly monotonic: () => number;
}

const CLOCKS: StreamClocks = {
  now: () => new Date(),
  monotonic: () => Number(process.hrtime.bigint() / 1000n) / 1000,
};

export interface StreamCounts {
  readonly items: ReadonlyMap<string, number>;
  readonly readers: number;
  readonly gaps: number;
  readonly missed: number;
}

/** One who reads: take {@link StreamReader.next} until there is none, again after each call of `more`, and in the next turn while it is looking; and close it. */
export interface OpenReader extends Pick<StreamReader, 'next' | 'isLooking'> {
  close(): void;
}

/**
 * The one event stream: gives each event its sequence number and times, keeps the newest, and lets whoever reads take them
 * in his own time. Items of flows are made only while somebody reads of flows.
 */
export class MonitorStream {
  /** Tells this run of the service from others. */
  readonly session: string;
  readonly #ring: Ring;
  readonly #clocks: StreamClocks;
  readonly #notices = new Subject<MonitorItem>();
  readonly #more = new Set<() => void>();
  readonly #ended = new Set<() => void>();
  readonly #flowsRead = new BehaviorSubject(false);
  #told = false;
  readonly #counts = new Map<string, number>();
  #gaps = 0;
  #missed = 0;
  #flowReaders = 0;
  #lingering: NodeJS.Timeout | undefined;

  constructor(session: string, clocks: StreamClocks = CLOCKS, ring: Ring = new Ring()) {
    this.session = session;
    this.#clocks = clocks;
    this.#ring = ring;
  }

  /**
   * Begins to read. `more` is called when there is something to take after there was none, once; `ended` when nothing more
   * will come.
   */
  open(options: ReadOptions, more: () => void, ended: () => void): OpenReader {
    const reader = new StreamReader(this.#ring, this.session, this.#stamp, options);
    const ofFlows = wantsFlows(options.filter ?? EVERYTHING);
    this.#more.add(more);
    this.#ended.add(ended);
    if (ofFlows && this.#flowReaders++ === 0) this.#tellFlows();
    let open = true;
    return {
      get isLooking() {
        return reader.isLooking;
      },
      next: () => {
        const kept = reader.next();
        if (kept?.item.kind === 'gap') {
          this.#gaps++;
          this.#missed += kept.item.to - kept.item.from + 1;
        }
        return kept;
      },
      close: () => {
        if (!open) return;
        open = false;
        this.#more.delete(more);
        this.#ended.delete(ended);
        if (ofFlows && --this.#flowReaders === 0) {
          this.#lingering = setTimeout(() => this.#untellFlows(), LINGER_MS);
          this.#lingering.unref();
        }
      },
    };
  }

  /** Everything but the flows. */
  get notices(): Observable<MonitorItem> {
    return this.#notices.asObservable();
  }

  /** Whether somebody reads of flows: now, and when that changes. */
  get flowsRead(): Observable<boolean> {
    return this.#flowsRead.asObservable();
  }

  /** Nobody reads of flows: an event need not even be made. */
  get idle(): boolean {
    return !this.#told;
  }

  /** Items so far by kind; readers now; gaps that readers were told, and the items in them. */
  get counts(): StreamCounts {
    return { items: this.#counts, readers: this.#more.size, gaps: this.#gaps, missed: this.#missed };
  }

  emit(event: MonitorEvent): void {
    const ofFlows = isOfFlows(event);
    if (ofFlows && this.idle) return;
    const item: MonitorItem = { seq: this.#ring.newest + 1, ...this.#stamp(), ...event };
    this.#ring.push(item);
    this.#counts.set(event.kind, (this.#counts.get(event.kind) ?? 0) + 1);
    for (const more of this.#more) more();
    if (!ofFlows) this.#notices.next(item);
  }

  /** Says as a warning what went wrong: `what`, and what was thrown. */
  readonly warn =
    (what: string) =>
    (error: unknown): void =>
      this.emit({ kind: 'warning', message: `${what}: ${messageOf(error)}` });

  complete(): void {
    clearTimeout(this.#lingering);
    this.#notices.complete();
    for (const ended of [...this.#ended]) ended();
  }

  readonly #stamp = () => ({ time: this.#clocks.now().toISOString(), monotonic: this.#clocks.monotonic() });

  #tellFlows(): void {
    clearTimeout(this.#lingering);
    if (this.#told) return;
    this.#told = true;
    this.emit({ kind: 'flows', state: 'told' });
    this.#flowsRead.next(true);
  }

  #untellFlows(): void {
    this.emit({ kind: 'flows', state: 'untold' });
    this.#told = false;
    this.#flowsRead.next(false);
  }
}
