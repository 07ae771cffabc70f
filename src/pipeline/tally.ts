import type { Rule } from '../language/index.ts';
import type { Origin } from '../model/index.ts';
import { Histogram } from '../monitor/index.ts';

/** Rules that are counted by name; hits of those that come later are together. */
export const MOST_RULES = 1000;
const OTHERS = '(others)';
/** Seconds. */
const LATENCIES = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

/** Counts what is decided of flows, while they are followed, since the service has been running. */
export class Tally {
  /** By rule: flows that it came to take, each time that it did. */
  readonly rules = new Map<string, number>();
  /** By origin: flows that no rule took. */
  readonly defaults: Record<Origin, number> = { local: 0, remote: 0, new: 0 };
  /** Seconds from the shim's receipt of a new flow's event until its mark was written, to a millisecond. */
  readonly latency = new Histogram(LATENCIES);

  decided(rule: Rule | undefined, origin: Origin): void {
    if (!rule) {
      this.defaults[origin]++;
      return;
    }
    const before = this.rules.get(rule.name);
    if (before !== undefined) this.rules.set(rule.name, before + 1);
    else if (this.rules.size < MOST_RULES) this.rules.set(rule.name, 1);
    else this.rules.set(OTHERS, (this.rules.get(OTHERS) ?? 0) + 1);
  }

  /** New flows of one batch, the first of which was received so many ms ago. */
  took(flows: number, ms: number): void {
    this.latency.add(Math.max(0, ms) / 1000, flows);
  }
}
