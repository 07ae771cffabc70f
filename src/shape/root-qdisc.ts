import type { Command } from '../model/index.ts';
import { tc } from './tc-batch.ts';

/** A qdisc without classes, as tc adds it again. */
export interface RootQdisc {
  readonly kind: string;
  /** `5:` */
  readonly handle: string;
  /** As tc reads them, behind the kind. */
  readonly options: readonly string[];
  /** All that tc tells of it but for counters: equal words, equal qdiscs. */
  readonly told: string;
}

/** A root qdisc on a device. */
export interface RootPlace {
  readonly device: string;
  readonly root: RootQdisc;
}

/** Writes an option as tc reads it, from its value in tc's JSON; undefined: it cannot be written. */
type Writer = (value: unknown) => readonly string[] | undefined;

const number =
  (word: string): Writer =>
  (value) => [word, String(value)];
/** Bytes a second in tc's JSON. */
const rate =
  (word: string): Writer =>
  (value) =>
    typeof value === 'number' ? [word, `${value * 8}bit`] : [word, String(value)];
const time =
  (word: string, unit: 'us' | 'ns' | 's'): Writer =>
  (value) => [word, unit === 's' ? String(value) : `${value}${unit}`];
/** CoDel counts in 1024 ns, and tells microseconds, rounded down (codel_time_to_us()): one more is the same again. */
const codelTime =
  (word: string): Writer =>
  (value) => [word, `${Number(value) + 1}us`];
/** A word that is there, or true, or not. */
const either =
  (yes: string, no: string): Writer =>
  (value) => [value === false ? no : yes];
const word: Writer = (value) => [String(value)];
const isFollowing: Writer = () => [];
/** The value that it has where nobody chose another, which tc may have no word for. */
const only =
  (usual: unknown): Writer =>
  (value) =>
    value === usual ? [] : undefined;

const FIFO = { limit: number('limit') };
const ACK_FILTERS: Readonly<Record<string, string>> = {
  disabled: 'no-ack-filter',
  enabled: 'ack-filter',
  aggressive: 'ack-filter-aggressive',
};

/** What tc tells of each kind with `-json -raw -details` (iproute2 6.1, tc/q_*.c). What is not here is not put back, so not taken away. */
const WRITERS: Readonly<Record<string, Readonly<Record<string, Writer>>>> = {
  pfifo: FIFO,
  bfifo: FIFO,
  pfifo_head_drop: FIFO,
  tbf: {
    rate: rate('rate'),
    // Behind the stroke: the size of a cell.
    burst: (value) => ['burst', String(value).split('/')[0]!],
    burst_raw: isFollowing,
    mpu: only(0),
    lat: isFollowing,
    limit: number('limit'),
    linklayer: only('ethernet'),
  },
  sfq: {
    limit: number('limit'),
    quantum: number('quantum'),
    depth: number('depth'),
    flows: isFollowing,
    divisor: number('divisor'),
    perturb: time('perturb', 's'),
    headdrop: either('headdrop', ''),
  },
  fq: {
    limit: number('limit'),
    flow_limit: number('flow_limit'),
    buckets: number('buckets'),
    orphan_mask: number('orphan_mask'),
    pacing: either('pacing', 'nopacing'),
    quantum: number('quantum'),
    initial_quantum: number('initial_quantum'),
    maxrate: rate('maxrate'),
    defrate: rate('defrate'),
    low_rate_threshold: rate('low_rate_threshold'),
    refill_delay: time('refill_delay', 'us'),
    timer_slack: time('timer_slack', 'ns'),
    horizon: time('horizon', 'us'),
    horizon_drop: either('horizon_drop', 'horizon_cap'),
    horizon_cap: either('horizon_cap', 'horizon_drop'),
  },
  fq_codel: {
    limit: number('limit'),
    flows: number('flows'),
    quantum: number('quantum'),
    target: codelTime('target'),
    ce_threshold: codelTime('ce_threshold'),
    interval: codelTime('interval'),
    memory_limit: number('memory_limit'),
    ecn: either('ecn', 'noecn'),
    drop_batch: number('drop_batch'),
  },
  cake: {
    bandwidth: (value) => (value === 'unlimited' ? ['unlimited'] : rate('bandwidth')(value)),
    autorate: either('autorate-ingress', ''),
    diffserv: word,
    flowmode: word,
    nat: either('nat', 'nonat'),
    wash: either('wash', 'nowash'),
    ingress: either('ingress', 'egress'),
    'ack-filter': (value) => (ACK_FILTERS[String(value)] ? [ACK_FILTERS[String(value)]!] : undefined),
    split_gso: either('split-gso', 'no-split-gso'),
    rtt: time('rtt', 'us'),
    raw: either('raw', ''),
    atm: word,
    overhead: number('overhead'),
    mpu: number('mpu'),
    memlimit: number('memlimit'),
    fwmark: number('fwmark'),
  },
};

/** A root qdisc of this kind can be replaced and put back, if its options can be written. */
export const isPutBack = (kind: string): boolean => Object.hasOwn(WRITERS, kind);

/** The options of a qdisc as tc reads them; else the one that cannot be written. */
export function writeOptions(
  kind: string,
  options: Readonly<Record<string, unknown>>,
): { readonly options: readonly string[] } | { readonly unknown: string } {
  const written: string[] = [];
  for (const [key, value] of Object.entries(options)) {
    const words = WRITERS[kind]?.[key]?.(value);
    if (!words) return { unknown: key };
    written.push(...words.filter((one) => one !== ''));
  }
  return { options: written };
}

/** For people: `pfifo 5:`. */
export const describeRoot = ({ kind, handle }: Pick<RootQdisc, 'kind' | 'handle'>): string => `${kind} ${handle}`;

export const addRoot = (device: string, { kind, handle, options }: RootQdisc): Command =>
  tc('qdisc', 'add', 'dev', device, 'root', 'handle', handle, kind, ...options);
