import { oldestOf } from '../pipeline/index.ts';

/** Addresses that have names, at most; beyond it those that were told of longest ago lose them. */
export const MOST_ADDRESSES = 20_000;
/** Names of one address; beyond it the oldest goes. */
export const MOST_NAMES = 32;
/** Addresses of one name; beyond it the oldest loses it. */
export const MOST_ADDRESSES_OF_NAME = 512;
/** Programs use an address longer than its answer may be kept: a name stays for at least this, ms. */
export const LEAST_LIFE = 300_000;
/** And at most this. */
export const MOST_LIFE = 86_400_000;

/** Which names addresses have, from DNS answers, for a time. Addresses are keys. */
export class NameTable {
  readonly #now: () => number;
  /** By address the names, with the time at which each ends; the oldest first. */
  readonly #names = new Map<string, Map<string, number>>();
  readonly #addresses = new Map<string, Set<string>>();
  #evicted = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  get addresses(): number {
    return this.#names.size;
  }

  get names(): number {
    return this.#addresses.size;
  }

  /** How often an address has lost a name for want of room. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Gives an address names for so long, ms. */
  add(address: string, names: readonly string[], ttl: number): void {
    const end = this.#now() + Math.min(Math.max(ttl, LEAST_LIFE), MOST_LIFE);
    for (const name of names) {
      const before = this.#names.get(address)?.get(name);
      // It moves to the end: what is told of again is the youngest.
      this.#del(address, name);
      const own = this.#names.get(address) ?? new Map<string, number>();
      this.#names.delete(address);
      this.#names.set(address, own.set(name, Math.max(end, before ?? 0)));
      const others = this.#addresses.get(name) ?? new Set();
      this.#addresses.set(name, others.add(address));
      if (own.size > MOST_NAMES) this.#evict(address, firstOf(own)!);
      if (others.size > MOST_ADDRESSES_OF_NAME) this.#evict(firstOf(others)!, name);
    }
    for (const oldest of oldestOf(this.#names, MOST_ADDRESSES))
      for (const name of [...this.#names.get(oldest)!.keys()]) this.#evict(oldest, name);
  }

  /** Those that have not ended. */
  namesOf(address: string): readonly string[] {
    const now = this.#now();
    return [...(this.#names.get(address) ?? [])].flatMap(([name, end]) => (end > now ? [name] : []));
  }

  /** Forgets those that have ended. */
  sweep(): void {
    const now = this.#now();
    for (const [address, names] of this.#names)
      for (const [name, end] of names) if (end <= now) this.#del(address, name);
  }

  #evict(address: string, name: string): void {
    this.#evicted++;
    this.#del(address, name);
  }

  #del(address: string, name: string): void {
    const names = this.#names.get(address);
    if (!names?.delete(name)) return;
    if (names.size === 0) this.#names.delete(address);
    const others = this.#addresses.get(name);
    others?.delete(address);
    if (others?.size === 0) this.#addresses.delete(name);
  }
}

const firstOf = <T>(all: Map<T, unknown> | Set<T>): T | undefined => all.keys().next().value;
