import type { Overhead } from '../language/index.ts';
import { formatHandle, LEAF_MAJOR, LINK_MINOR, shaperMajor } from './names.ts';
import { burstOf, type CakeFairness, GSO_BYTES, type LeafQdisc, type Tree, type TreeClass } from './tree.ts';

/** Handle of a tree's root qdisc, by which it is removed. */
export const rootMajor = (tree: Tree, major: number): number => (tree.kind === 'prio' ? shaperMajor(major) : major);

/**
 * The arguments of the `tc` commands that build the tree on a device, in order. Its classes have `major`: skb->priority
 * of `major:N`, or a filter that says so, chooses the class of queue N.
 *
 * What the classifier leaves alone (ARP, neighbour discovery, DHCP) has no class and goes first: with HTB past the
 * queues at once (`default 0`, htb(8): direct), with prio in the first band. So does everything when the classifier fails.
 * Cake takes the tin that the code point says: ARP's is the most urgent.
 */
export function treeCommands(device: string, major: number, tree: Tree): string[][] {
  const root = rootCommand(device, major, tree, 'add');
  if (tree.kind === 'cake') return [root];
  const leavesOf = (c: TreeClass) => leafCommands(device, major, c, 'add');
  if (tree.kind === 'prio')
    return [root, bandsCommand(device, major, bandsOf(tree), 'add'), ...tree.classes.flatMap(leavesOf)];
  return [
    root,
    linkCommand(device, major, tree, 'add'),
    ...tree.classes.flatMap((c) => [classCommand(device, major, tree, c, 'add'), ...leavesOf(c)]),
  ];
}

/**
 * The root qdisc of a tree. With `change` the one that is there, which must be of the same kind, keeps all that waits in
 * it; of HTB that is the size table alone, since it knows no other change.
 */
export function rootCommand(device: string, major: number, tree: Tree, verb: 'add' | 'change'): string[] {
  const place = ['qdisc', verb, 'dev', device, 'root', 'handle', formatHandle(rootMajor(tree, major))];
  if (tree.kind === 'cake') return [...place, ...cakeArguments(tree)];
  const root = [...place, ...stabArguments(tree)];
  if (tree.kind === 'htb') return verb === 'add' ? [...root, 'htb', 'default', '0'] : root;
  // Its bucket must hold the largest packet.
  const bucket = Math.max(burstOf(tree.rate), GSO_BYTES);
  const shaper = ['tbf', 'rate', `${tree.rate}bit`, 'burst', `${bucket}b`, 'limit', `${SHAPER_LIMIT}b`];
  return [...root, ...shaper, ...lineArguments(tree)];
}

/** The bands of a prio tree, below its shaper. */
export const bandsCommand = (device: string, major: number, bands: number, verb: 'add' | 'change'): string[] => [
  ...['qdisc', verb, 'dev', device, 'parent', formatHandle(shaperMajor(major), 1), 'handle', formatHandle(major)],
  ...['prio', 'bands', `${bands}`, 'priomap', ...FIRST_BAND],
];

export const bandsOf = ({ classes }: Tree): number => Math.max(MIN_BANDS, ...classes.map(({ minor }) => minor));

/** With `replace` a class that is there is changed in place. */
type Verb = 'add' | 'replace';

/** The class of an HTB tree that holds all others, with the link's whole rate. */
export function linkCommand(device: string, major: number, tree: Tree, verb: Verb): string[] {
  const { rate } = tree;
  const burst = burstOf(rate);
  const whole = { parent: 0, minor: LINK_MINOR, rate, ceil: rate, burst, cburst: burst, quantum: 60_000, prio: 0 };
  return classCommand(device, major, tree, whole, verb);
}

export function classCommand(
  device: string,
  major: number,
  tree: Tree,
  c: Omit<TreeClass, 'queue' | 'leaf'>,
  verb: Verb,
): string[] {
  return [
    ...['class', verb, 'dev', device],
    ...['parent', formatHandle(major, c.parent), 'classid', formatHandle(major, c.minor)],
    ...['htb', 'rate', `${c.rate}bit`, 'ceil', `${c.ceil}bit`, 'burst', `${c.burst}b`, 'cburst', `${c.cburst}b`],
    ...['quantum', `${c.quantum}`, 'prio', `${c.prio}`, ...lineArguments(tree)],
  ];
}

/** To be given from the tree's end: a parent stands before its children, and they have to go first. */
export const delClassCommand = (device: string, major: number, minor: number): string[] => [
  ...['class', 'del', 'dev', device, 'classid', formatHandle(major, minor)],
];

/** None for a class that holds others. */
export function leafCommands(device: string, major: number, { minor, leaf }: TreeClass, verb: Verb): string[][] {
  if (!leaf) return [];
  const place = ['parent', formatHandle(major, minor), 'handle', formatHandle(LEAF_MAJOR + minor)];
  return [['qdisc', verb, 'dev', device, ...place, ...leafArguments(leaf)]];
}

/** Bytes that may wait in a TBF above leaves that drop by themselves: more than they ever hold. */
const SHAPER_LIMIT = 256_000_000;
/** Of tc-prio(8). */
const MIN_BANDS = 2;
/** Where prio puts each of the sixteen priorities that a packet without class may have. */
const FIRST_BAND = new Array<string>(16).fill('0');

/**
 * What the line adds, said to each shaper (htb(8), tc-tbf(8)). It counts a GSO packet with all its headers, where a stab
 * of the root sees one: 4 % too little (docs/decisions/0009). But only a stab can take bytes away.
 */
function lineArguments({ overhead }: Pick<Tree, 'overhead'>): string[] {
  if (!overhead || overhead.bytes < 0) return [];
  return ['overhead', `${overhead.bytes}`, 'mpu', `${overhead.mpu}`, 'linklayer', linkLayer(overhead.linkLayer)];
}

function stabArguments({ overhead }: Tree): string[] {
  if (!overhead || overhead.bytes >= 0) return [];
  return [
    'stab',
    'overhead',
    `${overhead.bytes}`,
    'mpu',
    `${overhead.mpu}`,
    'linklayer',
    linkLayer(overhead.linkLayer),
  ];
}

/** PTM's part is in the tree's rate already. */
const linkLayer = (layer: 'ethernet' | 'atm' | 'ptm'): string => (layer === 'atm' ? 'atm' : 'ethernet');

/** Kind and options of a leaf, as its command has them. */
export function leafArguments(leaf: LeafQdisc): string[] {
  switch (leaf.kind) {
    case 'bfifo':
      return ['bfifo', 'limit', `${leaf.limit}`];
    case 'tbf':
      return [
        ...['tbf', 'rate', `${leaf.rate}bit`, 'burst', `${leaf.burst}b`, 'limit', `${leaf.limit}b`],
        ...lineArguments(leaf),
      ];
    case 'sfq':
      // A new hash every ten seconds, so that two flows that collide do not share for ever (sfq(8)).
      return ['sfq', 'perturb', '10'];
    case 'cake':
      // Not its own shaper, nor its own priorities: what HTB above it gives, evenly among flows, or hosts first.
      return ['cake', 'unlimited', 'besteffort', ...fairArguments(leaf.fair)];
    case 'fq_codel':
      return ['fq_codel'];
  }
}

/** tc-cake(8), FLOW ISOLATION PARAMETERS. */
const FAIRNESS = {
  receivers: ['dual-dsthost', 'nat'],
  senders: ['dual-srchost', 'nat'],
  flows: ['flows'],
} as const satisfies Record<CakeFairness, readonly string[]>;

const fairArguments = (fair: CakeFairness | undefined): readonly string[] => (fair ? FAIRNESS[fair] : []);

function cakeArguments({ rate, cake, overhead }: Tree): string[] {
  const { mode, fair } = cake!;
  return ['cake', 'bandwidth', `${rate}bit`, mode, ...fairArguments(fair), ...(overhead ? cells(overhead) : [])];
}

/** `raw`: counted from what the kernel counts, as a number is; cake would leave the device's header out. */
const cells = ({ preset, bytes, mpu, linkLayer }: Overhead): string[] => [
  ...(preset === undefined ? ['raw'] : []),
  ...['overhead', `${bytes}`, 'mpu', `${mpu}`, CELLS[linkLayer]],
];

const CELLS = { ethernet: 'noatm', atm: 'atm', ptm: 'ptm' } as const;
