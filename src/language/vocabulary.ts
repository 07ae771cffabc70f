import { PROTOCOLS } from '../model/index.ts';

/** Words that begin a statement of this version. */
export const STATEMENTS = ['link', 'queue', 'set', 'rule', 'default'] as const;
export type StatementKind = (typeof STATEMENTS)[number];

/** Words that stand between names and values, and so can be neither. */
const CONNECTIVES = ['when', 'and', 'or', 'not', 'in', 'for', 'until'];

/** What a rule looks at, with the type of its values. */
export const SUBJECTS = {
  origin: 'origin',
  protocol: 'protocol',
  family: 'family',
  local: 'address',
  remote: 'address',
  'local.port': 'port',
  'remote.port': 'port',
} as const;
export type Subject = keyof typeof SUBJECTS;
export type SubjectType = (typeof SUBJECTS)[Subject];

export const SETTINGS = { link: ['device', 'download', 'upload'], queue: ['share', 'ceiling', 'leaf'] } as const;

export const LEAVES = ['bfifo', 'fq_codel', 'sfq'] as const;

/** Words of the whole language that this version does not carry yet, by the place where they stand. */
export const LATER = {
  statement: ['include', 'let', 'expect'],
  link: ['overhead', 'tree', 'share'],
  queue: ['fair', 'queue'],
  condition: [
    ...['device', 'mac', 'dscp', 'zone', 'nat', 'helper'],
    ...['user', 'process', 'unit', 'cgroup', 'domain'],
    ...['bytes', 'bytes.in', 'bytes.out', 'packets', 'packets.in', 'packets.out', 'rate', 'rate.in', 'rate.out'],
    ...['age', 'idle', 'size', 'ratio', 'tcp.state', 'count', 'time', 'day'],
  ],
  clause: ['for', 'until', 'add', 'mirror', 'police'],
} as const satisfies Record<string, readonly string[]>;

/** Names that nothing can be given. */
export const RESERVED: ReadonlySet<string> = new Set([...STATEMENTS, ...LATER.statement, ...CONNECTIVES]);

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
};

export const isOneOf = <T extends string>(words: readonly T[], word: string): word is T =>
  (words as readonly string[]).includes(word);
export const isSubject = (word: string): word is Subject => Object.hasOwn(SUBJECTS, word);
export const isProtocolWord = (word: string): word is keyof typeof PROTOCOLS => Object.hasOwn(PROTOCOLS, word);
/** The word begins a predicate, of this version or of a later one. */
export const beginsPredicate = (word: string): boolean =>
  isSubject(word) || isProtocolWord(word) || isOneOf(LATER.condition, word) || word === 'not';
