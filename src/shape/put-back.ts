import { formatHandle, LEAF_MAJOR, LINK_MINOR } from './names.ts';
import type { Detail, Operation, TreePlace } from './operation.ts';
import { batch } from './tc-batch.ts';
import type { Tree, TreeClass } from './tree.ts';
import {
  bandsCommand,
  bandsOf,
  classCommand,
  delClassCommand,
  leafCommands,
  linkCommand,
  rootCommand,
} from './tree-commands.ts';

/** What of a tree that is there is not as it was made: somebody has changed it, or taken it away. */
export interface ChangedTree {
  readonly place: TreePlace;
  /** Of the root: what it counts for a packet, and of tbf and cake the rate. */
  readonly root: boolean;
  /** The bands of a prio. */
  readonly bands: boolean;
  /** By their minors, that of the whole link's among them. */
  readonly classes: ReadonlySet<number>;
  /** Classes of those that stand below another one than they should. */
  readonly moved: ReadonlySet<number>;
  /** Minors of the classes whose leaf has other numbers, or is another one altogether. */
  readonly leaves: ReadonlyMap<number, 'numbers' | 'another'>;
  /** From what it is to what it was made as. */
  readonly details: readonly Detail[];
}

/**
 * Makes a tree what it was made as, in place. There is no way back: what was there before was not ours. Where a leaf has
 * become another one, or one that keeps what it is not told, what waits in it is lost.
 */
export function putBackTree({ place, root, bands, classes, moved, leaves, details }: ChangedTree): Operation {
  const { device, major, tree } = place;
  const loses = moved.size > 0 || tree.classes.some((c) => leaves.has(c.minor) && isMadeAnew(c, leaves));
  const commands = [
    ...(root ? [rootCommand(device, major, tree, 'change')] : []),
    ...(bands ? [bandsCommand(device, major, bandsOf(tree), 'change')] : []),
    ...[...tree.classes]
      .reverse()
      .filter(({ minor }) => moved.has(minor))
      .map(({ minor }) => delClassCommand(device, major, minor)),
    ...(classes.has(LINK_MINOR) ? [linkCommand(device, major, tree, 'replace')] : []),
    ...tree.classes.flatMap((c) => [
      ...(classes.has(c.minor) ? [classCommand(device, major, tree, c, 'replace')] : []),
      ...(leaves.has(c.minor) && isMadeAnew(c, leaves) ? [otherLeaf(place, c)] : []),
      ...(leaves.has(c.minor) || moved.has(c.minor) ? leafCommands(device, major, c, 'replace') : []),
    ]),
  ];
  return {
    about: `put back what somebody has changed of the tree on ${device}`,
    does: 'change',
    touches: loses ? 'what waits in queues that had become others is lost' : undefined,
    command: batch('tc', commands),
    tree: place,
    details,
  };
}

/** HTB's root takes a change of its size table alone, which it has where the line takes bytes away. */
export const canChangeRoot = (tree: Tree): boolean => tree.kind !== 'htb' || (tree.overhead?.bytes ?? 0) < 0;

/** The others change what they are told, and keep the rest. */
const isMadeAnew = ({ minor, leaf }: TreeClass, leaves: ChangedTree['leaves']): boolean =>
  leaves.get(minor) === 'another' || (leaf?.kind !== 'bfifo' && leaf?.kind !== 'tbf');

/** One qdisc takes another's place only under another handle (tc_modify_qdisc(), net/sched/sch_api.c). */
const otherLeaf = ({ device, major }: TreePlace, { minor }: TreeClass): string[] => [
  ...['qdisc', 'replace', 'dev', device, 'parent', formatHandle(major, minor)],
  ...['handle', formatHandle(LEAF_MAJOR), 'pfifo'],
];
