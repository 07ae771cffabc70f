import { BehaviorSubject, distinctUntilChanged, filter, finalize, map, Observable, Subject } from 'rxjs';
import { messageOf } from '../model/index.ts';
import type { MonitorEvent, MonitorItem } from './items.ts';

/** The one event stream: gives each event its sequence number and time, and hands it to whoever listens. */
export class MonitorStream {
  readonly #items = new Subject<MonitorItem>();
  readonly #readers = new BehaviorSubject(0);
  readonly #now: () => Date;
  #seq = 0;

  constructor(now: () => Date = () => new Date()) {
    this.#now = now;
  }

  /** Everything, each flow, too. While somebody reads it flows are followed. */
  get items(): Observable<MonitorItem> {
    return new Observable<MonitorItem>((reader) => {
      this.#readers.next(this.#readers.value + 1);
      return this.#items.pipe(finalize(() => this.#readers.next(this.#readers.value - 1))).subscribe(reader);
    });
  }

  /** Everything but the flows. */
  get notices(): Observable<MonitorItem> {
    return this.#items.pipe(filter((item) => !isFlow(item)));
  }

  /** Whether somebody reads of flows: now, and when that changes. */
  get flowsRead(): Observable<boolean> {
    return this.#readers.pipe(
      map((readers) => readers > 0),
      distinctUntilChanged(),
    );
  }

  /** Nobody reads of flows: an event need not even be made. */
  get idle(): boolean {
    return this.#readers.value === 0;
  }

  emit(event: MonitorEvent): void {
    this.#seq++;
    if (isFlow(event) && this.idle) return;
    this.#items.next({ seq: this.#seq, time: this.#now().toISOString(), ...event });
  }

  /** Says as a warning what went wrong: `what`, and what was thrown. */
  readonly warn =
    (what: string) =>
    (error: unknown): void =>
      this.emit({ kind: 'warning', message: `${what}: ${messageOf(error)}` });

  complete(): void {
    this.#items.complete();
  }
}

const isFlow = ({ kind }: MonitorEvent): boolean => kind.startsWith('flow.');
