import { type Direction, ORIGINS, PROTOCOLS, TCP_STATES } from '../model/index.ts';
import type { Leaf, Measure, TreeKind } from './policy.ts';

/** Words that begin a statement. */
export const STATEMENTS = ['link', 'queue', 'set', 'let', 'rule', 'default', 'expect', 'include', 'marks'] as const;
export type StatementKind = (typeof STATEMENTS)[number];

/** Words that stand between names and values, and so can be neither. */
export const CONNECTIVES = ['when', 'and', 'or', 'not', 'in', 'for', 'until'] as const;

/** Names that nothing can be given. */
export const RESERVED: ReadonlySet<string> = new Set([...STATEMENTS, ...CONNECTIVES]);

/** What a rule looks at, with the type of its values. Protocols and {@link BARE} are words of their own: see {@link PROTOCOLS}. */
export const SUBJECTS = {
  origin: 'origin',
  protocol: 'protocol',
  family: 'family',
  local: 'address',
  remote: 'address',
  'local.port': 'port',
  'remote.port': 'port',
  device: 'name',
  mac: 'name',
  dscp: 'dscp',
  zone: 'zone',
  nat: 'nat',
  helper: 'name',
  user: 'user',
  process: 'name',
  unit: 'name',
  cgroup: 'name',
  domain: 'name',
  bytes: 'measure',
  'bytes.in': 'measure',
  'bytes.out': 'measure',
  packets: 'measure',
  'packets.in': 'measure',
  'packets.out': 'measure',
  rate: 'measure',
  'rate.in': 'measure',
  'rate.out': 'measure',
  age: 'measure',
  idle: 'measure',
  size: 'measure',
  ratio: 'measure',
  'tcp.state': 'state',
  count: 'count',
  time: 'time',
  day: 'day',
} as const;
export type Subject = keyof typeof SUBJECTS;
export type SubjectType = (typeof SUBJECTS)[Subject];
/** Subjects whose values are of this type. */
export type SubjectOf<T extends SubjectType> = {
  [S in Subject]: (typeof SUBJECTS)[S] extends T ? S : never;
}[Subject];

/** What is so or not, and is compared with nothing; protocols apart. */
export const BARE = ['p2p'] as const;

/** What is measured, in which direction, and the type of the value that it is compared with. */
export const MEASURES: Readonly<
  Record<
    SubjectOf<'measure'>,
    { readonly measure: Measure; readonly direction: Direction; readonly type: 'size' | 'number' | 'rate' | 'duration' }
  >
> = {
  bytes: { measure: 'bytes', direction: 'total', type: 'size' },
  'bytes.in': { measure: 'bytes', direction: 'in', type: 'size' },
  'bytes.out': { measure: 'bytes', direction: 'out', type: 'size' },
  packets: { measure: 'packets', direction: 'total', type: 'number' },
  'packets.in': { measure: 'packets', direction: 'in', type: 'number' },
  'packets.out': { measure: 'packets', direction: 'out', type: 'number' },
  rate: { measure: 'rate', direction: 'total', type: 'rate' },
  'rate.in': { measure: 'rate', direction: 'in', type: 'rate' },
  'rate.out': { measure: 'rate', direction: 'out', type: 'rate' },
  age: { measure: 'age', direction: 'total', type: 'duration' },
  idle: { measure: 'idle', direction: 'total', type: 'duration' },
  size: { measure: 'size', direction: 'total', type: 'size' },
  ratio: { measure: 'ratio', direction: 'total', type: 'number' },
};

/** Words that are a value of one subject only. */
export const FAMILIES = ['ipv4', 'ipv6'] as const;
export const NATS = ['source', 'destination', 'any'] as const;
/** From 0, as JavaScript and struct tm have it. */
export const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
export const COUNTED = ['flows', 'peers'] as const;
/** Code points by name (RFC 2474, 2597, 3246, 5865, 8622). */
export const DSCPS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`cs${i}`, 8 * i])),
  ...Object.fromEntries([1, 2, 3, 4].flatMap((c) => [1, 2, 3].map((d) => [`af${c}${d}`, 8 * c + 2 * d]))),
  ef: 46,
  va: 44,
  le: 1,
};

/** The words that can be values, by the type of the subject. Names, addresses, ports and numbers have none. */
export const VALUES: Readonly<Partial<Record<SubjectType, readonly string[]>>> = {
  origin: ORIGINS,
  protocol: Object.keys(PROTOCOLS),
  family: FAMILIES,
  dscp: Object.keys(DSCPS),
  nat: NATS,
  state: TCP_STATES,
  day: DAYS,
};

export const SETTINGS = {
  link: [
    'device',
    'download',
    'upload',
    'overhead',
    'tree',
    'numtxqueues',
    'ifb',
    'share',
    'bypass',
    'replace',
    'conntrack',
  ],
  queue: ['share', 'ceiling', 'leaf', 'fair'],
} as const;

export const LEAVES: readonly Leaf[] = ['bfifo', 'fq_codel', 'sfq', 'cake', 'tbf'];
export const TREES: readonly TreeKind[] = ['htb', 'prio', 'cake'];
/** What a link's packets may pass by unseen, when its policy says so. */
export const BYPASSES = ['netdev-ingress'] as const;
/** What of others on a link makes room while Headgate runs, when its policy says so. */
export const REPLACES = ['root-qdisc'] as const;
/** What is done on arrival where conntrack knows nothing of a packet. */
export const CONNTRACKS = ['query', 'create'] as const;
/** Of what each has an ifb of its own, when a link's policy says so. */
export const IFB_PER = ['origin'] as const;
export const FAIRNESS = ['flow', 'host'] as const;
export const LINK_LAYERS = ['ethernet', 'atm', 'ptm'] as const;

/** Words that begin what a rule does besides giving a queue. */
export const EFFECTS = ['add', 'mirror', 'police'] as const;

/** What people used to other tools write, and what it is here. */
export const FOREIGN_WORDS: Readonly<Record<string, string>> = {
  port: 'local.port or remote.port, by the end whose port it is',
  ports: 'local.port or remote.port, by the end whose port it is',
  dport: 'local.port or remote.port, by the end whose port it is',
  sport: 'local.port or remote.port, by the end whose port it is',
  src: 'local or remote, by the side of the link that it is on',
  dst: 'local or remote, by the side of the link that it is on',
  saddr: 'local or remote, by the side of the link that it is on',
  daddr: 'local or remote, by the side of the link that it is on',
  source: 'local or remote, by the side of the link that it is on',
  destination: 'local or remote, by the side of the link that it is on',
  host: 'local or remote, by the side of the link that it is on',
  ip: 'local or remote for an address, or family ipv4',
  ip6: 'local or remote for an address, or family ipv6',
  proto: 'protocol',
  iif: 'device',
  iifname: 'device',
  oif: 'device',
  oifname: 'device',
  uid: 'user',
  skuid: 'user',
  tos: 'dscp',
  duration: 'age',
  state: 'tcp.state',
};

export const isOneOf = <T extends string>(words: readonly T[], word: string): word is T =>
  (words as readonly string[]).includes(word);
export const isSubject = (word: string): word is Subject => Object.hasOwn(SUBJECTS, word);
export const isProtocolWord = (word: string): word is keyof typeof PROTOCOLS => Object.hasOwn(PROTOCOLS, word);
/** The word is a predicate by itself. */
export const isBareWord = (word: string): boolean => isProtocolWord(word) || isOneOf(BARE, word);
/** The word begins a predicate. */
export const beginsPredicate = (word: string): boolean => isSubject(word) || isBareWord(word) || word === 'not';
/** Values of this type may be written in quotes. */
export const takesStrings = (type: SubjectType): boolean => type === 'name' || type === 'user';
