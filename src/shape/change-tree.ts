import { formatHandle } from './names.ts';
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

/** The `tc` commands that make one tree into another without taking it down: the second list when nothing is sent to the old classes any more. */
export interface TreeChange {
  readonly before: readonly (readonly string[])[];
  readonly after: readonly (readonly string[])[];
  /** Minors of the classes that the second list removes. */
  readonly gone: readonly number[];
  /** Packets that wait in queues which get another parent or another kind of leaf are lost. */
  readonly loses: boolean;
}

/**
 * How a tree becomes another one under its root; undefined where it needs another root. What is equal is not touched. A
 * class that gets another parent, or a leaf that gets another kind, is removed and added again.
 */
export function changeTree(device: string, major: number, from: Tree, to: Tree): TreeChange | undefined {
  if (from.kind !== to.kind) return undefined;
  if (isEqual(from, to)) return { before: [], after: [], gone: [], loses: false };
  if (to.kind === 'htb') return changeHtb(device, major, from, to);
  return to.kind === 'prio' ? changePrio(device, major, from, to) : changeCake(device, major, from, to);
}

function changeHtb(device: string, major: number, from: Tree, to: Tree): TreeChange {
  const old = new Map(from.classes.map((c) => [c.minor, c]));
  const next = new Map(to.classes.map((c) => [c.minor, c]));
  const moved = new Set<number>();
  for (const { minor, parent } of from.classes)
    if (next.has(minor) && (next.get(minor)!.parent !== parent || moved.has(parent))) moved.add(minor);
  const del = ({ minor }: TreeClass) => delClassCommand(device, major, minor);
  const otherLeaf = from.classes.filter((c) => next.has(c.minor) && !moved.has(c.minor) && hasOtherLeaf(c, next));
  const backwards = [...from.classes].reverse();
  const gone = backwards.filter(({ minor }) => !next.has(minor));
  const otherLine = !isEqual(from.overhead, to.overhead);
  return {
    before: [
      ...(otherLine ? [rootCommand(device, major, to, 'change')] : []),
      ...backwards.filter(({ minor }) => moved.has(minor)).map(del),
      ...otherLeaf.map((c) => delLeaf(device, major, c)),
      ...(from.rate === to.rate && !otherLine ? [] : [linkCommand(device, major, to, 'replace')]),
      ...to.classes.flatMap((c) => {
        const was = moved.has(c.minor) ? undefined : old.get(c.minor);
        return [
          ...(was && !otherLine && isEqual(numbersOf(was), numbersOf(c))
            ? []
            : [classCommand(device, major, to, c, 'replace')]),
          ...(was && isEqual(was.leaf, c.leaf) ? [] : leafCommands(device, major, c, 'replace')),
        ];
      }),
    ],
    after: gone.map(del),
    gone: gone.map(({ minor }) => minor),
    loses: moved.size > 0 || otherLeaf.length > 0,
  };
}

/** Bands that are not wanted any more go with what waits in them (prio_tune(), net/sched/sch_prio.c). */
function changePrio(device: string, major: number, from: Tree, to: Tree): TreeChange {
  const old = new Map(from.classes.map((c) => [c.minor, c]));
  const next = new Map(to.classes.map((c) => [c.minor, c]));
  const otherLeaf = from.classes.filter((c) => next.has(c.minor) && hasOtherLeaf(c, next));
  const [bands, wanted] = [bandsOf(from), bandsOf(to)];
  return {
    before: [
      ...(from.rate === to.rate && isEqual(from.overhead, to.overhead)
        ? []
        : [rootCommand(device, major, to, 'change')]),
      ...(wanted > bands ? [bandsCommand(device, major, wanted, 'change')] : []),
      ...otherLeaf.map((c) => delLeaf(device, major, c)),
      ...to.classes.flatMap((c) =>
        isEqual(old.get(c.minor)?.leaf, c.leaf) ? [] : leafCommands(device, major, c, 'replace'),
      ),
    ],
    after: wanted < bands ? [bandsCommand(device, major, wanted, 'change')] : [],
    gone: from.classes.flatMap(({ minor }) => (next.has(minor) ? [] : [minor])),
    loses: otherLeaf.length > 0,
  };
}

/** It changes what it is told, and keeps what it is not told. */
function changeCake(device: string, major: number, from: Tree, to: Tree): TreeChange | undefined {
  if (!isEqual(from.overhead, to.overhead) || !isEqual(from.cake, to.cake)) return undefined;
  const before = from.rate === to.rate ? [] : [rootCommand(device, major, to, 'change')];
  return { before, after: [], gone: [], loses: false };
}

const delLeaf = (device: string, major: number, { minor }: TreeClass): string[] => [
  ...['qdisc', 'del', 'dev', device, 'parent', formatHandle(major, minor)],
];

const hasOtherLeaf = ({ minor, leaf }: TreeClass, next: ReadonlyMap<number, TreeClass>): boolean =>
  leaf !== undefined && next.get(minor)?.leaf?.kind !== leaf.kind;

const numbersOf = (c: TreeClass) => ({ ...c, queue: undefined, leaf: undefined });
export const isEqual = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
