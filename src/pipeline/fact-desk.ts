import { Subscription, timer } from 'rxjs';
import type { AskedFlow, FactAnswer, FactSource, SuppliedFact, SuppliedFacts } from './fact-source.ts';

/** Wait before a source, or a socket, that broke is opened again, ms. */
export const REOPEN_MS = 1000;

/** An open source, and the flows that it knows. */
interface Open {
  readonly subscription: Subscription;
  readonly flows: Set<AskedFlow>;
}

/** Asks the fact sources about flows, each once, and keeps what they answered. */
export class FactDesk {
  readonly #sources: readonly FactSource[];
  readonly #answered: (row: number, before: SuppliedFacts | undefined) => void;
  readonly #failed: (error: unknown) => void;
  readonly #open = new Map<FactSource, Open>();
  readonly #asked = new Map<number, AskedFlow>();
  readonly #rows = new Map<AskedFlow, number>();
  readonly #facts = new Map<number, SuppliedFacts>();

  /**
   * @param answered is told the row of a flow of which something has become known, and what was known before
   * @param failed hears why a source has ended; it is opened again, and asked about the same flows
   */
  constructor(
    sources: readonly FactSource[],
    answered: (row: number, before: SuppliedFacts | undefined) => void,
    failed: (error: unknown) => void,
  ) {
    this.#sources = sources;
    this.#answered = answered;
    this.#failed = failed;
  }

  /** Opens the sources of these facts, and closes the others. */
  follow(facts: ReadonlySet<string>): void {
    for (const source of this.#sources) {
      const wanted = source.supplies.some((fact) => facts.has(fact));
      const open = this.#open.get(source);
      if (wanted && !open) {
        const fresh: Open = { subscription: new Subscription(), flows: new Set() };
        this.#open.set(source, fresh);
        this.#listen(source, fresh);
      } else if (!wanted && open) {
        open.subscription.unsubscribe();
        this.#open.delete(source);
      }
    }
  }

  #listen(source: FactSource, open: Open): void {
    const { subscription, flows } = open;
    const again = (error: unknown) => {
      this.#failed(error);
      subscription.add(timer(REOPEN_MS).subscribe(() => this.#listen(source, open)));
    };
    subscription.add(source.answers.subscribe({ next: (answer) => this.#take(source, answer), error: again }));
    for (const flow of [...flows]) source.ask(flow);
  }

  /** Somebody could be asked. */
  get isOpen(): boolean {
    return this.#open.size > 0;
  }

  close(): void {
    this.follow(new Set());
  }

  factsOf(row: number): SuppliedFacts | undefined {
    return this.#facts.get(row);
  }

  /** Has the open sources of these facts asked about a flow, and those that want to know of every one; who knows it is not asked again. */
  ask(row: number, facts: readonly string[], describe: () => AskedFlow): void {
    for (const [source, { flows }] of this.#open) {
      if (!source.everyFlow && !source.supplies.some((fact) => facts.includes(fact))) continue;
      let asked = this.#asked.get(row);
      if (!asked) {
        asked = describe();
        this.#asked.set(row, asked);
        this.#rows.set(asked, row);
      }
      if (flows.has(asked)) continue;
      flows.add(asked);
      source.ask(asked);
    }
  }

  /** The flow has ended. */
  forget(row: number): void {
    const asked = this.#asked.get(row);
    if (!asked) return;
    for (const [source, { flows }] of this.#open) if (flows.delete(asked)) source.end(asked);
    this.#asked.delete(row);
    this.#rows.delete(asked);
    this.#facts.delete(row);
  }

  /** All flows have ended. */
  clear(): void {
    for (const [source, { flows }] of this.#open) {
      for (const asked of flows) source.end(asked);
      flows.clear();
    }
    for (const known of [this.#asked, this.#rows, this.#facts]) known.clear();
  }

  #take({ supplies }: FactSource, { flow, facts }: FactAnswer): void {
    const row = this.#rows.get(flow);
    // It has ended meanwhile.
    if (row === undefined) return;
    const before = this.#facts.get(row);
    const others = Object.entries(before ?? {}).filter(([fact]) => !supplies.includes(fact as SuppliedFact));
    this.#facts.set(row, { ...Object.fromEntries(others), ...facts });
    this.#answered(row, before);
  }
}
