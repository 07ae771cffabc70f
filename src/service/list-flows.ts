import { setImmediate } from 'node:timers/promises';
import {
  type Condition,
  evaluate,
  formatFinding,
  isKnown,
  leavesOf,
  type Policy,
  parseWhere,
  setContents,
} from '../language/index.ts';
import { formatEnd, HeadgateError, type Origin, protocolName } from '../model/index.ts';
import { type Counts, type FlowClassifier, type FlowView, type Reading, readingOf } from '../pipeline/index.ts';
import { factsOf } from './flow-facts.ts';
import { FLOW_ORDERS, type FlowOrder, MOST_LISTED } from './flow-orders.ts';

/** Flows that are looked at in one go; between two, the event loop has its turn. */
export const MOST_IN_ONE_GO = 5000;

export interface FlowQuery {
  /** Absent: all flows. */
  readonly where?: Condition | undefined;
  readonly order: FlowOrder;
  readonly limit: number;
  /** Rates are to be told, whatever the order. */
  readonly rates: boolean;
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
  /** Words of the condition that are not known of every flow: where one is not, what compares with it is false. */
  readonly unknown: readonly string[];
}

/** Reads `where`, `sort`, `limit`, and `rates=1`. @throws HeadgateError HG_USAGE */
export function readQuery(parameters: URLSearchParams, policy: Policy): FlowQuery {
  const text = parameters.get('where');
  const order = (parameters.get('sort') ?? 'bytes') as FlowOrder;
  if (!FLOW_ORDERS.includes(order)) throw usage(`sort ${order}: by ${FLOW_ORDERS.join(', ')}`);
  const limit = Number(parameters.get('limit') ?? 50);
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_LISTED)
    throw usage(`limit ${parameters.get('limit')}: a number from 1 to ${MOST_LISTED}`);
  const rates = parameters.get('rates') === '1';
  if (text === null) return { order, limit, rates };
  const { condition, diagnostics } = parseWhere(text, policy);
  if (!condition) {
    const [first] = diagnostics.filter(({ severity }) => severity === 'error');
    throw usage(`--where ${text}: ${first && formatFinding(first)}`);
  }
  return { where: condition, order, limit, rates };
}

const usage = (problem: string): HeadgateError => new HeadgateError('HG_USAGE', { problem, command: 'flows' });

/** Rates are asked for: the counters have to be read twice. */
export const needsRates = ({ where, order, rates }: FlowQuery): boolean =>
  rates ||
  order === 'rate' ||
  (where !== undefined && [...leavesOf(where)].some((leaf) => leaf.kind === 'measure' && leaf.measure === 'rate'));

/** The flows that are meant, in order. */
export async function listFlows(
  { where, order, limit }: Omit<FlowQuery, 'rates'>,
  policy: Policy,
  flows: Iterable<FlowView>,
  classifier: Pick<FlowClassifier, 'decisionOf' | 'table'>,
  readings: ReadonlyMap<number, Reading>,
): Promise<FlowList> {
  const sets = setContents(policy);
  const keyOf = KEYS[order];
  const first: Ranked[] = [];
  const leaves = where ? [...leavesOf(where)] : [];
  const unknown = new Set<string>();
  let matched = 0;
  /** Who comes behind it is not listed, and costs no more than a look. */
  let last: Ranked | undefined;
  const take = (flow: FlowView): void => {
    const reading = readingOf(readings, classifier.table, flow.row);
    if (where) {
      const facts = factsOf(flow, reading);
      for (const leaf of leaves) if (!isKnown(leaf, facts)) unknown.add(wordOf(leaf));
      if (!evaluate(where, facts, sets)) return;
    }
    matched++;
    const { queue, rule } = classifier.decisionOf(flow.row);
    const key = keyOf(flow, reading, queue, rule?.name);
    if (last && compare(key, last.key) >= 0) return;
    first.push({ key, flow: listOne(flow, queue, rule?.name, reading) });
    if (first.length === 2 * limit) last = cut(first, limit);
  };
  let total = 0;
  for (const flow of flows) {
    take(flow);
    if (++total % MOST_IN_ONE_GO === 0) await setImmediate();
  }
  cut(first, limit);
  return { total, matched, flows: first.map(({ flow }) => flow), unknown: [...unknown].sort() };
}

const wordOf = (leaf: Condition): string => (leaf.kind === 'measure' ? leaf.measure : leaf.kind);

/** By what a flow is put in order. */
type Key = number | string;

interface Ranked {
  readonly key: Key;
  readonly flow: ListedFlow;
}

/** Leaves the first of them, in order, and returns the last of those. */
function cut(ranked: Ranked[], limit: number): Ranked | undefined {
  ranked.sort((a, b) => compare(a.key, b.key)).splice(limit);
  return ranked.at(-1);
}

const NAMES = new Intl.Collator('en', { numeric: true });
const compare = (a: Key, b: Key): number => (typeof a === 'number' ? Number(b) - a : NAMES.compare(a, String(b)));

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

const KEYS: Readonly<
  Record<FlowOrder, (flow: FlowView, reading: Reading | undefined, queue: string, rule: string | undefined) => Key>
> = {
  bytes: (flow, reading) => both(reading?.bytes ?? flow.bytes),
  packets: (flow, reading) => both(reading?.packets ?? flow.packets),
  rate: (_, reading) => both(reading?.rate),
  age: ({ age = -1 }) => age,
  local: ({ local }) => formatEnd(local),
  remote: ({ remote }) => formatEnd(remote),
  queue: (_flow, _reading, queue) => queue,
  rule: (_flow, _reading, _queue, rule = '') => rule,
};
