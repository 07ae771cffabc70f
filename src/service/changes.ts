import { delFiles, Journal, replaceRecord } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { type Capabilities, HeadgateError, type MarkField } from '../model/index.ts';
import type { MonitorStream } from '../monitor/stream.ts';
import { type LinkShape, nameBeside, qdiscsOf } from '../shape/index.ts';
import { figuresOf, listAdvice } from './announce.ts';
import { writeApplied } from './applied.ts';
import type { Confirmation } from './confirmation.ts';
import { prepareDatapath } from './datapath.ts';
import type { Finishing } from './finishing.ts';
import type { Following } from './following.ts';
import type { Links } from './links.ts';
import { warnOfMarksHere, whyNotMarks } from './marks.ts';
import { type LoadPolicy, type ReloadResult, reloadPolicy } from './reload.ts';
import type { InForce } from './resume.ts';
import { shapeHere } from './shape-here.ts';
import type { TableKeeper } from './table-keeper.ts';
import { endTrial, tryOut } from './trial.ts';

/** What a change reaches into. */
export interface Changed {
  readonly capabilities: Capabilities;
  readonly field: MarkField;
  readonly load: LoadPolicy;
  readonly stream: MonitorStream;
  readonly links: Links;
  readonly following: Following;
  readonly tables: TableKeeper;
  readonly confirmation: Confirmation;
  readonly finishing: Finishing;
}

/** What is in force, and how it becomes something else: one change after the other, each to its end, and with its way back. */
export class Changes {
  readonly #of: Changed;
  #inForce: InForce;
  #changed: Promise<unknown> = Promise.resolve();
  /** A reload that has not begun to read, and that none has to confirm. */
  #waiting: Promise<ReloadResult> | undefined;
  #stopping = false;

  constructor(inForce: InForce, of: Changed) {
    this.#inForce = inForce;
    this.#of = of;
  }

  get policy(): Policy {
    return this.#inForce.policy;
  }

  get shapes(): readonly LinkShape[] {
    return this.#inForce.shapes;
  }

  /**
   * Reads the policy anew and puts it in the place of the one in force; where a reload waits for its turn already, it is that one.
   * Never rejects.
   *
   * @param confirm ms in which it has to be confirmed; then it is one of its own
   */
  reload(confirm?: number): Promise<ReloadResult> {
    if (confirm !== undefined) return this.#reloadInTurn(() => this.#reload(confirm));
    this.#waiting ??= this.#reloadInTurn(() => {
      this.#waiting = undefined;
      return this.#reload(undefined);
    });
    return this.#waiting;
  }

  async #reloadInTurn(reload: () => Promise<ReloadResult>): Promise<ReloadResult> {
    const result = await this.#inTurn(reload);
    const open = this.#of.links.status.links.flatMap(({ name, state }) => (state === 'open' ? [name] : []));
    return 'error' in result || open.length === 0 ? result : { ...result, open };
  }

  /** What is being changed comes to its end, and no other change begins: those that wait are refused. */
  async stop(): Promise<void> {
    this.#stopping = true;
    void this.#of.finishing.hurry();
    this.#of.confirmation.close();
    await this.#changed;
  }

  async #reload(confirm: number | undefined): Promise<ReloadResult> {
    const { load, stream, confirmation, field } = this.#of;
    const before = this.policy;
    const { file } = before;
    let settle = async () => {};
    stream.emit({ kind: 'policy', state: 'reading', file, reason: 'is being read anew' });
    const result = await reloadPolicy(file, load, async (next) => {
      const { waiting } = confirmation;
      if (waiting) throw new HeadgateError('HG_CONFIRM_FIRST', { until: waiting.until });
      if (confirm !== undefined) settle = await tryOut({ tried: next, before }, () => this.#change(next));
      else {
        settle = await this.#change(next);
        await endTrial().catch(stream.warn('the record'));
      }
    });
    if (confirm === undefined || 'error' in result) void settle();
    else {
      const tried = this.policy;
      Object.assign(result, {
        confirm: confirmation.begin('reload', confirm, {
          settle,
          // The way back is a change like any other: it begins where this one has come to its end.
          takeBack: () => {
            void settle();
            void this.#takeBack(before, tried);
          },
        }),
      });
    }
    if ('error' in result) stream.emit({ kind: 'policy', state: 'kept', file, reason: result.error.message });
    else {
      this.#say(file, 'was read anew, and is in force');
      for (const message of listAdvice(this.shapes)) stream.emit({ kind: 'warning', message });
      const { policy, datapath } = this.#inForce;
      for (const message of await warnOfMarksHere(policy, datapath, field)) stream.emit({ kind: 'warning', message });
    }
    return result;
  }

  #takeBack(before: Policy, tried: Policy): Promise<void> {
    return this.#inTurn(async () => {
      if (this.policy !== tried) return;
      const settle = await this.#change(before);
      void settle();
      this.#say(before.file, 'is what ran before, and is in force again');
    }).catch(this.#of.stream.warn('the policy that ran before could not be put back'));
  }

  /** Returns what is left to do when there is no way back any more. @throws HeadgateError; then nothing has changed */
  async #change(next: Policy): Promise<() => Promise<void>> {
    const { capabilities, field, stream, links, following, tables, finishing } = this.#of;
    // What waited to be confirmed may have come to its end meanwhile.
    await finishing.ended;
    const reason = this.#stopping ? 'headgate is being stopped' : whyNotMarks(next, field);
    if (reason !== undefined) throw new HeadgateError('HG_RELOAD', { reason });
    const nextShapes = await shapeHere(next, qdiscsOf(capabilities));
    const was = this.#inForce;
    const generation = was.generation + 1;
    const prepared = await prepareDatapath(was.datapath, next, field, generation, capabilities);
    const from = { policy: was.policy, shapes: was.shapes, datapath: was.prepared.datapath };
    const to = { policy: next, shapes: nameBeside(was.shapes, nextShapes), datapath: prepared.datapath };
    const delMade = async (error: unknown): Promise<never> => {
      await delFiles(prepared.files.filter((path) => !was.prepared.files.includes(path)));
      throw error;
    };
    const applied = writeApplied(was);
    const journal = await Journal.begin({ kind: 'reload', applied }).catch(delMade);
    const after = await links.change(from, to, capabilities, journal).catch(async (error) => {
      await journal.end();
      return delMade(error);
    });
    this.#inForce = { policy: next, shapes: to.shapes, datapath: was.datapath, generation, prepared };
    await replaceRecord('applied', writeApplied(this.#inForce)).catch(stream.warn('the record'));
    try {
      await following.replace(to);
    } catch (error) {
      stream.warn('the flows')(error);
    }
    await tables.become(to).catch(stream.warn('the tables'));
    const old = was.prepared.files.filter((path) => !prepared.files.includes(path));
    return () => finishing.begin(after, journal, old);
  }

  /** After what is under way; on the way down, too, where the task is refused ({@link #change}). */
  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const doing = this.#changed.then(() => (this.#stopping ? task() : this.#onWhatIsWhole(task)));
    this.#changed = doing.catch(() => {});
    return doing;
  }

  /** Does it on what was made whole and looked at again; while one waits for queues to run empty, links are watched all the same. */
  #onWhatIsWhole<T>(task: () => Promise<T>): Promise<T> {
    const { links, tables, finishing, stream } = this.#of;
    const beginAnew = async () => {
      await links.beginAnew(this.#inForce.prepared.datapath);
      tables.begin();
    };
    return finishing.ended
      .then(() => links.exclusively(beginAnew).catch(stream.warn('a look at what is there')))
      .then(() => links.wholly(task))
      .finally(() => finishing.ended)
      .finally(() => links.wholly(async () => {}));
  }

  #say(file: string, reason: string): void {
    const queues = figuresOf(this.policy);
    this.#of.stream.emit({ kind: 'policy', state: 'changed', file, reason, queues });
  }
}
