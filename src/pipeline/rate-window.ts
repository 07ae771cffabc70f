/** Readings kept of one window: where more come, those between are left out. */
const MOST_READINGS = 128;

/** What a flow had carried whenever its counters were read, so that its rate over a window can be told. */
export class RateWindow {
  readonly #longest: number;
  readonly #times: number[] = [];
  readonly #in: number[] = [];
  readonly #out: number[] = [];
  /** The first reading is the flow's beginning: before it there was nothing. */
  #whole: boolean;

  /**
   * @param longest window that is asked for, ms
   * @param began when the flow began with nothing; NaN: that is not known
   */
  constructor(longest: number, began = Number.NaN) {
    this.#longest = longest;
    this.#whole = !Number.isNaN(began);
    if (this.#whole) this.#push(began, 0, 0);
  }

  /** Notes a reading, bytes so far each way. */
  add(time: number, arriving: number, leaving: number): void {
    const times = this.#times;
    const last = times.length - 1;
    if (last >= 0 && time <= times[last]!) return;
    if (last > 0 && time - times[last - 1]! < this.#longest / MOST_READINGS)
      for (const list of [times, this.#in, this.#out]) list.pop();
    this.#push(time, arriving, leaving);
    // One that is as old as the window stays, to measure from.
    let old = 0;
    while (old + 1 < times.length && times[old + 1]! <= time - this.#longest) old++;
    if (old === 0) return;
    for (const list of [times, this.#in, this.#out]) list.splice(0, old);
    this.#whole = false;
  }

  /** Bit/s over the last `window` ms before the newest reading; undefined: the flow is older than what is known of it. */
  rate(direction: 'in' | 'out', window: number): number | undefined {
    const times = this.#times;
    const last = times.length - 1;
    if (last < 1) return undefined;
    const start = times[last]! - window;
    if (start < times[0]! && !this.#whole) return undefined;
    const carried = direction === 'in' ? this.#in : this.#out;
    let from = last - 1;
    while (from > 0 && times[from]! > start) from--;
    // Between two readings it is taken to have come evenly.
    const part = Math.max(0, (start - times[from]!) / (times[from + 1]! - times[from]!));
    const before = carried[from]! + part * (carried[from + 1]! - carried[from]!);
    return ((carried[last]! - before) * 8000) / window;
  }

  #push(time: number, arriving: number, leaving: number): void {
    this.#times.push(time);
    this.#in.push(arriving);
    this.#out.push(leaving);
  }
}
