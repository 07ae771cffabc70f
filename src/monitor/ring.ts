import type { MonitorItem } from './items.ts';

/** Items kept for readers that are slow, or come back: those of flows are some 400 bytes each. */
export const RING_ITEMS = 16_384;

/** An item, and its line of JSON once somebody has asked for it: all readers share it. */
export class Kept {
  readonly item: MonitorItem;
  #line: string | undefined;

  constructor(item: MonitorItem) {
    this.item = item;
  }

  get line(): string {
    this.#line ??= JSON.stringify(this.item);
    return this.#line;
  }
}

/** The newest items by sequence number, which counts up by one. The oldest goes first. */
export class Ring {
  readonly #slots: (Kept | undefined)[];
  #newest = 0;

  /** @param room items that it keeps */
  constructor(room = RING_ITEMS) {
    this.#slots = new Array(room).fill(undefined);
  }

  /** 0: there was none yet. */
  get newest(): number {
    return this.#newest;
  }

  /** The first number that is still there; that of the next item where there was none yet. */
  get oldest(): number {
    return Math.max(1, this.#newest - this.#slots.length + 1);
  }

  /** Keeps the item whose number comes after the newest. */
  push(item: MonitorItem): void {
    this.#newest = item.seq;
    this.#slots[item.seq % this.#slots.length] = new Kept(item);
  }

  get(seq: number): Kept | undefined {
    return seq < this.oldest || seq > this.#newest ? undefined : this.#slots[seq % this.#slots.length];
  }
}
