import { asyncScheduler, type SchedulerLike, type Subscriber } from 'rxjs';
import type { LocalSocket, SocketQuery } from '../kernel/index.ts';
import { type Address, PROTOCOLS } from '../model/index.ts';
import { type AskedFlow, type FactAnswer, oldestOf, type SuppliedFacts } from '../pipeline/index.ts';
import type { OpenSource } from './source.ts';

/** Flows that wait to be looked up; beyond it the oldest are not, and nothing is known of their sockets. */
export const MOST_WAITING = 50_000;
/** Sockets that are looked up in one turn of the event loop. */
const BATCH = 256;

/** How sockets are found; SocketFinder of src/kernel is one. */
export interface Finder {
  find(queries: readonly SocketQuery[]): (LocalSocket | undefined)[];
  close(): void;
}

export interface SocketOptions {
  readonly open: () => Finder;
  /** The address is one of this box. */
  readonly isOwn: (address: Address) => boolean;
  /** What is known of whoever made the socket. */
  readonly describe: (socket: LocalSocket) => Promise<SuppliedFacts>;
  readonly scheduler?: SchedulerLike | undefined;
}

/** Looks up the local socket of each flow that ends on this box, once, and has it described. To be closed with the subscriber. */
export class Sockets implements OpenSource {
  readonly #options: SocketOptions;
  readonly #subscriber: Subscriber<FactAnswer>;
  readonly #finder: Finder;
  /** Asked about and not looked up yet, the oldest first. */
  readonly #waiting = new Map<AskedFlow, SocketQuery>();
  /** Looked up, and not described yet. */
  readonly #described = new Set<AskedFlow>();
  #running = false;
  #found = 0;
  #none = 0;
  #dropped = 0;

  constructor(options: SocketOptions, subscriber: Subscriber<FactAnswer>) {
    this.#options = options;
    this.#subscriber = subscriber;
    this.#finder = options.open();
    subscriber.add(() => this.#close());
  }

  get counts() {
    return { found: this.#found, 'not found': this.#none, dropped: this.#dropped };
  }

  ask(flow: AskedFlow): void {
    const query = queryOf(flow, this.#options.isOwn);
    if (!query) return;
    this.#waiting.set(flow, query);
    for (const oldest of oldestOf<AskedFlow>(this.#waiting, MOST_WAITING)) {
      this.#waiting.delete(oldest);
      this.#dropped++;
    }
    this.#run();
  }

  end(flow: AskedFlow): void {
    this.#waiting.delete(flow);
    this.#described.delete(flow);
  }

  #close(): void {
    this.#waiting.clear();
    this.#described.clear();
    this.#finder.close();
  }

  /** So that those of one batch of events are looked up together, and other work has its turn between two. */
  #run(): void {
    if (this.#running) return;
    this.#running = true;
    const { scheduler = asyncScheduler } = this.#options;
    const turn = scheduler.schedule(() => {
      // The subscriber keeps what has run until somebody takes it out.
      turn.unsubscribe();
      this.#running = false;
      this.#lookUp([...take(this.#waiting, BATCH)]);
      if (this.#waiting.size > 0) this.#run();
    });
    this.#subscriber.add(turn);
  }

  #lookUp(waiting: readonly (readonly [AskedFlow, SocketQuery])[]): void {
    try {
      for (const [i, socket] of this.#finder.find(waiting.map(([, query]) => query)).entries()) {
        if (socket) this.#describe(waiting[i]![0], socket).catch((error) => this.#subscriber.error(error));
        else this.#none++;
      }
    } catch (error) {
      this.#subscriber.error(error);
    }
  }

  async #describe(flow: AskedFlow, socket: LocalSocket): Promise<void> {
    this.#found++;
    this.#described.add(flow);
    const facts = await this.#options.describe(socket);
    if (this.#described.delete(flow)) this.#subscriber.next({ flow, facts });
  }
}

function* take<K, V>(all: Map<K, V>, most: number): Generator<[K, V]> {
  let left = most;
  for (const entry of all) {
    if (left-- === 0) return;
    all.delete(entry[0]);
    yield entry;
  }
}

/**
 * The flow's ends as the box's own socket sees them: of a connection that it opened, before its packets are translated;
 * of one that it accepted, after. Undefined where the flow does not end here, or its protocol has no such sockets.
 */
export function queryOf(
  { origin, protocol, zone, original, reply }: AskedFlow,
  isOwn: (address: Address) => boolean,
): SocketQuery | undefined {
  if ((protocol !== PROTOCOLS.tcp && protocol !== PROTOCOLS.udp) || zone !== 0) return undefined;
  const [local, remote] =
    origin === 'local'
      ? [
          { address: original.source, port: original.sourcePort },
          { address: original.destination, port: original.destinationPort },
        ]
      : [
          { address: reply.source, port: reply.sourcePort },
          { address: reply.destination, port: reply.destinationPort },
        ];
  return isOwn(local.address) ? { protocol, local, remote } : undefined;
}
