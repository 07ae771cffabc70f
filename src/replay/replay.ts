import { leavesOfRule, type Policy } from '../language/index.ts';
import { DEFAULT_MARK_FIELD, hasPorts, type Origin, type Tuple } from '../model/index.ts';
import { FlowClassifier, type FlowNews, READ_MS, TICK_MS } from '../pipeline/index.ts';
import { fieldOf } from '../shape/index.ts';
import { FLOW_WORDS, type Recording } from './recording.ts';

/** Flows whose counters are read each READ_MS; while more are watched, they are read more seldom. */
const MOST_READ = 20;

/** What a policy does with a recording. */
export interface Outcome {
  /** Names of queues; {@link last} names them by their place here. */
  readonly queues: readonly string[];
  /** Of each flow, the queue that it was in last. */
  readonly last: Uint16Array;
  /** By rule, flows that it came to take; and how often a flow left a rule for another. */
  readonly hits: ReadonlyMap<string, number>;
  readonly changes: number;
  /** Words of its rules that a recording does not tell: what compares with them is false. */
  readonly unknown: readonly string[];
}

/** What a recording has no facts of. */
const UNKNOWN = new Set([
  'nat',
  'tcp.state',
  'dscp',
  'device',
  'mac',
  'helper',
  'process',
  'unit',
  'cgroup',
  'user',
  'domain',
  'p2p',
]);

/**
 * Has a policy decide a recording's flows, by the classifier that the service has, at the recording's own clock: the same for the
 * same input, however long it takes. What a flow carries is taken to come evenly, and read as the service reads it.
 */
export function replay(recording: Recording, policy: Policy): Outcome {
  let clock = recording.events > 0 ? recording.timeOf(0) : 0;
  const news = new Replayed(recording);
  const hits = new Map<string, number>();
  let decisions = 0;
  const classifier = new FlowClassifier({
    policy,
    field: fieldOf(policy, DEFAULT_MARK_FIELD),
    sides: { originOfRecord: () => news.origin },
    writeMarks: ({ count }) => new Int32Array(count),
    emit: () => {},
    listening: () => false,
    decided: (rule) => {
      decisions++;
      if (rule) hits.set(rule.name, (hits.get(rule.name) ?? 0) + 1);
    },
    now: () => clock,
  });
  const { table, live } = classifier;
  const queues = policy.queues.map(({ name }) => name);
  const places = new Map(queues.map((name, i) => [name, i]));
  const last = new Uint16Array(recording.flows).fill(places.get(policy.defaults.new)!);
  const watched = new Set<number>();
  const note = (flow: number, row: number) => {
    if (row >= 0) last[flow] = places.get(classifier.decisionOf(row).queue)!;
  };
  const read = (flow: number) => {
    if (news.moveTo(flow, 'dumped', clock)) classifier.update(news);
  };
  const settle = () => {
    for (const turn = classifier.settling(); turn(); );
  };

  const ticks = policy.needs.events.length > 0;
  let nextTick = clock + TICK_MS;
  let nextReading = clock + READ_MS;
  const passTo = (time: number) => {
    for (; ticks && nextTick <= time && live.size > 0; nextTick += TICK_MS) {
      clock = nextTick;
      live.setTime();
      if (policy.needs.counters && clock >= nextReading) {
        for (const flow of watched) read(flow);
        nextReading = clock + READ_MS * Math.max(1, Math.ceil(watched.size / MOST_READ));
      }
      settle();
    }
    if (nextTick <= time) nextTick += TICK_MS * (Math.floor((time - nextTick) / TICK_MS) + 1);
    clock = time;
    if (ticks) live.setTime();
  };

  for (let event = 0; event < recording.events; event++) {
    const { flow, ends } = recording.eventOf(event);
    const time = recording.timeOf(event);
    if (time > clock) passTo(time);
    if (ends) {
      read(flow);
      settle();
      news.moveTo(flow, 'destroy', clock);
      note(flow, table.find(news));
      watched.delete(flow);
      classifier.end(news);
      continue;
    }
    news.moveTo(flow, 'new', clock);
    classifier.see(news, 'event');
    const row = table.find(news);
    note(flow, row);
    if (row >= 0 && live.memoryOf(row)?.watch.counters) watched.add(flow);
    if (recording.listed) read(flow);
  }
  settle();
  for (let flow = 0; flow < recording.flows; flow++) {
    news.moveTo(flow, 'dumped', clock);
    note(flow, table.findSame(news));
  }
  live.close();
  const unknown = policy.rules.flatMap((rule) => [...leavesOfRule(rule)].map(({ kind }) => kind as string));
  return {
    ...{ queues, last, hits },
    changes: decisions - recording.flows,
    unknown: [...new Set(unknown)].filter((kind) => UNKNOWN.has(kind)).sort(),
  };
}

/** A recorded flow as news of conntrack: stands on one at a time. */
class Replayed implements FlowNews {
  readonly #recording: Recording;
  /** Bytes in, bytes out, packets in, packets out. */
  readonly #totals = new Float64Array(4);
  kind: FlowNews['kind'] = 'new';
  id = 0;
  word = 0;
  /** For {@link hasPorts} alone. */
  protocol = 0;
  /** Nobody asks: origins are recorded, and identities packed. */
  readonly family = 4;
  origin: Origin = 'new';
  readonly count = 0;
  readonly interrupted = false;
  readonly mark = 0;
  readonly status = 0;
  readonly tcpState: undefined;
  readonly helper: undefined;
  readonly stop: undefined;
  time = 0;
  start: number | undefined;
  originalBytes: number | undefined;
  replyBytes: number | undefined;
  originalPackets: number | undefined;
  replyPackets: number | undefined;

  constructor(recording: Recording) {
    this.#recording = recording;
  }

  /** False: its counters are not known. */
  moveTo(flow: number, kind: FlowNews['kind'], time: number): boolean {
    const recording = this.#recording;
    this.kind = kind;
    this.id = flow;
    this.word = flow * FLOW_WORDS;
    this.origin = recording.originOf(flow);
    this.protocol = recording.protocolOf(flow);
    this.time = time;
    this.start = recording.beganOf(flow);
    const known = kind === 'dumped' && recording.readTotals(flow, time, this.#totals);
    // A local flow's original direction is what leaves.
    const original = this.origin === 'local' ? 1 : 0;
    const reply = 1 - original;
    this.originalBytes = known ? this.#totals[original] : undefined;
    this.replyBytes = known ? this.#totals[reply] : undefined;
    this.originalPackets = known ? this.#totals[2 + original] : undefined;
    this.replyPackets = known ? this.#totals[2 + reply] : undefined;
    return known;
  }

  get words(): Uint32Array {
    return this.#recording.words;
  }
  get hasPorts(): boolean {
    return hasPorts(this.protocol);
  }
  original(): Tuple {
    throw new Error('a recording has no tuples');
  }
  reply(): Tuple {
    throw new Error('a recording has no tuples');
  }
}
