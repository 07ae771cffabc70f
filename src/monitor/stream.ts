import { type Observable, Subject } from 'rxjs';
import type { MonitorEvent, MonitorItem } from './items.ts';

/** The one event stream: gives each event its sequence number and time, and hands it to whoever listens. */
export class MonitorStream {
  readonly #items = new Subject<MonitorItem>();
  readonly #now: () => Date;
  #seq = 0;

  constructor(now: () => Date = () => new Date()) {
    this.#now = now;
  }

  get items(): Observable<MonitorItem> {
    return this.#items.asObservable();
  }

  /** Nobody listens: an event need not even be made. */
  get idle(): boolean {
    return !this.#items.observed;
  }

  emit(event: MonitorEvent): void {
    this.#seq++;
    if (!this.idle) this.#items.next({ seq: this.#seq, time: this.#now().toISOString(), ...event });
  }

  complete(): void {
    this.#items.complete();
  }
}
