import type { FlowRecord } from '../kernel/index.ts';
import {
  becauseOf,
  createDecide,
  createEffects,
  type Decide,
  type Decision,
  type FindEffects,
  type Policy,
  type Rule,
} from '../language/index.ts';
import { classOfMark, type MarkField, type Origin, TCP_STATES } from '../model/index.ts';
import type { FlowEvent } from '../monitor/index.ts';
import { classOf, type MapKey, mapKeyOf } from '../shape/index.ts';
import { endOf, type FlowEnd, type FlowNote, flowEvent } from './flow-event.ts';
import { countsOf, type FlowMemory, type Reading, readingOf } from './flow-memory.ts';
import { FlowTable } from './flow-table.ts';
import type { FlowView } from './flow-view.ts';
import type { EffectSink } from './live-effects.ts';
import { LiveFlows, type LiveOptions } from './live-flows.ts';
import { MarkQueue, type WriteMarks } from './mark-queue.ts';
import type { Sides } from './sides.ts';
import type { TupleMap } from './tuple-map.ts';

/** What the pipeline reads of a conntrack record. */
export type FlowNews = Pick<
  FlowRecord,
  | 'kind'
  | 'count'
  | 'interrupted'
  | 'words'
  | 'word'
  | 'id'
  | 'family'
  | 'mark'
  | 'status'
  | 'start'
  | 'stop'
  | 'time'
  | 'tcpState'
  | 'helper'
  | 'hasPorts'
  | 'originalBytes'
  | 'replyBytes'
  | 'originalPackets'
  | 'replyPackets'
  | 'original'
  | 'reply'
>;

/** What the classifier of flows is given. All of it can be had without a kernel. */
export interface ClassifierOptions extends LiveOptions {
  readonly policy: Policy;
  readonly field: MarkField;
  /** The datapath knows a flow by its mark alone (src/shape: Datapath): also one that goes by its origin gets one. */
  readonly marksOrigin?: boolean | undefined;
  /** Where the datapath finds classes by the arriving tuple. */
  readonly map?: Pick<TupleMap, 'set' | 'flush'> | undefined;
  /** Carries `police` and `mirror` of live rules to the packets. */
  readonly effects?: EffectSink | undefined;
  readonly sides: Pick<Sides, 'originOfRecord'>;
  readonly writeMarks: WriteMarks;
  /** Gets flow events, unless nobody listens. */
  readonly emit: (event: FlowEvent) => void;
  readonly listening: () => boolean;
  /** Hears of each decision about a flow that is new to us (`seen`: how it came), or that another rule takes now. */
  readonly decided?: ((rule: Rule | undefined, origin: Origin, seen?: Seen) => void) | undefined;
}

/** Where a record comes from: an event, the first look at the table, a later one, or the look of one who has followed nothing. */
export type Seen = 'event' | 'start' | 'resync' | 'look';

/** Flows that are decided anew in one go at most; the others wait for their turn. */
export const MOST_SETTLED = 2000;
/** Rows looked at in one go after a dump, to remove those that are gone. */
export const MOST_SWEPT = 4096;

/** Flows that are decided by another policy in one go at most. */
export const MOST_REPLACED = 2000;

/** A policy that another one takes the place of, and what of it the flows that wait for their turn need. */
interface Former {
  readonly policy: Policy;
  readonly byOrigin: Readonly<Record<Origin, number>>;
  /** Of its queues, by the number of their class. */
  readonly names: ReadonlyMap<number, string>;
  /** By row. */
  readonly memories: readonly (FlowMemory | undefined)[];
  /** Of the rules of the new one, by name. */
  readonly places: ReadonlyMap<string, number>;
  /** Those that have not had their turn, others among them. */
  readonly rows: Iterator<number>;
}

/** Not `rules[place]`: that looks -1 up by its name, which takes 0.2 us. */
const ruleAt = ({ rules }: Policy, place: number): Rule | undefined => (place < 0 ? undefined : rules[place]);

/** IPS_SRC_NAT is bit 4, IPS_DST_NAT bit 5 (linux/netfilter/nf_conntrack_common.h). */
const natOf = (status = 0): number => (status >> 4) & 3;

/**
 * Decides the queue of each flow that conntrack tells of, now and whenever something that its rules look at has
 * changed, and has the decision written into the flow's mark.
 *
 * A flow that goes where its origin goes anyway gets no mark, unless the datapath needs it: the kernel does that by
 * itself. Marks are collected until {@link flush}, so that a batch of records makes one send.
 */
export class FlowClassifier {
  readonly table = new FlowTable();
  readonly live: LiveFlows;
  readonly marks: MarkQueue;
  readonly #options: ClassifierOptions;
  readonly #view: FlowView;
  #policy!: Policy;
  #field!: MarkField;
  #decide!: Decide;
  #findEffects!: FindEffects;
  #places!: ReadonlyMap<Rule, number>;
  #classes!: ReadonlyMap<string, number>;
  /** What the mark of a flow says that goes by its origin. */
  #byOrigin!: Readonly<Record<Origin, number>>;
  /** Another policy is taking its place: {@link replacing}. */
  #former: Former | undefined;
  /** What the datapath's map has of flows that were forgotten, and not seen again yet. */
  readonly #left = new Map<string, MapKey>();

  constructor(options: ClassifierOptions) {
    this.#options = options;
    this.live = new LiveFlows(this.table, options);
    this.#view = this.live.view;
    this.marks = new MarkQueue(this.table, options.writeMarks);
    this.#follow(options.policy, options.field);
  }

  /** Returns, by row, what was remembered of flows. */
  #follow(policy: Policy, field: MarkField): Former['memories'] {
    this.#policy = policy;
    this.#field = field;
    this.#decide = createDecide(policy);
    this.#findEffects = createEffects(policy);
    this.#places = new Map(policy.rules.map((rule, place) => [rule, place]));
    this.#classes = new Map(policy.queues.map(({ name }) => [name, classOf(policy, name)]));
    const { local, remote } = policy.defaults;
    const numberOf = (queue: string) => (this.#options.marksOrigin ? this.#classes.get(queue)! : 0);
    this.#byOrigin = { local: numberOf(local), remote: numberOf(remote), new: 0 };
    this.#options.effects?.follow(policy);
    return this.live.follow(policy);
  }

  /** Decides every flow again, by another policy: all turns of {@link replacing}. */
  replacePolicy(policy: Policy, field = this.#field): void {
    for (const turn = this.replacing(policy, field); turn(); );
  }

  /**
   * Follows another policy from now on, and decides every flow again by it, in turns: each call is one; true: there is another. The
   * marks are rewritten that its queues' numbers ask for. A flow of which the kernel knew better than we, it keeps in the queue of
   * that name, where there still is one. Until a flow has had its turn it is where the policy before had it, by the number of that class.
   */
  replacing(policy: Policy, field = this.#field): () => boolean {
    // One that has not come to its end does so at once.
    while (this.#former) this.#replaceSome(this.#former);
    const before = { policy: this.#policy, byOrigin: this.#byOrigin };
    const names = new Map([...this.#classes].map(([name, number]) => [number, name]));
    this.table.makeFormer();
    const memories = this.#follow(policy, field);
    const places = new Map(policy.rules.map(({ name }, place) => [name, place]));
    const former: Former = { ...before, names, memories, places, rows: this.table.rows() };
    this.#former = former;
    return () => {
      if (this.#former === former) this.#replaceSome(former);
      return this.#former === former;
    };
  }

  #replaceSome(former: Former): void {
    let looked = 0;
    this.live.setTime();
    for (let next = former.rows.next(); ; next = former.rows.next()) {
      if (next.done) {
        this.#former = undefined;
        break;
      }
      if (this.table.isFormer(next.value)) this.#beginAnew(next.value, former);
      if (++looked === MOST_REPLACED) break;
    }
    this.flush();
  }

  /** Decides a flow that the policy before has decided. */
  #beginAnew(row: number, { policy: before, byOrigin, names, memories, places }: Former): void {
    const { table } = this;
    const view = this.#view.moveTo(row);
    const rule = ruleAt(before, table.ruleOf(row));
    table.setCurrent(row);
    // The bit would be read as part of a class from now on.
    if (this.#field.watch === undefined && table.isWatched(row)) this.marks.forget(row);
    const queue = rule?.queue ?? before.defaults[view.origin];
    const first = table.firstClassOf(row);
    const kept = first === byOrigin[view.origin] ? undefined : this.#classes.get(names.get(first) ?? '');
    table.setFirstClass(row, kept ?? 0);
    table.setRule(row, places.get(rule?.name ?? '') ?? -1);
    const own = this.live.beginAnew(row, memories[row]);
    if (own && rule?.until) own.current = ruleAt(this.#policy, table.ruleOf(row));
    this.#settle(row, own);
    const now = this.decisionOf(row);
    const turned = now.rule?.name !== rule?.name;
    if (turned) this.#options.decided?.(now.rule, view.origin);
    if (turned || now.queue !== queue) this.#emit('flow.update', row, undefined, { queue, rule: rule?.name });
  }

  /** A flow as conntrack has it. True: it was not in the table. */
  see(record: FlowNews, seen: Seen): boolean {
    const known = this.table.find(record);
    if (known >= 0 && this.table.idOf(known) === record.id) {
      this.table.touch(known);
      this.#note(known, record);
      return false;
    }
    if (seen !== 'event' && this.table.hasEnded(record)) return false;
    const origin = this.#options.sides.originOfRecord(record);
    const { now, times } = this.live;
    // Its end was missed: another one of the same identity has come.
    if (known >= 0) this.#end(known);
    if (!origin) return false;
    const number = classOfMark(this.#field, record.mark);
    const row = this.table.add(record, {
      origin,
      ports: record.hasPorts,
      silent: seen !== 'event',
      class: number,
      nat: natOf(record.status),
      helper: record.helper,
      // One that a later look finds is as young as what was lost.
      began:
        record.start !== undefined
          ? times.startOf(record.start, now)
          : seen === 'start' || seen === 'look'
            ? Number.NaN
            : now,
      now,
    });
    if (row < 0) return false;
    // At the start a mark is what an earlier run wrote; later, it is what the kernel's own rules said.
    if (seen === 'start') this.table.setFirstClass(row, 0);
    if ((record.mark & (this.#field.watch ?? 0)) !== 0) this.table.setWatched(row, true);
    this.#note(row, record);
    this.#view.moveTo(row);
    this.#settle(row, this.live.begin(row, seen === 'event'));
    this.live.dirty.delete(row);
    this.#options.decided?.(this.decisionOf(row).rule, origin, seen);
    this.#emit(seen === 'event' ? 'flow.new' : 'flow.known', row);
    return true;
  }

  /** Takes what an event says of a flow that is known. */
  update(record: FlowNews): void {
    const row = this.table.findSame(record);
    if (row >= 0) this.#note(row, record);
  }

  /** Takes what a reading of the watched flows' counters says, of one of them. */
  read(record: FlowNews): void {
    const row = this.table.findSame(record);
    if (row < 0) return;
    this.live.isRead(row);
    this.#note(row, record);
  }

  /** A reading was whole: who it does not tell of any more has ended, or somebody has cleared our bits of its mark, which are written once more. */
  endReading(): void {
    for (const row of this.live.endReading()) {
      if (!this.table.isWatched(row)) continue;
      this.marks.forget(row);
      this.live.dirty.add(row);
    }
  }

  /** A flow has ended. */
  end(record: FlowNews): void {
    const row = this.table.findEnding(record);
    if (row >= 0) this.#end(row, record);
  }

  /** Removes flows that the last dump found gone, some at a time. Returns how many; there are more while the table says so. */
  sweep(): number {
    const gone = this.table.takeGone(MOST_SWEPT);
    for (const row of gone) this.#end(row);
    this.flush();
    return gone.length;
  }

  /** Forgets every flow. Marks stay, and the datapath's map until {@link leave}; members of sets go with the next {@link flush}, unless the flow is seen again before. */
  clear(): void {
    const { map, effects } = this.#options;
    if (map || (effects && this.live.size > 0))
      for (const row of this.table.rows()) {
        this.#unmeet(row);
        const key = map && this.#mapKey();
        if (key) this.#left.set(key.text, key);
      }
    this.#former = undefined;
    this.live.clear();
    this.table.clear();
  }

  /** All flows have been seen anew: the datapath's map has no others any more, from the next {@link flush} on. */
  leave(): void {
    for (const key of this.#left.values()) this.#options.map?.set(key, undefined);
    this.#left.clear();
  }

  /** Decides anew those flows for which something has changed. True: there are more of them. */
  settle(): boolean {
    const { dirty } = this.live;
    let left = MOST_SETTLED;
    for (const row of dirty) {
      if (left-- === 0) break;
      dirty.delete(row);
      // It has its turn yet.
      if (this.table.isFormer(row)) continue;
      this.#view.moveTo(row);
      this.#settle(row, this.live.memoryOf(row), true);
    }
    this.flush();
    return dirty.size > 0;
  }

  /**
   * Turns of {@link settle} for those that wait now, and no more: what is decided may have others wait, without end. Each call is
   * one; true: there is another.
   */
  settling(): () => boolean {
    let left = this.live.dirty.size;
    return () => {
      left -= MOST_SETTLED;
      return this.settle() && left > 0;
    };
  }

  /** Writes the marks that have been decided since the last flush. */
  flush(): void {
    void this.#options.map?.flush();
    void this.#options.effects?.flush();
    this.marks.flush();
    this.live.stirred.next();
  }

  /** Where a flow goes, and by which rule. */
  decisionOf(row: number): Decision {
    const policy = this.#policyOf(row);
    const rule = ruleAt(policy, this.table.ruleOf(row));
    return rule ? { queue: rule.queue!, rule } : { queue: policy.defaults[this.table.originOf(row)] };
  }

  /** The one that has decided it. */
  #policyOf(row: number): Policy {
    return this.#former && this.table.isFormer(row) ? this.#former.policy : this.#policy;
  }

  /** The flows, one after the other, all by the same view. */
  *flows(): Generator<FlowView> {
    for (const row of this.table.rows()) yield this.#view.moveTo(row);
  }

  /** Each flow as an item, made when it is taken; with counters, where there is a reading of it. */
  *known(readings: ReadonlyMap<number, Reading> = new Map()): Generator<FlowEvent> {
    for (const { row } of this.flows())
      yield this.#eventOf('flow.known', row, {
        began: this.table.beganOf(row),
        counts: readingOf(readings, this.table, row),
      });
  }

  /** Takes what a record says of a flow that is in the table. */
  #note(row: number, record: FlowNews): void {
    const { tcpState } = record;
    if (tcpState !== undefined && tcpState < TCP_STATES.length && tcpState !== this.table.tcpStateOf(row)) {
      this.table.setTcpState(row, tcpState);
      if (this.live.memoryOf(row)?.watch.tcpState) this.live.dirty.add(row);
    }
    if (!this.live.memoryOf(row)?.watch.counters) return;
    const counts = countsOf(record, this.table.originOf(row));
    if (counts) this.live.read(row, counts.bytes, counts.packets);
  }

  /** Decides the flow that the view stands on. */
  #settle(row: number, memory: FlowMemory | undefined, tell = false): void {
    if (memory) this.live.hold(memory);
    const decision = this.#decide(this.#view, memory?.current);
    const place = decision.rule ? this.#places.get(decision.rule)! : -1;
    const turned = place !== this.table.ruleOf(row);
    const before = turned && tell ? this.decisionOf(row) : undefined;
    if (turned) {
      this.table.setRule(row, place);
      this.table.setDecided(row, this.live.now);
    }
    if (memory) {
      memory.current = decision.rule;
      this.#meet(memory, decision);
      this.live.schedule(memory);
    }
    this.#mark(row, decision, memory?.watch.counters === true);
    if (!before) return;
    this.#options.decided?.(decision.rule, this.#view.origin);
    this.#emit('flow.update', row, undefined, { queue: before.queue, rule: before.rule?.name });
  }

  #mark(row: number, { rule, queue }: Decision, watched: boolean): void {
    const origin = this.#view.origin;
    const first = this.table.firstClassOf(row);
    // The kernel's own rules had the packet at hand: its code point, its hardware address. Only a live rule may know better.
    const settled = first !== 0 && first !== this.#byOrigin[origin] && rule?.tier.kind !== 'live';
    // Where we cannot place the ends, the kernel's own view by direction stands.
    const byOrigin = !rule || (origin !== 'new' && queue === this.#policy.defaults[origin]);
    const number = settled ? first : byOrigin ? this.#byOrigin[origin] : this.#classes.get(queue)!;
    if (this.#options.map) this.#place(number === 0 ? this.#classes.get(queue) : number);
    this.marks.request(row, this.#field, number, watched);
  }

  /** Has the effects of live rules begin and end. */
  #meet(memory: FlowMemory, decision: Decision): void {
    const before = memory.effects;
    const all = this.#findEffects(this.#view, decision);
    if (all.length + before.length === 0) return;
    const met = all.filter(({ tier }) => tier.kind === 'live');
    // Not with each decision: who has left a set that is full would come back at once, and another leave.
    const again = this.live.now >= memory.renewal;
    if (again || met.length === 0) memory.renewal = Number.POSITIVE_INFINITY;
    for (const rule of met) {
      if (again || !before.includes(rule)) {
        this.#put(rule);
        for (const effect of rule.effects)
          if (effect.kind === 'add') memory.renewal = Math.min(memory.renewal, this.live.now + effect.for / 2);
      }
      if (!before.includes(rule)) this.#options.effects?.add(this.#view, rule);
    }
    for (const rule of before)
      if (!met.includes(rule)) {
        this.#put(rule);
        this.#options.effects?.del(this.#view, rule);
      }
    memory.effects = met;
  }

  /** Puts ends of the flow into the sets that a rule names, for as long as it says. */
  #put({ effects }: Rule): void {
    for (const effect of effects)
      if (effect.kind === 'add')
        this.live.sets.add(effect.set, this.#view[effect.end].address, this.live.now + effect.for);
  }

  /** Has all effects of a flow end, and the view stand on it. Returns the rules whose they are. */
  #unmeet(row: number): readonly Rule[] {
    const view = this.#view.moveTo(row);
    const met = this.live.memoryOf(row)?.effects ?? [];
    for (const rule of met) this.#options.effects?.del(view, rule);
    return met;
  }

  #end(row: number, record?: FlowNews): void {
    // Until now its rules have held.
    for (const rule of this.#unmeet(row)) this.#put(rule);
    this.#place(undefined);
    this.#emit('flow.end', row, record);
    this.live.end(row);
    this.table.del(row);
  }

  /** Has the flow's arriving packets go to a class, or where unknown ones go. */
  #place(number: number | undefined): void {
    const { map } = this.#options;
    const key = map && this.#mapKey();
    if (!key) return;
    this.#left.delete(key.text);
    map.set(key, number);
  }

  /** By what the datapath's map knows the flow. */
  #mapKey(): MapKey | undefined {
    const { origin, zone, protocol } = this.#view;
    if (origin === 'new' || zone !== 0) return undefined;
    return mapKeyOf(protocol, this.#view.tuple(origin === 'local' ? 'reply' : 'original'));
  }

  #emit(kind: FlowEvent['kind'], row: number, last?: FlowEnd, before?: FlowEvent['before']): void {
    if (!this.#options.listening()) return;
    const heard = this.table.beganOf(row);
    const { now, times } = this.live;
    const end = kind === 'flow.end' ? endOf(this.#view.origin, heard, now, times, last) : { began: heard };
    this.#options.emit(this.#eventOf(kind, row, { before, ...end }));
  }

  /** An item about the flow that the view stands on. */
  #eventOf(kind: FlowEvent['kind'], row: number, note: Omit<FlowNote, 'id' | 'queue' | 'rule' | 'because'>): FlowEvent {
    const { queue, rule } = this.decisionOf(row);
    const because = rule && kind !== 'flow.end' ? becauseOf(rule, this.#view, this.#policyOf(row)) : undefined;
    const began = this.live.times.wallOf(note.began);
    return flowEvent(kind, this.#view, {
      ...note,
      ...{ id: this.table.idOf(row), queue, rule: rule?.name, because, began },
    });
  }
}
