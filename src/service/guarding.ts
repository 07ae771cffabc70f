import { setTimeout as delay } from 'node:timers/promises';
import { Guard, type GuardedRedirect } from '../kernel/index.ts';
import { leaveGuard } from './guarded.ts';

/** Ms until another is started in the place of one that was ended, or could not begin. */
const AGAIN_MS = 1000;
/** Ms in which one that has nothing left to guard has ended. */
const END_MS = 5000;

/** The guard beside the service, which is told what there is to guard before it is there. */
export class Guarding {
  readonly #failed: (error: unknown) => void;
  #guard: Guard | undefined;
  #redirects: readonly GuardedRedirect[] = [];
  #told = '';
  #closed = false;

  private constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** Never rejects: without one all goes on. @param failed hears why there is none for a while */
  static async open(failed: (error: unknown) => void): Promise<Guarding> {
    const guarding = new Guarding(failed);
    await guarding.#start();
    return guarding;
  }

  /** These are the redirects that there are, or are about to be, and no others. */
  tell(redirects: readonly GuardedRedirect[]): void {
    const text = JSON.stringify(redirects);
    if (text === this.#told) return;
    [this.#redirects, this.#told] = [redirects, text];
    this.#guard?.tell(redirects);
  }

  /** Nobody watches from now on but the guard, which ends where nothing is left to guard: with `keep`, it is not waited for. */
  async close(keep: boolean): Promise<void> {
    this.#closed = true;
    const guard = this.#guard;
    if (!guard) return keep ? leaveGuard() : undefined;
    guard.leave();
    if (keep) return;
    const patience = new AbortController();
    await Promise.race([guard.ended, delay(END_MS, undefined, { signal: patience.signal })]);
    patience.abort();
  }

  async #start(): Promise<void> {
    try {
      const guard = await Guard.start();
      guard.tell(this.#redirects);
      this.#guard = guard;
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
    setTimeout(() => this.#closed || this.#start(), AGAIN_MS).unref();
  }
}
