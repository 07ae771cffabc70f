import type { Condition, Effect, Measure, Needs, Rule, Tier } from './policy.ts';

type Leaf = Exclude<Condition, { kind: 'and' | 'or' | 'not' }>;
type LeafKind = Exclude<Leaf['kind'], 'measure'> | Measure;
type Source = Exclude<keyof Needs, 'events'>;

interface Origin {
  /** Known at a flow's first packet, and a thing that nft can match. */
  readonly kernel: boolean;
  /** What has to be opened to learn it, besides the events of new flows. */
  readonly needs: readonly Source[];
  /** It changes with events of known flows. */
  readonly update?: true;
}

const known: Origin = { kernel: true, needs: [] };
const packet: Origin = { kernel: true, needs: ['packets'] };
const socket: Origin = { kernel: false, needs: ['sockets'] };
const counted: Origin = { kernel: false, needs: ['counters'] };
const clock: Origin = { kernel: false, needs: ['clock'] };

/**
 * Where each thing that a rule can look at comes from: this table decides the tier. Translations are no kernel match,
 * since source NAT comes behind the last hook of ours; helpers neither, since rules of others assign them.
 */
const ORIGINS: Readonly<Record<LeafKind, Origin>> = {
  origin: known,
  protocol: known,
  family: known,
  address: known,
  port: known,
  zone: known,
  dscp: packet,
  mac: packet,
  device: packet,
  nat: { kernel: false, needs: [] },
  helper: { kernel: false, needs: [] },
  set: { kernel: false, needs: [] },
  user: socket,
  process: socket,
  unit: socket,
  cgroup: socket,
  domain: { kernel: false, needs: ['dns'] },
  p2p: { kernel: false, needs: ['p2p'] },
  bytes: counted,
  packets: counted,
  rate: counted,
  size: counted,
  ratio: counted,
  age: { kernel: false, needs: ['timers'] },
  idle: { kernel: false, needs: ['counters', 'timers'] },
  'tcp.state': { kernel: false, needs: [], update: true },
  count: { kernel: false, needs: ['company'] },
  time: clock,
  day: clock,
  held: { kernel: false, needs: ['timers'] },
};

const originOf = (leaf: Leaf): Origin => ORIGINS[leaf.kind === 'measure' ? leaf.measure : leaf.kind];

/** nft matches names of devices whole or by how they begin, and hardware addresses whole. */
const isPlain = (leaf: Leaf): boolean =>
  leaf.kind === 'device'
    ? leaf.patterns.every((pattern) => /^[^*]+\*?$/.test(pattern))
    : leaf.kind !== 'mac' || leaf.patterns.every((pattern) => !pattern.includes('*'));

/** The word by which a message names what is looked at. */
function wordOf(leaf: Leaf): string {
  switch (leaf.kind) {
    case 'measure':
      return leaf.direction === 'total' ? leaf.measure : `${leaf.measure}.${leaf.direction}`;
    case 'set':
      return `${leaf.end} in ${leaf.set}`;
    case 'held':
      return 'for';
    case 'device':
    case 'mac':
      return `${leaf.kind} "${leaf.patterns.find((pattern) => pattern.includes('*'))}"`;
    default:
      return leaf.kind;
  }
}

/** Everything that a condition looks at, from left to right; what a `for` waits on, too. */
export function* leavesOf(condition: Condition): Generator<Leaf> {
  if (condition.kind === 'and' || condition.kind === 'or') for (const term of condition.terms) yield* leavesOf(term);
  else if (condition.kind === 'not') yield* leavesOf(condition.term);
  else {
    yield condition as Leaf;
    if (condition.kind === 'held') yield* leavesOf(condition.term);
  }
}

/** The same of a rule: of what it waits for, then of what ends it. */
export function* leavesOfRule({ when, until }: Pick<Rule, 'when' | 'until'>): Generator<Leaf> {
  yield* leavesOf(when);
  if (until) yield* leavesOf(until);
}

type Parts = Pick<Rule, 'when' | 'until' | 'effects'>;

/** Which tier decides a rule, and the words that make it so. */
export function tierOf({ when, until, effects }: Parts): Tier {
  const because = new Set<string>();
  for (const leaf of leavesOf(when)) if (!originOf(leaf).kernel || !isPlain(leaf)) because.add(wordOf(leaf));
  if (until) because.add('until');
  for (const effect of effects) if (effect.kind === 'add') because.add('add');
  return because.size === 0 ? { kind: 'kernel' } : { kind: 'live', because: [...because] };
}

const adds = (effect: Effect): boolean => effect.kind === 'add';

/** What the live pipeline has to open. A policy of kernel rules alone needs nothing: the kernel has decided already. */
export function needsOf(rules: readonly Rule[]): Needs {
  const sources = new Set<Source>();
  let update = false;
  const live = rules.some((rule) => rule.tier.kind === 'live');
  // Kernel rules, too: they take part in what is the first to match.
  for (const rule of live ? rules : []) {
    for (const leaf of leavesOfRule(rule)) {
      const { needs, update: its } = originOf(leaf);
      for (const source of needs) sources.add(source);
      if (leaf.kind === 'count' && leaf.by === 'unit') sources.add('sockets');
      update ||= its === true;
    }
    if (rule.until || rule.effects.some(adds)) sources.add('timers');
  }
  const has = (source: Source): boolean => sources.has(source);
  return {
    events: live ? ['new', ...(update ? (['update'] as const) : []), 'destroy'] : [],
    counters: has('counters'),
    timers: has('timers'),
    dns: has('dns'),
    sockets: has('sockets'),
    p2p: has('p2p'),
    packets: has('packets'),
    clock: has('clock'),
    company: has('company'),
  };
}
