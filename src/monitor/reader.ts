import { EVERYTHING, type ItemFilter, isWanted } from './filter.ts';
import { type GapEvent, type MonitorEvent, type MonitorItem, SCHEMA_VERSION } from './items.ts';
import { Kept, type Ring } from './ring.ts';

/** From where a reader wants to read: behind this number, of that session, or of the one that runs. */
export interface Since {
  readonly seq: number;
  readonly session?: string | undefined;
}

/** Reads `SEQ` or `SESSION-SEQ`, as items of server-sent events are numbered. */
export function parseSince(text: string): Since | undefined {
  const match = /^(?:([0-9a-f]+)-)?(\d{1,15})$/.exec(text);
  return match ? { seq: Number(match[2]), session: match[1] } : undefined;
}

export interface ReadOptions {
  readonly filter?: ItemFilter | undefined;
  /** Absent: what comes from now on. */
  readonly since?: Since | undefined;
  /** What this reader alone is told first, each made when it takes it: what is there already, as it stands then. */
  readonly known?: Iterable<MonitorEvent> | undefined;
}

/** Of what is there already, so many are looked at in one go; most filters want few. */
const MOST_LOOKED = 2000;

/**
 * One reader's place in the ring. It takes items when it can; what has left the ring before it came to it is a gap, and it is
 * told that in the place of what is gone. Nobody waits for it.
 */
export class StreamReader {
  readonly #ring: Ring;
  readonly #session: string;
  readonly #filter: ItemFilter;
  readonly #stamp: () => Pick<MonitorItem, 'time' | 'monotonic'>;
  /** Items of its own, that come before what the ring has. */
  readonly #own: MonitorEvent[] = [];
  readonly #known: Iterator<MonitorEvent>;
  #looking = true;
  /** The number of the last item that it is through with. */
  #at: number;

  constructor(
    ring: Ring,
    session: string,
    stamp: () => Pick<MonitorItem, 'time' | 'monotonic'>,
    { filter = EVERYTHING, since, known = [] }: ReadOptions = {},
  ) {
    this.#ring = ring;
    this.#session = session;
    this.#stamp = stamp;
    this.#filter = filter;
    this.#known = known[Symbol.iterator]();
    this.#at = ring.newest;
    const { oldest, newest } = ring;
    this.#own.push({ kind: 'stream', schema: SCHEMA_VERSION, session, oldest, newest });
    if (since) this.#goTo(since);
  }

  #goTo({ seq, session }: Since): void {
    const { oldest, newest } = this.#ring;
    const other = (session !== undefined && session !== this.#session) || seq > newest;
    this.#at = other ? oldest - 1 : Math.max(seq, oldest - 1);
    if (other) this.#own.push({ kind: 'gap', reason: 'restart', from: 1, to: oldest - 1 });
    else if (this.#at > seq) this.#own.push(gap('late', seq + 1, this.#at));
  }

  /** What is there already has not all been looked at: {@link next} goes on with that, when others have had their turn. */
  get isLooking(): boolean {
    return this.#looking;
  }

  /** The next item that is there for it; undefined: none, or none yet. */
  next(): Kept | undefined {
    const own = this.#own.shift();
    if (own) return this.#wrap(own, own.kind === 'gap' ? own.to : this.#at);
    for (let looked = 0; this.#looking; looked++) {
      if (looked === MOST_LOOKED) return undefined;
      const known = this.#known.next();
      if (known.done) this.#looking = false;
      else if (isWanted(this.#filter, known.value)) return this.#wrap(known.value, this.#at);
    }
    const { oldest } = this.#ring;
    if (this.#at < oldest - 1) {
      const from = this.#at + 1;
      this.#at = oldest - 1;
      return this.#wrap(gap('slow', from, this.#at), this.#at);
    }
    for (;;) {
      const kept = this.#ring.get(this.#at + 1);
      if (!kept) return undefined;
      this.#at++;
      if (isWanted(this.#filter, kept.item)) return kept;
    }
  }

  #wrap(event: MonitorEvent, seq: number): Kept {
    return new Kept({ seq, ...this.#stamp(), ...event });
  }
}

const gap = (reason: GapEvent['reason'], from: number, to: number): GapEvent => ({ kind: 'gap', reason, from, to });
