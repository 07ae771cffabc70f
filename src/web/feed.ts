import type { MonitorItem } from '../monitor/index.ts';
import type { Connection } from './connection.ts';
import { ask, Refused } from './service.ts';

/** Ms until the stream is opened again. */
const AGAIN_MS = 1000;

/** Reads the event stream, and goes on where it was when it breaks off: what is kept no more comes as a gap. */
export class Feed {
  readonly #connection: Connection;
  readonly #onItems: (items: readonly MonitorItem[]) => void;
  #running: AbortController | undefined;
  #filter = new URLSearchParams();
  #session: string | undefined;
  #seq = 0;

  constructor(connection: Connection, onItems: (items: readonly MonitorItem[]) => void) {
    this.#connection = connection;
    this.#onItems = onItems;
  }

  /** Reads by this filter (`origin=remote`), from the first item that is still kept. @throws Refused where it has a mistake */
  async open(filter: URLSearchParams): Promise<void> {
    this.#filter = filter;
    this.#session = undefined;
    // It is resumed when somebody sees the page.
    if (document.hidden) return this.pause();
    const { signal } = this.#begin();
    // The first answer says whether the filter is good; whatever else fails is tried again.
    const first = await this.#request(signal).catch((error) => {
      if (error instanceof Refused && error.status === 409) throw error;
      this.#connection.failed(error);
      return undefined;
    });
    void this.#follow(signal, first);
  }

  /** Goes on where it was. */
  resume(): void {
    void this.#follow(this.#begin().signal, undefined);
  }

  /** What nobody sees need not be told. */
  pause(): void {
    this.#running?.abort();
  }

  #begin(): AbortController {
    this.pause();
    this.#running = new AbortController();
    return this.#running;
  }

  #request(signal: AbortSignal): Promise<Response> {
    const at = this.#session === undefined ? '0' : `${this.#session}-${this.#seq}`;
    return ask(`/events?${this.#filter}`, signal, { 'last-event-id': at });
  }

  async #follow(signal: AbortSignal, first: Response | undefined): Promise<void> {
    let response = first;
    while (!signal.aborted && !this.#connection.refused) {
      try {
        response ??= await this.#request(signal);
        await this.#read(response.body!);
      } catch (error) {
        // A filter with a mistake, which its form has said.
        if (error instanceof Refused && error.status === 409) return;
        this.#connection.failed(error);
      }
      response = undefined;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = '';
    const reader = body.getReader();
    // Not every browser lets one iterate over a stream.
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const lines = (rest + decoder.decode(next.value, { stream: true })).split('\n');
      rest = lines.pop()!;
      const items = lines.map((line) => JSON.parse(line) as MonitorItem);
      for (const item of items) if (item.kind === 'stream') this.#session = item.session;
      this.#seq = items.at(-1)?.seq ?? this.#seq;
      this.#onItems(items);
    }
  }
}
