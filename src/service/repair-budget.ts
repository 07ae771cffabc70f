/** Times in a minute that something is put back; then somebody wants it otherwise, and a fight helps nobody. */
export const MOST_REPAIRS = 5;
const WINDOW_MS = 60_000;

/** How often something may still be put back. Once spent it stays so until it is refilled. */
export class RepairBudget {
  readonly #now: () => number;
  #times: number[] = [];
  #spent = false;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get isSpent(): boolean {
    const now = this.#now();
    this.#times = this.#times.filter((time) => now - time < WINDOW_MS);
    this.#spent ||= this.#times.length >= MOST_REPAIRS;
    return this.#spent;
  }

  /** Something was put back. */
  note(): void {
    this.#times.push(this.#now());
  }

  refill(): void {
    this.#times = [];
    this.#spent = false;
  }
}

/** What is said then. */
export const FIGHT = `put back ${MOST_REPAIRS} times in a minute and taken away again, so it is left alone until headgate reload`;
