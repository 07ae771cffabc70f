import { setImmediate } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { BehaviorSubject, combineLatest, distinctUntilChanged, lastValueFrom, map, retry, tap, timer } from 'rxjs';
import { MarkWriter, runCommand } from '../kernel/index.ts';
import { type ConntrackGroup, conntrackDump, conntrackEvents } from '../kernel/sources.ts';
import type { Policy } from '../language/index.ts';
import type { FlowEvent } from '../monitor/index.ts';
import type { MonitorStream } from '../monitor/stream.ts';
import {
  type ClassifierOptions,
  type Demand,
  type FactSource,
  FlowClassifier,
  type FlowView,
  LiveEffects,
  REOPEN_MS,
  type Reading,
  readCounters,
  runPipeline,
  type Sides,
  Tally,
  TupleMap,
} from '../pipeline/index.ts';
import { type Datapath, type LinkShape, nftCarriesAll } from '../shape/index.ts';
import { shareRunning } from './share-running.ts';
import type { FlowsStatus } from './status.ts';

/** A policy in force, as far as following flows goes. */
export interface Followed {
  readonly policy: Policy;
  readonly shapes: readonly Pick<LinkShape, 'device'>[];
  readonly datapath: Datapath;
}

/** What is read of the kernel's counters for who asks about flows; `rates`: twice, over a second. */
export type Read = 'nothing' | 'counters' | 'rates';

type Readings = ReadonlyMap<number, Reading>;

/** Follows flows as far as the policy, the datapath, or somebody who reads of flows needs it. */
export class Following {
  readonly #sides: Sides;
  readonly #marks = MarkWriter.open();
  readonly #classifier: FlowClassifier;
  readonly #followed: BehaviorSubject<Followed>;
  readonly #close: () => void;
  readonly #refill: () => void;
  readonly tally = new Tally();
  #counts = { overruns: 0, resyncs: 0 };
  #demand: Demand = { groups: [], counters: false, ticks: false, links: [] };
  #by: FlowsStatus['by'];
  #open = true;
  /** The first look at the table is over: what later ones find may have been counted before. */
  #counted = false;

  /**
   * @param sources of facts that conntrack does not tell
   * @param found the datapath was there before, with what an earlier run has told it of flows
   */
  constructor(
    stream: MonitorStream,
    sides: Sides,
    followed: Followed,
    sources: readonly FactSource[] = [],
    found = false,
  ) {
    const { warn } = stream;
    const { policy, datapath } = followed;
    this.#sides = sides;
    this.#followed = new BehaviorSubject(followed);
    const tuples = new TupleMap((command) => runCommand(command), warn('the map of flows'), undefined, found);
    const effects = new LiveEffects((command) => runCommand(command), warn('the flows of police and mirror'));
    this.#refill = () => {
      if (datapath.map) void tuples.reset();
      effects.refill();
    };
    this.#classifier = new FlowClassifier({
      ...this.#silent(policy, datapath),
      map: datapath.map ? tuples : undefined,
      effects,
      sources,
      failed: warn('a source of facts has ended; it is opened again'),
      writeMarks: (batch) => this.#marks.writeBatch(batch),
      emit: (event) => stream.emit(event),
      listening: () => !stream.idle,
      decided: (rule, origin, seen) => {
        if (seen !== 'start' || !this.#counted) this.tally.decided(rule, origin);
      },
    });
    const demand = combineLatest([this.#followed, stream.flowsRead]).pipe(
      map(([now, read]) => demandOf(now, read)),
      // Where nothing is followed, another policy is reason to look again; wherever, other links are.
      distinctUntilChanged((a, b) => a.groups.length > 0 && isDeepStrictEqual(a, b)),
      tap((now) => (this.#demand = now)),
    );
    const running = runPipeline({
      demand,
      events: (groups) =>
        conntrackEvents({ groups, opened: (getStats) => (this.#by = getStats().ringBytes ? 'ring' : 'socket') }),
      dump: () => conntrackDump(),
      read: () => {
        const { watch } = this.#followed.value.datapath.field;
        return conntrackDump(watch === undefined ? {} : { mark: { value: watch, mask: watch } });
      },
      classifier: this.#classifier,
      took: (flows, ms) => this.tally.took(flows, ms),
      emit: (event) => {
        if (event.kind === 'overrun') this.#counts.overruns += event.count;
        else {
          this.#counts.resyncs++;
          this.#open = true;
          this.#counted ||= event.complete;
        }
        stream.emit(event);
      },
    })
      .pipe(
        retry({
          delay: (error) => {
            this.#open = false;
            warn('conntrack could not be followed; trying again')(error);
            return timer(REOPEN_MS);
          },
        }),
      )
      .subscribe();
    this.#close = () => running.unsubscribe();
  }

  /** The kernel is listened to, as far as that is needed. */
  get alive(): boolean {
    return this.#open;
  }

  get status(): FlowsStatus {
    const { table, live, marks } = this.#classifier;
    const { groups, counters } = this.#demand;
    return {
      ...(groups.length > 0 && { flows: { total: table.size, live: live.size, ...table.perOrigin } }),
      follows: [...groups, ...(counters ? ['counters'] : [])],
      ...(groups.length > 0 && { by: this.#by }),
      marksWritten: marks.written,
      marksFailed: marks.failed,
      refused: table.refused,
      ...this.#counts,
    };
  }

  /** Our nft tables were made anew: what they knew of flows is written once more. */
  refill(): void {
    this.#refill();
  }

  /** Another policy is in force: every flow is decided again, and when it resolves all marks say so. */
  async replace(followed: Followed): Promise<void> {
    const turn = this.#classifier.replacing(followed.policy, followed.datapath.field);
    let failed: { readonly error: unknown } | undefined;
    for (let more = true; more; await setImmediate())
      try {
        more = turn();
      } catch (error) {
        // Those behind have their turn all the same.
        failed ??= { error };
      }
    this.#followed.next(followed);
    if (failed) throw failed.error;
  }

  /** Does something with every flow; where none is followed, with what the kernel's table has now. */
  async withFlows<T>(
    read: Read,
    act: (flows: Iterable<FlowView>, classifier: FlowClassifier, readings: Readings) => T | Promise<T>,
  ): Promise<T> {
    const { classifier, readings } = await this.#readers[read]();
    // Where no rule is by time, nobody else looks at the clock.
    classifier.live.setTime();
    return act(classifier.flows(), classifier, readings);
  }

  /** Each flow that is followed, as it stands when it is taken; `counted`: with what the kernel has counted of it. */
  async known(counted: boolean): Promise<Iterable<FlowEvent>> {
    if (!counted) return this.#classifier.known();
    const { classifier, readings } = await this.#readers.counters();
    return classifier.known(readings);
  }

  readonly #readers: Readonly<Record<Read, () => Promise<{ classifier: FlowClassifier; readings: Readings }>>> = {
    nothing: async () => ({ classifier: await this.#knowing(), readings: new Map() }),
    counters: shareRunning(() => this.#count(false)),
    rates: shareRunning(() => this.#count(true)),
  };

  async #count(rates: boolean): Promise<{ classifier: FlowClassifier; readings: Readings }> {
    const classifier = await this.#knowing();
    return { classifier, readings: await readCounters(classifier.table, () => conntrackDump(), rates) };
  }

  /** What knows the flows. */
  async #knowing(): Promise<FlowClassifier> {
    return this.#demand.groups.length > 0 ? this.#classifier : this.#look();
  }

  readonly #look = shareRunning(async () => {
    const { policy, datapath } = this.#followed.value;
    const classifier = new FlowClassifier(this.#silent(policy, datapath));
    const seeing = conntrackDump().pipe(
      map((batch) => {
        for (const record of batch) if (record.kind === 'dumped') classifier.see(record, 'look');
      }),
    );
    await lastValueFrom(seeing, { defaultValue: undefined });
    return classifier;
  });

  close(): void {
    this.#close();
    this.#classifier.live.close();
    this.#marks.close();
  }

  /** Decides, and does nothing about it. */
  #silent(policy: Policy, { field, marksOrigin }: Datapath): ClassifierOptions {
    return {
      policy,
      field,
      marksOrigin,
      sides: this.#sides,
      writeMarks: ({ count }) => new Int32Array(count),
      emit: () => {},
      listening: () => false,
    };
  }
}

/** What has to be followed: nothing, where the kernel's own rules say it all and nobody reads of flows. */
function demandOf({ policy, shapes, datapath }: Followed, read: boolean): Demand {
  const { events, counters } = policy.needs;
  const all: readonly ConntrackGroup[] = ['new', 'destroy'];
  const needed = events.length > 0 ? events : read || datapath.map || !nftCarriesAll(policy, shapes) ? all : [];
  return { groups: needed, counters, ticks: events.length > 0, links: shapes.map(({ device }) => device) };
}
