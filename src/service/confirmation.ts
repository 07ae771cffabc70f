import type { ConfirmEvent } from '../monitor/index.ts';

/** What becomes of a change that waits. */
export interface Outcomes {
  /** It is confirmed: the way back is not needed any more. */
  readonly settle: () => Promise<void>;
  /** It is not, in time. */
  readonly takeBack: () => void;
}

export type Unconfirmed = Pick<ConfirmEvent, 'what' | 'until'>;

/**
 * A change that is taken back unless somebody confirms it in time, for people who may have cut themselves off by it.
 * One at a time.
 */
export class Confirmation {
  readonly #emit: (event: ConfirmEvent) => void;
  readonly #confirmed: () => Promise<void>;
  #waiting: (Unconfirmed & { readonly timer: NodeJS.Timeout; readonly settle: Outcomes['settle'] }) | undefined;

  /** @param confirmed is called where one is confirmed, before that change is settled */
  constructor(emit: (event: ConfirmEvent) => void, confirmed: () => Promise<void>) {
    this.#emit = emit;
    this.#confirmed = confirmed;
  }

  /** What waits to be confirmed; undefined: nothing. */
  get waiting(): Unconfirmed | undefined {
    return this.#waiting && { what: this.#waiting.what, until: this.#waiting.until };
  }

  /** Waits `ms` (at most {@link MOST_CONFIRM_MS}) from now. */
  begin(what: Unconfirmed['what'], ms: number, { settle, takeBack }: Outcomes): Unconfirmed {
    clearTimeout(this.#waiting?.timer);
    const until = new Date(Date.now() + ms).toISOString();
    const timer = setTimeout(() => {
      this.#end('expired');
      takeBack();
    }, ms);
    this.#waiting = { what, until, timer, settle };
    this.#emit({ kind: 'confirm', state: 'waiting', what, until });
    return { what, until };
  }

  /** It stays. Returns what was confirmed; undefined: nothing waited. */
  async confirm(): Promise<Unconfirmed | undefined> {
    const { waiting } = this;
    const settle = this.#waiting?.settle;
    this.#end('confirmed');
    if (!settle) return undefined;
    await this.#confirmed();
    await settle();
    return waiting;
  }

  /** Nothing is taken back any more. */
  close(): void {
    clearTimeout(this.#waiting?.timer);
    this.#waiting = undefined;
  }

  #end(state: 'confirmed' | 'expired'): void {
    const { waiting } = this;
    this.close();
    if (waiting) this.#emit({ kind: 'confirm', state, ...waiting });
  }
}

/** Longest time that may be asked for: a day, ms. */
export const MOST_CONFIRM_MS = 86_400_000;
