import { asyncScheduler, type SchedulerLike } from 'rxjs';

/** The clock of the wall was set where it moves by more than this against the other one, ms. */
const STEP_MS = 500;
/** Times at which it was set that are remembered. */
const MOST_STEPS = 16;

/** Ms since 1970 by CLOCK_MONOTONIC, from where the clock of the wall stood when this process began. */
const evenNow = (): number => performance.timeOrigin + performance.now();

/** What a scheduler takes for now, ms: of the usual one, whose clock is that of the wall, {@link evenNow}. */
export const clockOf = (scheduler: SchedulerLike): (() => number) =>
  scheduler === asyncScheduler ? evenNow : () => scheduler.now();

/**
 * Time that goes on evenly, ms since 1970, whatever somebody does to the clock of the wall (a machine without a battery sets it by
 * decades, once it hears of a time server), and how the kernel's times, which are the wall's, stand to it.
 */
export class EvenClock {
  /** Ms since 1970, even. */
  readonly now: () => number;
  readonly #wall: () => number;
  /** By how much the wall's clock is ahead, and since when, the newest last. */
  readonly #steps: { readonly since: number; readonly ahead: number }[] = [
    { since: Number.NEGATIVE_INFINITY, ahead: 0 },
  ];

  /** @param wall the clock that may be set, ms since 1970 */
  constructor(now: () => number = evenNow, wall: () => number = Date.now) {
    this.now = now;
    this.#wall = wall;
  }

  /** Looks at both clocks. */
  look(): { readonly even: number; readonly wall: number } {
    const [even, wall] = [this.now(), this.#wall()];
    if (Math.abs(wall - even - this.#steps.at(-1)!.ahead) > STEP_MS) {
      this.#steps.push({ since: even, ahead: wall - even });
      if (this.#steps.length > MOST_STEPS) this.#steps.shift();
    }
    return { even, wall };
  }

  /** A time that the kernel took, in even time; it did so at about `when`, in even time. */
  evenOf(wall: number, when: number): number {
    const step = this.#steps.findLast(({ since }) => since <= when) ?? this.#steps[0]!;
    return wall - step.ahead;
  }

  /**
   * The same of the beginning of a flow that was there at `when`, however long it had been: the newest step counts by which it lies
   * behind that step, and before `when`.
   */
  startOf(wall: number, when: number): number {
    // A step is seen a moment after it was made.
    const step = this.#steps.findLast(
      ({ since, ahead }) => wall - ahead >= since - STEP_MS && wall - ahead <= when + STEP_MS,
    );
    return step ? wall - step.ahead : this.evenOf(wall, when);
  }

  /** An even time, as the clock of the wall, where it stands now, would have shown it. */
  wallOf(even: number): number {
    return even + this.#steps.at(-1)!.ahead;
  }
}
