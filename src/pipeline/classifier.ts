import { type FlowRecord, MARK_GONE, MARK_WRITTEN, type MarkRequest } from '../kernel/index.ts';
import { createDecide, type Decision, type Policy } from '../language/index.ts';
import {
  classOfMark,
  type End,
  type FlowFacts,
  formatAddress,
  type MarkField,
  markOfClass,
  type Origin,
  protocolName,
} from '../model/index.ts';
import type { FlowEvent } from '../monitor/index.ts';
import { classOf, mapKeyOf } from '../shape/index.ts';
import { factsOf } from './facts.ts';
import { type Flow, FlowTable } from './flow-table.ts';
import type { Sides } from './sides.ts';
import type { TupleMap } from './tuple-map.ts';

/** What the pipeline reads of a conntrack record. */
export type FlowNews = Pick<
  FlowRecord,
  | 'kind'
  | 'count'
  | 'interrupted'
  | 'key'
  | 'id'
  | 'zone'
  | 'protocol'
  | 'mark'
  | 'originalBytes'
  | 'replyBytes'
  | 'originalPackets'
  | 'replyPackets'
  | 'original'
  | 'reply'
>;

/** What the classifier of flows is given. All of it can be had without a kernel. */
export interface ClassifierOptions {
  readonly policy: Policy;
  readonly field: MarkField;
  /** The datapath knows a flow by its mark alone (src/shape: Datapath): also one that goes by its origin gets one. */
  readonly marksOrigin?: boolean | undefined;
  /** Where the datapath finds classes by the arriving tuple. */
  readonly map?: Pick<TupleMap, 'set' | 'flush'> | undefined;
  readonly sides: Sides;
  /** Writes marks and says of each what became of it: MARK_WRITTEN, MARK_GONE, or another negative errno. */
  readonly writeMarks: (requests: readonly MarkRequest[]) => ArrayLike<number>;
  /** Gets flow events, unless nobody listens. */
  readonly emit: (event: FlowEvent) => void;
  readonly listening: () => boolean;
}

/**
 * Decides the queue of each flow that conntrack tells of, and has the decision written into the flow's mark.
 *
 * A flow that goes where its origin goes anyway gets no mark, unless the datapath needs it: the kernel does that by
 * itself, and a box without rules pays nothing. Marks are collected until {@link flush}, so that a batch of records makes one send.
 */
export class FlowClassifier {
  readonly table = new FlowTable();
  readonly #options: ClassifierOptions;
  #policy!: Policy;
  #decide!: (facts: FlowFacts) => Decision;
  #classes!: ReadonlyMap<string, number>;
  /** What the mark of a flow says that goes by its origin. */
  #byOrigin!: Readonly<Record<Origin, number>>;
  #pending: { readonly flow: Flow; readonly request: MarkRequest }[] = [];
  #marksWritten = 0;
  #marksFailed = 0;

  constructor(options: ClassifierOptions) {
    this.#options = options;
    this.#follow(options.policy);
  }

  #follow(policy: Policy): void {
    this.#policy = policy;
    this.#decide = createDecide(policy);
    this.#classes = new Map(policy.queues.map(({ name }) => [name, classOf(policy, name)]));
    const { local, remote } = policy.defaults;
    const numberOf = (queue: string) => (this.#options.marksOrigin ? this.#classes.get(queue)! : 0);
    this.#byOrigin = { local: numberOf(local), remote: numberOf(remote), new: 0 };
  }

  /**
   * Decides every flow again, by another policy, and has the marks rewritten that its queues' numbers ask for. A flow of
   * which the kernel knew better than we, it keeps in the queue of that name, where there still is one.
   */
  replacePolicy(policy: Policy): void {
    const names = new Map([...this.#classes].map(([name, number]) => [number, name]));
    const before = this.#byOrigin;
    this.#follow(policy);
    for (const flow of this.table.values()) {
      const { queue } = flow.decision;
      const inKernel = flow.class === 0 ? undefined : names.get(flow.class);
      const knewBetter = isSettled(flow, before) && inKernel !== undefined && inKernel !== queue;
      flow.decision = this.#decide(flow);
      const kept = knewBetter && isSettled(flow, before) ? this.#classes.get(inKernel) : undefined;
      if (kept === undefined) this.#requestMark(flow);
      else this.#request(flow, kept);
      if (flow.decision.queue !== queue) this.#emit('flow.update', flow);
    }
    this.flush();
  }

  /** Marks in the kernel by our hand so far. */
  get marksWritten(): number {
    return this.#marksWritten;
  }

  /** Marks that the kernel refused, other than of flows that have ended meanwhile. */
  get marksFailed(): number {
    return this.#marksFailed;
  }

  /** A flow as conntrack has it: from an event, or from a dump. True: it was not in the table. */
  see(record: FlowNews, kind: 'flow.new' | 'flow.known'): boolean {
    const key = record.key;
    const known = this.table.get(key);
    if (known && known.id === record.id) {
      this.table.touch(known);
      return false;
    }
    if (kind === 'flow.known' && this.table.hasEnded(key, record.id)) return false;
    const flow = this.#read(key, record, kind === 'flow.known');
    if (!flow) return false;
    this.table.add(flow);
    if (kind === 'flow.new' && isSettled(flow, this.#byOrigin)) this.#place(flow, flow.class);
    else this.#requestMark(flow);
    this.#emit(kind, flow);
    return true;
  }

  /** A flow has ended. */
  end(record: FlowNews): void {
    const flow = this.table.end(record.key, record.id);
    if (!flow) return;
    this.#place(flow, undefined);
    this.#emit('flow.end', flow, record);
  }

  /** Says of flows that a resync found gone that they ended. */
  ended(flows: readonly Flow[]): void {
    for (const flow of flows) {
      this.#place(flow, undefined);
      this.#emit('flow.end', flow);
    }
  }

  /** Writes the marks that have been decided since the last flush. */
  flush(): void {
    void this.#options.map?.flush();
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    const results = this.#options.writeMarks(pending.map(({ request }) => request));
    for (const [i, { flow, request }] of pending.entries()) {
      if (results[i] === MARK_WRITTEN) {
        flow.class = classOfMark(this.#options.field, request.mark);
        this.#marksWritten++;
      } else if (results[i] !== MARK_GONE) this.#marksFailed++;
    }
  }

  #read(key: string, record: FlowNews, silent: boolean): Flow | undefined {
    const original = record.original();
    // Every event and every dumped entry has both; one without was cut off.
    const reply = record.reply();
    if (!reply) return undefined;
    const origin = this.#options.sides.originOf(original, reply);
    if (!origin) return undefined;
    const facts = factsOf(origin, record.protocol, original, reply);
    return {
      ...facts,
      key,
      id: record.id,
      zone: record.zone,
      original,
      arriving:
        this.#options.map && origin !== 'new' && record.zone === 0
          ? mapKeyOf(record.protocol, origin === 'local' ? reply : original)
          : undefined,
      decision: this.#decide(facts),
      class: classOfMark(this.#options.field, record.mark),
      generation: 0,
      silent,
    };
  }

  #requestMark(flow: Flow): void {
    const { decision, origin } = flow;
    // Where we cannot place the ends, the kernel's own view by direction stands.
    const byOrigin = !decision.rule || (origin !== 'new' && decision.queue === this.#policy.defaults[origin]);
    this.#request(flow, byOrigin ? this.#byOrigin[origin] : this.#classes.get(decision.queue)!);
  }

  /** Has the flow's arriving packets go to a class, or where unknown ones go. */
  #place({ arriving }: Flow, number: number | undefined): void {
    if (arriving) this.#options.map?.set(arriving, number);
  }

  #request(flow: Flow, number: number): void {
    this.#place(flow, number === 0 ? this.#classes.get(flow.decision.queue) : number);
    if (number !== flow.class) this.#pending.push({ flow, request: this.#markRequest(flow, number) });
  }

  #markRequest(flow: Flow, number: number): MarkRequest {
    const { field } = this.#options;
    return { key: flow.key, mark: markOfClass(field, number), mask: field.mask };
  }

  #emit(kind: FlowEvent['kind'], flow: Flow, last?: FlowNews): void {
    if (!this.#options.listening()) return;
    const counted = last?.originalBytes !== undefined;
    this.#options.emit({
      kind,
      protocol: protocolName(flow.protocol),
      local: formatEnd(flow.local),
      remote: formatEnd(flow.remote),
      origin: flow.origin,
      queue: flow.decision.queue,
      ...(flow.decision.rule && { rule: flow.decision.rule.name }),
      ...(flow.zone !== 0 && { zone: flow.zone }),
      ...(counted && {
        bytes: sum(last.originalBytes, last.replyBytes),
        packets: sum(last.originalPackets, last.replyPackets),
      }),
    });
  }
}

/**
 * The kernel has given the new flow a class by its own rules, with the packet at hand: its code point, its hardware
 * address. Only a live rule may know better.
 */
const isSettled = ({ class: number, decision, origin }: Flow, byOrigin: Readonly<Record<Origin, number>>): boolean =>
  number !== 0 && number !== byOrigin[origin] && decision.rule?.tier.kind !== 'live';

function formatEnd({ address, port }: End): string {
  const text = formatAddress(address);
  if (port === undefined) return text;
  return address.length === 16 ? `[${text}]:${port}` : `${text}:${port}`;
}

const sum = (a = 0, b = 0): number => a + b;
