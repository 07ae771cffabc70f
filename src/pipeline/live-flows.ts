import { Subject } from 'rxjs';
import {
  countsOf,
  createWatch,
  evaluate,
  type FindWatch,
  factsAskedBy,
  type Policy,
  type SetContents,
  setContents,
  timersOf,
  type Watch,
} from '../language/index.ts';
import { type Address, type CountKey, type FlowFacts, keyOfAddress } from '../model/index.ts';
import { Company } from './company.ts';
import { DueTimes } from './due-times.ts';
import { DynamicSets } from './dynamic-sets.ts';
import { EvenClock } from './even-clock.ts';
import { FactDesk } from './fact-desk.ts';
import type { FactSource, SuppliedFacts } from './fact-source.ts';
import { type Counts, FlowMemory } from './flow-memory.ts';
import type { FlowTable } from './flow-table.ts';
import { FlowView, type Surroundings } from './flow-view.ts';

/** What the live part of the pipeline is given. */
export interface LiveOptions {
  readonly sources?: readonly FactSource[] | undefined;
  /** Hears why a source has ended. */
  readonly failed?: ((error: unknown) => void) | undefined;
  /** Ms since 1970, by a clock that nobody sets; and by that of the wall. Where the first alone is given, it is both. */
  readonly now?: (() => number) | undefined;
  readonly wall?: (() => number) | undefined;
}

/** While a rule that looks at the clock of the wall may take some flow, that is looked at so often, ms: somebody may set it. */
const CLOCK_MS = 1000;
const MINUTE_MS = 60_000;
/** Memories of flows that have ended that are kept, 200 bytes each. */
const MOST_SPARE = 131_072;

/**
 * What has to be remembered so that live rules can be decided, and which flows have to be decided anew because of it:
 * `dirty`. A flow that no live rule can come to take costs nothing here.
 */
export class LiveFlows implements Surroundings {
  readonly view: FlowView;
  readonly dirty = new Set<number>();
  /** Emits when flows have been decided, or wait to be: something may be {@link due} earlier than it was. */
  readonly stirred = new Subject<void>();
  readonly sets: DynamicSets;
  readonly #table: FlowTable;
  readonly #times: EvenClock;
  readonly #desk: FactDesk;
  /** By row. Not a Map: that is copied when it grows, and took 150 ms at 260,000 flows. */
  #memories: (FlowMemory | undefined)[] = [];
  /** Of flows that have ended, to be used again. */
  readonly #spare: FlowMemory[] = [];
  #size = 0;
  #due = new DueTimes<FlowMemory>();
  #clocked = new Set<number>();
  /** Rows of flows that a rule may take by an address's being in a set; by that address. */
  #byMember = new Map<string, Set<number>>();
  #findWatch: FindWatch = () => undefined;
  #contents: SetContents = new Map();
  #company: Company | undefined;
  #countsUnits = false;
  /** By rule and what each `for` waits on, its timer; and by timer, that which the same had under the policy before. */
  #timers: ReadonlyMap<string, number> = new Map();
  #timersBefore: ReadonlyMap<number, number> = new Map();
  #counted = 0;
  /** The whole readings of counters are numbered; this one comes next, or is going on. */
  #reading = 1;
  #time = Number.NaN;
  #clock = { minute: 0, day: 0 };
  /** Minutes since 1970 of which that is. */
  #minute = Number.NaN;
  /** When the clock of the wall is to be looked at again where rules do. */
  #lookAt = Number.NaN;

  constructor(table: FlowTable, { sources = [], failed = () => {}, now, wall = now }: LiveOptions) {
    this.#table = table;
    this.#times = new EvenClock(now, wall);
    this.view = new FlowView(table, this);
    this.sets = new DynamicSets((address) => this.#soil(this.#byMember.get(address) ?? []));
    this.#desk = new FactDesk(sources, (row, before) => this.#answered(row, before), failed);
    this.setTime();
  }

  /** Flows that a live rule may come to take. */
  get size(): number {
    return this.#size;
  }

  /** Those of them whose counters are read. */
  get counted(): number {
    return this.#counted;
  }

  /** When the clock was looked at last: even time, as are all times here. */
  get now(): number {
    return this.#time;
  }

  /** When time alone may change something next, by the same clock as {@link now}: already, while flows wait to be decided; Infinity: never. */
  get due(): number {
    if (this.dirty.size > 0) return Number.NEGATIVE_INFINITY;
    return Math.min(this.#due.next, this.sets.next, this.#clocked.size > 0 ? this.#lookAt : Number.POSITIVE_INFINITY);
  }

  /** Ms from this moment until a time. */
  until(time: number): number {
    return time - this.#times.now();
  }

  get times(): Pick<EvenClock, 'evenOf' | 'startOf' | 'wallOf'> {
    return this.#times;
  }

  get clock(): { readonly minute: number; readonly day: number } {
    return this.#clock;
  }

  memoryOf(row: number): FlowMemory | undefined {
    return this.#memories[row];
  }

  factsOf(row: number): SuppliedFacts | undefined {
    return this.#desk.factsOf(row);
  }

  count(facts: FlowFacts, of: 'flows' | 'peers', by: CountKey): number | undefined {
    return this.#company?.count(facts, of, by);
  }

  inSet(set: string, address: Address): boolean {
    return this.sets.has(set, address);
  }

  /** Follows another policy. Flows that are there are counted, and have to {@link beginAnew}. Returns, by row, what was remembered of them. */
  follow(policy: Policy): readonly (FlowMemory | undefined)[] {
    const before = this.#memories;
    this.#reset();
    const counts = countsOf(policy);
    this.#findWatch = createWatch(policy);
    this.#contents = setContents(policy);
    this.#company = counts.length > 0 ? new Company(counts, (row) => this.dirty.add(row)) : undefined;
    this.#countsUnits = counts.some(({ by }) => by === 'unit');
    const timers = timersOf(policy);
    this.#timersBefore = new Map(timers.map(([text, timer]) => [timer, this.#timers.get(text) ?? -1]));
    this.#timers = new Map(timers);
    this.sets.keep(new Set(policy.sets.map(({ name }) => name)));
    this.#desk.follow(factsAskedBy(policy));
    // All, before the first is decided by how many there are.
    if (this.#company) for (const row of this.#table.rows()) this.#company.add(row, this.view.moveTo(row), undefined);
    return before;
  }

  #reset(): void {
    this.#memories = [];
    // They name rules of the policy before.
    this.#spare.length = 0;
    [this.#size, this.#counted] = [0, 0];
    this.#due = new DueTimes();
    this.#clocked = new Set();
    this.#byMember = new Map();
    this.dirty.clear();
  }

  /** All flows have ended. */
  clear(): void {
    this.#reset();
    this.#company?.clear();
    this.#desk.clear();
  }

  /** Closes the fact sources. */
  close(): void {
    this.#desk.close();
  }

  /** A flow has come, on whose row the view stands. */
  begin(row: number, fresh: boolean): FlowMemory | undefined {
    const watch = this.#findWatch(this.view);
    this.#company?.add(row, this.view, watch);
    return this.#remembered(row, watch, fresh, undefined);
  }

  /** A flow that was there before {@link follow}. `before`: what was remembered of it under the other policy. */
  beginAnew(row: number, before: FlowMemory | undefined): FlowMemory | undefined {
    const watch = this.#findWatch(this.view);
    this.#company?.watch(row, this.view, watch);
    return this.#remembered(row, watch, false, before);
  }

  #remembered(
    row: number,
    watch: Watch | undefined,
    fresh: boolean,
    before: FlowMemory | undefined,
  ): FlowMemory | undefined {
    const memory = watch && this.#watch(row, watch, fresh, before);
    // A source may answer at once, and is heard like any other time then: of a flow that is known.
    this.#ask(row, watch);
    this.view.refresh();
    return memory;
  }

  #watch(row: number, watch: Watch, fresh: boolean, before: FlowMemory | undefined): FlowMemory {
    const counted = watch.counters && before?.watch.counters ? before : undefined;
    const began = fresh ? this.#table.beganOf(row) : counted?.fresh;
    const memory = this.#spare.pop()?.begin(row, watch, began) ?? new FlowMemory(row, watch, began);
    memory.reading = this.#reading;
    if (counted) memory.inherit(counted);
    for (const { timer } of watch.held) {
      const since = before?.heldSince.get(this.#timersBefore.get(timer) ?? -1);
      if (since !== undefined) memory.heldSince.set(timer, since);
    }
    while (this.#memories.length <= row) this.#memories.push(undefined);
    this.#memories[row] = memory;
    this.#size++;
    if (watch.counters) this.#counted++;
    if (watch.clock) this.#clocked.add(row);
    for (const { end } of watch.sets) this.#remember(this.view[end].address, row);
    return memory;
  }

  /** A flow ends, on whose row the view stands. */
  end(row: number): void {
    this.#company?.del(row, this.view);
    this.#forget(row);
    this.#desk.forget(row);
  }

  /** Takes a reading of a flow's counters. */
  read(row: number, bytes: Counts, packets: Counts): void {
    const memory = this.#memories[row];
    if (!memory) return;
    memory.read(this.#time, bytes, packets);
    this.dirty.add(row);
  }

  /** A reading of the counters of watched flows tells of one. */
  isRead(row: number): void {
    const memory = this.#memories[row];
    if (memory) memory.reading = this.#reading;
  }

  /** A reading was whole. Returns the flows that it did not tell of, and that were there when it began. */
  endReading(): number[] {
    const before = this.#reading++ - 1;
    const lost: number[] = [];
    for (const memory of this.#memories) {
      if (!memory?.watch.counters || memory.reading !== before) continue;
      lost.push(memory.row);
      // The next one has to tell of it: what is written now may be cleared before.
      memory.reading = before + 1;
    }
    return lost;
  }

  /** Looks at the clock: what has become due since, is dirty. */
  setTime(): void {
    const { even, wall } = this.#times.look();
    this.#time = even;
    const minute = Math.floor(wall / MINUTE_MS);
    if (minute !== this.#minute) this.#setClock(new Date(wall));
    this.#minute = minute;
    this.#lookAt = even + Math.min(CLOCK_MS, MINUTE_MS - (wall % MINUTE_MS));
    this.sets.expire(this.#time);
    for (const memory of this.#due.take(this.#time)) {
      memory.slot = undefined;
      this.dirty.add(memory.row);
    }
  }

  #setClock(date: Date): void {
    this.#clock = { minute: date.getHours() * 60 + date.getMinutes(), day: date.getDay() };
    this.#soil(this.#clocked);
  }

  /** Notes what a `for` of the flow waits on holds now, the view standing on it. */
  hold({ watch, heldSince }: FlowMemory): void {
    for (const { term, timer } of watch.held)
      if (!evaluate(term, this.view, this.#contents)) heldSince.delete(timer);
      else if (!heldSince.has(timer)) heldSince.set(timer, this.#time);
  }

  /** Has the flow decided anew when time alone may change something. */
  schedule(memory: FlowMemory): void {
    if (memory.slot !== undefined) this.#due.del(memory, memory.slot);
    const due = memory.nextDue(this.#time, this.#table.beganOf(memory.row));
    memory.slot = due === Number.POSITIVE_INFINITY ? undefined : this.#due.add(memory, due);
  }

  #ask(row: number, watch: Watch | undefined): void {
    if (!this.#desk.isOpen) return;
    const facts = [...(watch?.asks ?? []), ...(this.#countsUnits ? ['unit'] : [])];
    const { view } = this;
    this.#desk.ask(row, facts, () => ({
      origin: view.origin,
      protocol: view.protocol,
      zone: view.zone,
      local: { address: view.local.address.slice(), port: view.local.port },
      remote: { address: view.remote.address.slice(), port: view.remote.port },
      original: view.tuple('original'),
      reply: view.tuple('reply'),
    }));
  }

  #answered(row: number, before: SuppliedFacts | undefined): void {
    this.dirty.add(row);
    this.stirred.next();
    const after = this.#desk.factsOf(row);
    if (!this.#countsUnits || before?.unit === after?.unit) return;
    const { local, remote } = this.view.moveTo(row);
    if (before?.unit !== undefined) this.#company?.del(row, { local, remote, unit: before.unit }, 'unit');
    this.#company?.add(row, { local, remote, unit: after?.unit }, this.#memories[row]?.watch, 'unit');
  }

  #soil(rows: Iterable<number>): void {
    for (const row of rows) this.dirty.add(row);
  }

  #remember(address: Address, row: number): void {
    const key = keyOfAddress(address);
    const rows = this.#byMember.get(key);
    if (rows) rows.add(row);
    else this.#byMember.set(key, new Set([row]));
  }

  #forget(row: number): void {
    this.dirty.delete(row);
    const memory = this.#memories[row];
    if (!memory) return;
    this.#memories[row] = undefined;
    this.#size--;
    if (memory.watch.counters) this.#counted--;
    if (memory.watch.clock) this.#clocked.delete(row);
    if (memory.slot !== undefined) this.#due.del(memory, memory.slot);
    memory.end();
    if (this.#spare.length < MOST_SPARE) this.#spare.push(memory);
    if (memory.watch.sets.length === 0) return;
    this.view.moveTo(row);
    for (const { end } of memory.watch.sets) {
      const key = keyOfAddress(this.view[end].address);
      const rows = this.#byMember.get(key);
      if (rows?.delete(row) && rows.size === 0) this.#byMember.delete(key);
    }
  }
}
