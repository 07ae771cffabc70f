import { asyncScheduler, interval, type Observable, type SchedulerLike, type Subscriber } from 'rxjs';
import type { PayloadItem } from '../kernel/index.ts';
import { keyOfAddress, PROTOCOLS } from '../model/index.ts';
import { type AskedFlow, clockOf, type FactAnswer } from '../pipeline/index.ts';
import { readAnswer } from './dns-answer.ts';
import { DnsStreams } from './dns-stream.ts';
import { NameTable } from './name-table.ts';
import { type KnownSource, whileOpen } from './source.ts';

/** How often names that have ended are forgotten, ms. */
const SWEEP_MS = 60_000;

/**
 * Finds out which names a flow's other end has, from DNS answers on their way (`nameChains` of src/shape lets them be
 * seen): of a flow that was there before its answer, too. While it lasts a flow keeps the names that it has.
 *
 * @param samples what those answers carry
 */
export function nameSource(
  samples: Observable<readonly PayloadItem[]>,
  scheduler: SchedulerLike = asyncScheduler,
): KnownSource {
  return whileOpen(
    {
      word: 'domain',
      supplies: ['domains'],
      blind: 'encrypted DNS (DoT, DoH, DoQ) is not seen, nor what was asked before',
    },
    (subscriber) => {
      const names = new Names(subscriber, clockOf(scheduler));
      subscriber.add(interval(SWEEP_MS, scheduler).subscribe(() => names.sweep()));
      subscriber.add(
        samples.subscribe({
          next: (batch) => names.take(batch),
          error: (error) => subscriber.error(error),
        }),
      );
      return names;
    },
  );
}

class Names {
  readonly #subscriber: Subscriber<FactAnswer>;
  readonly #table: NameTable;
  readonly #streams = new DnsStreams();
  /** By the key of their other end. */
  readonly #flows = new Map<string, Map<AskedFlow, readonly string[]>>();
  #answers = 0;
  #overruns = 0;

  constructor(subscriber: Subscriber<FactAnswer>, now: () => number) {
    this.#subscriber = subscriber;
    this.#table = new NameTable(now);
  }

  get counts() {
    return {
      answers: this.#answers,
      names: this.#table.names,
      addresses: this.#table.addresses,
      evicted: this.#table.evicted,
      overruns: this.#overruns,
    };
  }

  take(batch: readonly PayloadItem[]): void {
    for (const item of batch) {
      if (item.kind === 'overrun') this.#overruns += item.count;
      else
        for (const message of item.protocol === PROTOCOLS.tcp ? this.#streams.take(item) : [item.data])
          this.#learn(message);
    }
  }

  #learn(message: Uint8Array): void {
    const found = readAnswer(message);
    if (found.length > 0) this.#answers++;
    for (const { address, names, ttl } of found) {
      const key = keyOfAddress(address);
      this.#table.add(key, names, ttl * 1000);
      for (const flow of this.#flows.get(key)?.keys() ?? []) this.#tell(key, flow);
    }
  }

  ask(flow: AskedFlow): void {
    const key = keyOfAddress(flow.remote.address);
    const flows = this.#flows.get(key) ?? new Map<AskedFlow, readonly string[]>();
    this.#flows.set(key, flows.set(flow, []));
    this.#tell(key, flow);
  }

  /** What it had it keeps, as far as there is room for what is new. */
  #tell(key: string, flow: AskedFlow): void {
    const flows = this.#flows.get(key)!;
    const before = flows.get(flow)!;
    const now = this.#table.namesOf(key);
    const news = now.filter((name) => !before.includes(name));
    if (news.length === 0) return;
    const domains = [...news, ...before].slice(0, MOST_NAMES_OF_FLOW);
    flows.set(flow, domains);
    this.#subscriber.next({ flow, facts: { domains } });
  }

  end(flow: AskedFlow): void {
    const key = keyOfAddress(flow.remote.address);
    const flows = this.#flows.get(key);
    flows?.delete(flow);
    if (flows?.size === 0) this.#flows.delete(key);
  }

  sweep(): void {
    this.#table.sweep();
  }
}

/** Names that one flow has at most; beyond it the oldest go. */
const MOST_NAMES_OF_FLOW = 64;
