import { checkTable, listOurMirrors, listTables, runOperations, type Scene } from '../apply/index.ts';
import { run } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import type { TableEvent } from '../monitor/index.ts';
import { arrivalTable, repairTables, TABLE, tapsOf } from '../shape/index.ts';
import type { Wanted } from './applied.ts';
import type { Settled } from './kept.ts';
import { FIGHT, RepairBudget } from './repair-budget.ts';

/**
 * Keeps our nft tables and taps as they were made, while others flush the ruleset: without ours the kernel may track no
 * connections at all.
 */
export class TableKeeper {
  readonly #emit: (event: TableEvent) => void;
  readonly #emptied: () => void;
  readonly #budget = new RepairBudget();
  #of: Wanted | undefined;
  #texts: ReadonlyMap<string, string> = new Map();
  /** What stands in the way, as it was said: once. */
  #obstacle: string | undefined;

  /** @param emptied is told that tables were made anew, and that what the pipeline fills is empty */
  constructor(emit: (event: TableEvent) => void, emptied: () => void) {
    this.#emit = emit;
    this.#emptied = emptied;
  }

  /** What is in the kernel now is of this policy, and is to stay. */
  async become(of: Wanted): Promise<void> {
    this.#of = of;
    this.#texts = await listTables(of.policy, (argv) => run(argv));
    this.#budget.refill();
  }

  /** Begins anew to put back what is missing. */
  begin(): void {
    this.#budget.refill();
  }

  async settle(scene: Scene): Promise<Settled> {
    if (!this.#of) return 'whole';
    const { policy, datapath } = this.#of;
    const now = await listTables(policy, (argv) => run(argv));
    const lost = [...this.#texts].flatMap(([name, text]) => (now.get(name) === text ? [] : [name]));
    const taps = tapsOf(policy).filter((tap) => !scene.taps.includes(tap));
    const noMap = datapath.map && scene.arrivals === 'none';
    if (lost.length + taps.length === 0 && !noMap) return 'whole';
    const about = [...lost, ...taps.map((tap) => `tap ${tap}`), ...(noMap ? ['the map of flows'] : [])].join(', ');
    if (this.#budget.isSpent) {
      this.#lost(`${about}: ${FIGHT}`);
      return 'whole';
    }
    try {
      checkTable(scene);
      if (lost.length + taps.length > 0) await runOperations(repairTables(this.#of, listOurMirrors(scene), scene.taps));
      if (noMap) await runOperations([arrivalTable()]);
      this.#emptied();
      this.#texts = await listTables(policy, (argv) => run(argv));
    } catch (error) {
      this.#lost(error instanceof HeadgateError ? error.message : String(error));
      return 'again';
    }
    this.#obstacle = undefined;
    this.#budget.note();
    this.#say('restored', `somebody took it away, it is put back: ${about}`);
    return 'changed';
  }

  #lost(reason: string): void {
    if (this.#obstacle !== reason) this.#say('lost', reason);
    this.#obstacle = reason;
  }

  #say(state: TableEvent['state'], reason: string): void {
    this.#emit({ kind: 'table', name: TABLE, state, reason });
  }
}
