import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { inspect } from '../apply/index.ts';
import { endGuards, Guard, type GuardedRedirect, listGuards } from '../kernel/index.ts';
import { listGuarded } from './guarded.ts';

/** Ms until another is started in the place of one that was ended, or could not begin; it doubles each time, up to the most. */
const AGAIN_MS = 1000;
const MOST_AGAIN_MS = 60_000;
/** Ms in which one that has nothing left to guard has ended. */
const END_MS = 5000;

/** The guard beside who has the place of the service, which is told what there is to guard before it is there. */
export class Guarding {
  readonly #failed: (error: unknown) => void;
  #guard: Guard | undefined;
  #redirects: readonly GuardedRedirect[] = [];
  /** Sockets of those that earlier runs have left. */
  #left: readonly string[] = [];
  #wait = AGAIN_MS;
  #closed = false;

  private constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /**
   * Relieves the guards that earlier runs have left, before anything is changed: they end when ours has been told of what is
   * redirected, so that there is one at every moment. To be called by who has the place of the service.
   *
   * @param failed hears why there is none for a while: without one all goes on
   * @throws HeadgateError HG_KERNEL where it cannot be told what there is; then they stay
   */
  static async open(failed: (error: unknown) => void): Promise<Guarding> {
    const guarding = new Guarding(failed);
    guarding.#left = await listGuards();
    if (guarding.#left.length > 0) guarding.#redirects = listGuarded(await inspect());
    await guarding.#start();
    return guarding;
  }

  /** These are the redirects that there are, or are about to be, and no others. */
  tell(redirects: readonly GuardedRedirect[]): void {
    if (isDeepStrictEqual(redirects, this.#redirects)) return;
    this.#redirects = redirects;
    this.#guard?.tell(redirects);
  }

  /** Nobody watches from now on but the guard, over what is redirected now; where nothing is, it has ended. */
  async close(): Promise<void> {
    const redirects = await inspect().then(listGuarded, () => this.#redirects);
    this.#closed = true;
    this.tell(redirects);
    const nothing = redirects.length === 0;
    if (!this.#guard && !nothing) await this.#start();
    const guard = this.#guard;
    guard?.leave();
    if (!guard || !nothing) return;
    const patience = new AbortController();
    await Promise.race([guard.ended, delay(END_MS, undefined, { signal: patience.signal })]);
    patience.abort();
  }

  async #start(): Promise<void> {
    try {
      const guard = await Guard.start();
      guard.tell(this.#redirects);
      this.#guard = guard;
      await endGuards(this.#left);
      this.#left = [];
      void guard.ended.then(() => {
        this.#guard = undefined;
        this.#again(new Error('it was ended; another one is started'));
      });
    } catch (error) {
      this.#again(error);
    }
  }

  #again(error: unknown): void {
    if (this.#closed) return;
    this.#failed(error);
    setTimeout(() => this.#closed || this.#start(), this.#wait).unref();
    this.#wait = Math.min(2 * this.#wait, MOST_AGAIN_MS);
  }
}

/** Does something with a guard of its own beside it. What is redirected at its end is guarded from then on. */
export async function guarded<T>(act: () => Promise<T>): Promise<T> {
  // Whoever cannot be told of what there is leaves the guard that is there: it takes redirects away, and so do we.
  const guarding = await Guarding.open(() => {}).catch(() => undefined);
  return act().finally(() => guarding?.close());
}
