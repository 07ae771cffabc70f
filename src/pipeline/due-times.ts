/** Things that are due are taken together for so long, ms. */
const SLOT_MS = 100;

/** Things that become due at some time, and are told up to {@link SLOT_MS} late. */
export class DueTimes<T> {
  readonly #slots = new Map<number, Set<T>>();
  /** No slot before it has anything. */
  #first = Number.POSITIVE_INFINITY;
  #taken = Number.NEGATIVE_INFINITY;

  /** Notes that a thing is due at a time, ms since 1970. Returns where it stands, for {@link del}. */
  add(thing: T, time: number): number {
    const slot = Math.max(Math.ceil(time / SLOT_MS), this.#taken + 1);
    const things = this.#slots.get(slot);
    if (things) things.add(thing);
    else this.#slots.set(slot, new Set([thing]));
    this.#first = Math.min(this.#first, slot);
    return slot;
  }

  del(thing: T, slot: number): void {
    const things = this.#slots.get(slot);
    if (things?.delete(thing) && things.size === 0) this.#slots.delete(slot);
  }

  /** Nothing is due before, ms since 1970; Infinity: nothing at all. */
  get next(): number {
    return this.#first * SLOT_MS;
  }

  /** Removes and returns what is due by now. */
  take(now: number): T[] {
    const slot = Math.floor(now / SLOT_MS);
    if (slot < this.#first) return [];
    const due: T[] = [];
    this.#first = Number.POSITIVE_INFINITY;
    this.#taken = slot;
    for (const [at, things] of this.#slots)
      if (at > slot) this.#first = Math.min(this.#first, at);
      else {
        due.push(...things);
        this.#slots.delete(at);
      }
    return due;
  }
}
