import { type Address, formatAddress, formatPrefix, formatRate, type Prefix, type Rate } from '../model/index.ts';
import type { PortRange } from './policy.ts';

/** Ports on which a torrent client may listen, in all: beyond that it is no list of ports any more. */
export const MAX_SEED_PORTS = 1000;

/** What a first policy for a box says. What is not known is empty or absent. */
export interface BoxPlan {
  readonly device?: string | undefined;
  /** Other devices with a default route. */
  readonly otherUplinks: readonly string[];
  readonly download?: Rate | undefined;
  readonly upload?: Rate | undefined;
  /** The rates are a guess from the card's own speed, which is this. */
  readonly cardSpeed?: Rate | undefined;
  /** Networks behind the box, where it is a router; none within another. */
  readonly lan: readonly Prefix[];
  /** An address of the box on the link, for the examples. */
  readonly address?: Address | undefined;
  /** Where somebody logs in. */
  readonly adminPorts: readonly number[];
  /** Where a torrent client listens: at most {@link MAX_SEED_PORTS}, none twice. */
  readonly seedPorts: readonly PortRange[];
  /** What else listens. */
  readonly others: readonly {
    readonly protocol: 'tcp' | 'udp';
    readonly port: number;
    readonly process?: string | undefined;
  }[];
}

/** Others that are listed before they are only counted. */
const MAX_OTHERS = 12;

/** A policy for the box, commented for a reader who has never seen one. It has no findings, whatever the plan. */
export function writePolicy(plan: BoxPlan): string {
  const router = plan.lan.length > 0;
  return [
    ...introduction(router),
    ...link(plan),
    '',
    '# Queues, the most urgent first. `share` is what a queue is sure of, `ceiling` what it may take while the others leave',
    '# room: without one, everything.',
    `queue local { share ${router ? 50 : 70}% }`,
    'queue new { share 10% ceiling 50% }',
    ...(router ? ['queue box { share 20% }'] : []),
    'queue remote { share 5% }',
    ...(plan.seedPorts.length > 0 ? ['queue seed { share 1% leaf sfq }'] : []),
    ...admin(plan),
    ...seed(plan),
    ...lan(plan),
    ...others(plan),
    '',
    '# Where everything else goes, by who opened the connection: this side, the other side, or not known yet.',
    `default local -> ${router ? 'box' : 'local'} remote -> remote new -> new`,
    '',
    '# What must come out; headgate check holds the policy to it. The end that opened the connection stands first.',
    ...expectations(plan),
    '',
  ].join('\n');
}

const introduction = (router: boolean): string[] => [
  '# What I asked for comes first; what strangers ask of me takes what is left.',
  '#',
  `# Written by headgate init for this box, ${router ? 'a router' : 'a host by itself'}, as it was then. It is yours: change it, and`,
  '# have it checked with headgate check. A "#" begins a comment; docs/language.md describes the language.',
  '',
];

function link({ device, otherUplinks, download, upload, cardSpeed }: BoxPlan): string[] {
  const missing = [...(download === undefined ? ['download'] : []), ...(upload === undefined ? ['upload'] : [])];
  return [
    device === undefined
      ? '# The link to the internet. There is no default route here that would tell its device: give --device to headgate up.'
      : '# The link to the internet.',
    ...(otherUplinks.length > 0
      ? [
          `# Other default routes lead to ${otherUplinks.map(plain).join(', ')}; a link block for each would shape them, too.`,
        ]
      : []),
    '#',
    '# Rates a little below what the line really carries, so that packets queue here, where they can be sorted, and not at',
    '# the provider, where they cannot: about 95% of what a speed test shows.',
    ...(cardSpeed === undefined
      ? []
      : [
          `# What nobody said is 95% of the speed of the card, ${formatRate(cardSpeed)}. The line behind it may well be slower: then correct it.`,
        ]),
    ...(missing.length > 0
      ? [
          `# Not known here, and so left out: ${missing.join(' and ')}. Without a rate a direction is not shaped. Write for example:`,
          `#   ${missing.map((word) => `${word} ${word === 'download' ? '95mbit' : '19mbit'}`).join('  ')}`,
        ]
      : []),
    [
      'link wan {',
      ...(device === undefined ? [] : [`device ${quote(device)}`]),
      ...(download === undefined ? [] : [`download ${exactRate(download)}`]),
      ...(upload === undefined ? [] : [`upload ${exactRate(upload)}`]),
      '}',
    ].join(' '),
  ];
}

function lan({ lan: prefixes }: BoxPlan): string[] {
  if (prefixes.length === 0) return [];
  return [
    '',
    '# The networks behind this router. What their hosts ask for goes before what the router does for itself, such as',
    '# upgrades and backups. Name lookups and the clock are small, and everybody waits for them.',
    `set lan = { ${prefixes.map(formatPrefix).join(', ')} }`,
    'rule lookups when origin local and udp and remote.port in { 53, 123 } -> local',
    'rule household when origin local and local in lan -> local',
  ];
}

function admin({ adminPorts }: BoxPlan): string[] {
  if (adminPorts.length === 0) return [];
  return [
    '',
    '# Where I log in from outside, however busy it is.',
    `rule login when origin remote and tcp and local.port ${list(adminPorts.map(String))} -> local`,
  ];
}

function seed({ seedPorts }: BoxPlan): string[] {
  if (seedPorts.length === 0) return [];
  return [
    '',
    '# A torrent client listens on these. It may fall to almost nothing, and have everything while nobody else wants it.',
    '# uTP sends from the same port, so that both ways are known by it, whoever opened the connection.',
    `set torrent-ports = { ${seedPorts.map(formatRange).join(', ')} }`,
    'rule torrent when (tcp or udp) and local.port in torrent-ports -> seed',
  ];
}

function others({ others: sockets }: BoxPlan): string[] {
  if (sockets.length === 0) return [];
  const first = sockets[0]!;
  const named = sockets
    .slice(0, MAX_OTHERS)
    .map(
      ({ protocol, port, process }) => `#   ${protocol} ${port}${process === undefined ? '' : ` (${plain(process)})`}`,
    );
  return [
    '',
    '# Something listens here, too. What strangers ask of it goes to `remote`, like everything that they ask for:',
    ...named,
    ...(sockets.length > MAX_OTHERS ? [`#   and ${sockets.length - MAX_OTHERS} more`] : []),
    '# To serve one of them as quick as my own connections:',
    `#   rule served when origin remote and ${first.protocol} and local.port ${first.port} -> local`,
  ];
}

function expectations({ lan: prefixes, address, adminPorts, seedPorts }: BoxPlan): string[] {
  const own = address ?? DOCUMENTATION;
  const asker = prefixes[0] ? hostIn(prefixes[0]) : own;
  const stranger = own.length === 4 ? '198.51.100.7' : '2001:db8::7';
  const asked = asker.length === 4 ? '1.1.1.1' : '2606:4700::1111';
  const taken = (port: number) => adminPorts.includes(port) || seedPorts.some((r) => r.first <= port && port <= r.last);
  const free = (from: number): number => (taken(from) ? free(from + 1) : from);
  const expect = (...words: string[]) => ['expect', ...words].join(' ');
  const visit = (protocol: string, port: number) =>
    `${protocol} ${end(stranger, 50000)} -> ${end(own, port)} origin remote`;
  return [
    expect('tcp', end(asker, free(40000)), '->', end(asked, 443), 'origin local in local'),
    ...adminPorts.slice(0, 1).map((port) => expect(visit('tcp', port), 'in local')),
    ...seedPorts.slice(0, 1).map(({ first }) => expect(visit('udp', first), 'in seed')),
    expect(visit('tcp', free(9)), 'in remote'),
  ];
}

function end(host: Address | string, port: number): string {
  const text = typeof host === 'string' ? host : formatAddress(host);
  return text.includes(':') ? `[${text}]:${port}` : `${text}:${port}`;
}

/** RFC 5737. */
const DOCUMENTATION: Address = Uint8Array.of(192, 0, 2, 1);

/** Some address of the prefix that a host may have. */
function hostIn({ address, length }: Prefix): Address {
  const host = Uint8Array.from(address);
  if (length <= host.length * 8 - 2) host[host.length - 1]! |= 2;
  return host;
}

/** A name with a digit in it is no word of the language. */
const quote = (device: string): string => (/^[a-z]+\d[a-z0-9]*$/.test(device) ? device : `"${device}"`);

/** As the language reads it, to the bit. */
function exactRate(rate: Rate): string {
  for (const [unit, size] of [
    ['gbit', 1e9],
    ['mbit', 1e6],
    ['kbit', 1e3],
  ] as const)
    if (rate >= size && Number.isInteger((rate / size) * 1000)) return `${rate / size}${unit}`;
  return `${rate}bit`;
}

const formatRange = ({ first, last }: PortRange): string => (first === last ? `${first}` : `${first}-${last}`);
const list = (items: readonly string[]): string => (items.length === 1 ? items[0]! : `in { ${items.join(', ')} }`);
/** A name from outside, fit for a comment. */
const plain = (text: string): string => text.replace(/[^ -~]/g, '?');
