import { type Condition, evaluate, leavesOf, type Policy, parseWhere, setContents } from '../language/index.ts';
import { type FlowFacts, HeadgateError, type Origin, protocolName } from '../model/index.ts';
import { type Counts, type FlowClassifier, type FlowView, formatEnd, type Reading } from '../pipeline/index.ts';

/** By what flows can be put in order: names downwards from A, all else from the most. */
export const FLOW_ORDERS = ['bytes', 'packets', 'rate', 'age', 'local', 'remote', 'queue', 'rule'] as const;
export type FlowOrder = (typeof FLOW_ORDERS)[number];
export const MOST_LISTED = 10_000;

export interface FlowQuery {
  /** Absent: all flows. */
  readonly where?: Condition | undefined;
  readonly order: FlowOrder;
  readonly limit: number;
}

/** A flow as it is listed. What the kernel does not count, or nobody has found out, is not there. */
export interface ListedFlow {
  readonly protocol: string;
  readonly local: string;
  readonly remote: string;
  readonly origin: Origin;
  readonly queue: string;
  readonly rule?: string | undefined;
  readonly zone?: number | undefined;
  /** Ms. */
  readonly age?: number | undefined;
  readonly bytes?: Counts | undefined;
  readonly packets?: Counts | undefined;
  /** bit/s over the last second. */
  readonly rate?: Counts | undefined;
  readonly tcpState?: string | undefined;
  readonly unit?: string | undefined;
  readonly process?: string | undefined;
  readonly domains?: readonly string[] | undefined;
}

export interface FlowList {
  /** All that there are, and those that are meant. */
  readonly total: number;
  readonly matched: number;
  /** The first of those. */
  readonly flows: readonly ListedFlow[];
}

/** Reads `where`, `sort` and `limit`. @throws HeadgateError HG_USAGE */
export function readQuery(parameters: URLSearchParams, policy: Policy): FlowQuery {
  const text = parameters.get('where');
  const order = (parameters.get('sort') ?? 'bytes') as FlowOrder;
  if (!FLOW_ORDERS.includes(order)) throw usage(`sort ${order}: by ${FLOW_ORDERS.join(', ')}`);
  const limit = Number(parameters.get('limit') ?? 50);
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_LISTED)
    throw usage(`limit ${parameters.get('limit')}: a number from 1 to ${MOST_LISTED}`);
  if (text === null) return { order, limit };
  const { condition, diagnostics } = parseWhere(text, policy);
  if (!condition) {
    const [first] = diagnostics.filter(({ severity }) => severity === 'error');
    throw usage(`--where ${text}: ${first?.message}${first?.hint ? ` (${first.hint})` : ''}`);
  }
  return { where: condition, order, limit };
}

const usage = (problem: string): HeadgateError => new HeadgateError('HG_USAGE', { problem, command: 'flows' });

/** Rates are asked for: the counters have to be read twice. */
export const needsRates = ({ where, order }: FlowQuery): boolean =>
  order === 'rate' ||
  (where !== undefined && [...leavesOf(where)].some((leaf) => leaf.kind === 'measure' && leaf.measure === 'rate'));

/** The flows that are meant, in order. */
export function listFlows(
  { where, order, limit }: FlowQuery,
  policy: Policy,
  flows: Iterable<FlowView>,
  classifier: Pick<FlowClassifier, 'decisionOf'>,
  readings: ReadonlyMap<number, Reading>,
): FlowList {
  const sets = setContents(policy);
  const found: ListedFlow[] = [];
  let total = 0;
  for (const flow of flows) {
    total++;
    const reading = readings.get(flow.row);
    if (where && !evaluate(where, factsOf(flow, reading), sets)) continue;
    const { queue, rule } = classifier.decisionOf(flow.row);
    found.push(listOne(flow, queue, rule?.name, reading));
  }
  return { total, matched: found.length, flows: found.sort(ORDERS[order]).slice(0, limit) };
}

/** What a flow has, with counters that were read for this alone. */
function factsOf(flow: FlowView, reading: Reading | undefined): FlowFacts {
  const { origin, protocol, local, remote, zone, nat, tcpState, age, idle, clock } = flow;
  const { device, mac, dscp, helper, user, process, unit, cgroup, domains, p2p } = flow;
  const { rate } = reading ?? {};
  return {
    ...{ origin, protocol, local, remote, zone, nat, tcpState, age, idle, clock },
    ...{ device, mac, dscp, helper, user, process, unit, cgroup, domains, p2p },
    bytes: reading?.bytes ?? flow.bytes,
    packets: reading?.packets ?? flow.packets,
    rate: (direction, window) =>
      flow.rate(direction, window) ?? (rate && (direction === 'total' ? rate.in + rate.out : rate[direction])),
    count: (of, by) => flow.count(of, by),
    inSet: (set, address) => flow.inSet(set, address),
  };
}

function listOne(flow: FlowView, queue: string, rule: string | undefined, reading: Reading | undefined): ListedFlow {
  const { origin, zone, age, tcpState, unit, process, domains } = flow;
  const { bytes, packets, rate } = reading ?? { bytes: flow.bytes, packets: flow.packets, rate: undefined };
  return {
    protocol: protocolName(flow.protocol),
    local: formatEnd(flow.local),
    remote: formatEnd(flow.remote),
    ...{ origin, queue },
    ...(rule !== undefined && { rule }),
    ...(zone !== 0 && { zone }),
    ...(age !== undefined && { age: Math.round(age) }),
    ...{ bytes, packets, rate, tcpState, unit, process, domains },
  };
}

const both = (counts: Counts | undefined): number => (counts ? counts.in + counts.out : -1);
const most = (value: (flow: ListedFlow) => number) => (a: ListedFlow, b: ListedFlow) => value(b) - value(a);
const byName = (value: (flow: ListedFlow) => string) => (a: ListedFlow, b: ListedFlow) =>
  value(a).localeCompare(value(b), 'en', { numeric: true });

const ORDERS: Readonly<Record<FlowOrder, (a: ListedFlow, b: ListedFlow) => number>> = {
  bytes: most(({ bytes }) => both(bytes)),
  packets: most(({ packets }) => both(packets)),
  rate: most(({ rate }) => both(rate)),
  age: most(({ age = -1 }) => age),
  local: byName(({ local }) => local),
  remote: byName(({ remote }) => remote),
  queue: byName(({ queue }) => queue),
  rule: byName(({ rule = '' }) => rule),
};
