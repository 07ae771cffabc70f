import { randomFillSync } from 'node:crypto';

/** Words of a flow's identity: zone, family, protocol and original tuple (src/kernel/shim/layout.ts, KEY_BYTES). */
export const KEY_WORDS = 11;

const FIRST_SLOTS = 4096;

/**
 * Finds rows by the identity that they begin with: a hash table with open addressing, linear probing, and removal that
 * moves back what follows, so that it never has to be cleaned. A slot is a hash and 1 + a row; it is at most half full.
 *
 * The hash has a secret, new in each run: who opens flows to us cannot choose them so that they collide.
 */
export class KeyIndex {
  /** One for each word: with a seed alone, collisions of MurmurHash3 are known that hold for every seed. */
  readonly #secret = randomFillSync(new Int32Array(KEY_WORDS));
  #slots = new Uint32Array(2 * FIRST_SLOTS);
  #mask = FIRST_SLOTS - 1;
  #size = 0;
  /** The slot that was found last: a row that is removed has mostly just been looked for. */
  #last = 0;

  /** The row whose key is the one at `keys[at]`, where rows are `stride` words apart in `rows`; -1: none. */
  find(keys: Uint32Array, at: number, rows: Uint32Array, stride: number): number {
    const slots = this.#slots;
    const hash = this.#hash(keys, at);
    for (let slot = hash & this.#mask; slots[2 * slot + 1] !== 0; slot = (slot + 1) & this.#mask) {
      if (slots[2 * slot] !== hash) continue;
      const row = slots[2 * slot + 1]! - 1;
      if (!isSame(keys, at, rows, row * stride)) continue;
      this.#last = slot;
      return row;
    }
    return -1;
  }

  /** Adds a row whose key is not there. */
  add(keys: Uint32Array, at: number, row: number): void {
    if (2 * ++this.#size > this.#mask) this.#grow();
    this.#put(this.#hash(keys, at), row + 1);
  }

  /** Removes the row whose key is at `rows[at]`. */
  del(rows: Uint32Array, at: number, stride: number): void {
    const slots = this.#slots;
    const row = at / stride + 1;
    let hole = this.#last;
    if (slots[2 * hole + 1] !== row) hole = this.#hash(rows, at) & this.#mask;
    while (slots[2 * hole + 1] !== row) {
      if (slots[2 * hole + 1] === 0) return;
      hole = (hole + 1) & this.#mask;
    }
    this.#size--;
    for (let slot = (hole + 1) & this.#mask; slots[2 * slot + 1] !== 0; slot = (slot + 1) & this.#mask) {
      const home = slots[2 * slot]! & this.#mask;
      // It may stand in the hole unless its home lies behind that.
      if (((slot - home) & this.#mask) < ((slot - hole) & this.#mask)) continue;
      slots[2 * hole] = slots[2 * slot]!;
      slots[2 * hole + 1] = slots[2 * slot + 1]!;
      hole = slot;
    }
    slots[2 * hole + 1] = 0;
  }

  #put(hash: number, value: number): void {
    const slots = this.#slots;
    let slot = hash & this.#mask;
    while (slots[2 * slot + 1] !== 0) slot = (slot + 1) & this.#mask;
    slots[2 * slot] = hash;
    slots[2 * slot + 1] = value;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(2 * old.length);
    this.#mask = old.length - 1;
    for (let i = 0; i < old.length; i += 2) if (old[i + 1] !== 0) this.#put(old[i]!, old[i + 1]!);
  }

  /** As MurmurHash3 (x86, 32 bits) mixes. */
  #hash(keys: Uint32Array, at: number): number {
    let hash = 0;
    for (let i = 0; i < KEY_WORDS; i++) {
      let word = Math.imul(keys[at + i]! ^ this.#secret[i]!, 0xcc9e2d51);
      word = (word << 15) | (word >>> 17);
      hash ^= Math.imul(word, 0x1b873593);
      hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
    }
    hash ^= hash >>> 16;
    hash = Math.imul(hash, 0x85ebca6b);
    hash ^= hash >>> 13;
    hash = Math.imul(hash, 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) >>> 0;
  }
}

function isSame(a: Uint32Array, at: number, b: Uint32Array, from: number): boolean {
  for (let i = 0; i < KEY_WORDS; i++) if (a[at + i] !== b[from + i]) return false;
  return true;
}
