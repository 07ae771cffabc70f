import type { Datapath } from './datapath.ts';
import type { LinkShape } from './link.ts';
import { DOWNLOAD_MAJOR, formatHandle, UPLOAD_MAJOR } from './names.ts';
import type { Operation } from './operation.ts';
import { batch } from './tc-batch.ts';
import type { Tree, TreeClass } from './tree.ts';
import { classCommand, leafCommands, linkCommand } from './tree-commands.ts';

/** The `tc` commands that make one tree into another without taking it down: the second list when nothing is sent to the old classes any more. */
export interface TreeChange {
  readonly before: readonly (readonly string[])[];
  readonly after: readonly (readonly string[])[];
}

/**
 * Why the links cannot become the others in place, as the end of a sentence; undefined where they can. A class can be
 * added, changed and removed under traffic; a root qdisc, and which device leads where, cannot.
 */
export function whyNotInPlace(from: readonly LinkShape[], to: readonly LinkShape[]): string | undefined {
  for (const { link } of to) if (!from.some((old) => old.link === link)) return `link ${link} is new`;
  for (const old of from) {
    const next = to.find(({ link }) => link === old.link);
    if (!next) return `link ${old.link} is gone`;
    if (next.device !== old.device) return `link ${old.link} has another device`;
    if (next.shares !== old.shares) return `link ${old.link} shares another tree`;
    if (next.numtxqueues !== old.numtxqueues) return `link ${old.link} has another number of transmit queues`;
    const [a, b] = [old.ifbs.length > 0, next.ifbs.length > 0];
    if (a !== b) return `link ${old.link} ${b ? 'gets a' : 'loses its'} download rate`;
    if (!isEqual(namesOf(old), namesOf(next))) return `link ${old.link} has ${namesOf(next).join(', ')} for its ifbs`;
    if ((old.upload === undefined) !== (next.upload === undefined))
      return `link ${old.link} ${next.upload ? 'gets an' : 'loses its'} upload rate`;
    for (const [was, tree] of treesOf(old, next)) {
      const why = whyNotTree(was, tree);
      if (why !== undefined) return `link ${old.link} has another ${why}`;
    }
  }
  return undefined;
}

const namesOf = ({ ifbs }: LinkShape): string[] => ifbs.map(({ name }) => name);

/** The trees that become others, with the devices that they are on. */
function treesOf(from: LinkShape, to: LinkShape): [was: Tree, is: Tree, device: string, major: number][] {
  const own = from.shares === undefined ? from.ifbs : [];
  return [
    ...own.map(({ name, tree }, i): [Tree, Tree, string, number] => [tree, to.ifbs[i]!.tree, name, DOWNLOAD_MAJOR]),
    ...(from.upload && to.upload
      ? [[from.upload, to.upload, to.device, UPLOAD_MAJOR] satisfies [Tree, Tree, string, number]]
      : []),
  ];
}

function whyNotTree(from: Tree, to: Tree): string | undefined {
  if (from.kind !== to.kind) return 'tree';
  // The root of a prio tree is a shaper, and bands are not classes that come and go.
  if (from.kind !== 'htb') return isEqual(from, to) ? undefined : `${from.kind} tree`;
  return isEqual(from.overhead, to.overhead) ? undefined : 'overhead';
}

/**
 * Of two trees that {@link whyNotInPlace} lets pass. What is equal is not touched. A class that gets another parent, or a
 * leaf that gets another kind, is removed and added again: what waits in it is lost, and nothing else.
 */
export function changeTree(device: string, major: number, from: Tree, to: Tree): TreeChange {
  if (to.kind !== 'htb') return { before: [], after: [] };
  const old = new Map(from.classes.map((c) => [c.minor, c]));
  const next = new Map(to.classes.map((c) => [c.minor, c]));
  const moved = new Set<number>();
  for (const { minor, parent } of from.classes)
    if (next.has(minor) && (next.get(minor)!.parent !== parent || moved.has(parent))) moved.add(minor);

  const del = ({ minor }: TreeClass) => ['class', 'del', 'dev', device, 'classid', formatHandle(major, minor)];
  const delLeaf = ({ minor }: TreeClass) => ['qdisc', 'del', 'dev', device, 'parent', formatHandle(major, minor)];
  const otherLeaf = (c: TreeClass) =>
    next.has(c.minor) && !moved.has(c.minor) && c.leaf && next.get(c.minor)!.leaf?.kind !== c.leaf.kind;
  // A parent stands before its children: from the end, they go first.
  const backwards = [...from.classes].reverse();
  return {
    before: [
      ...backwards.filter(({ minor }) => moved.has(minor)).map(del),
      ...from.classes.filter(otherLeaf).map(delLeaf),
      ...(from.rate === to.rate ? [] : [linkCommand(device, major, to, 'replace')]),
      ...to.classes.flatMap((c) => {
        const was = moved.has(c.minor) ? undefined : old.get(c.minor);
        return [
          ...(was && isEqual(numbersOf(was), numbersOf(c)) ? [] : [classCommand(device, major, to, c, 'replace')]),
          ...(was && isEqual(was.leaf, c.leaf) ? [] : leafCommands(device, major, c, 'replace')),
        ];
      }),
    ],
    after: backwards.filter(({ minor }) => !next.has(minor)).map(del),
  };
}

/** What a change of one link does before and after the flows' marks are those of the new policy. Undoing is the change back. */
export interface LinkChange {
  readonly before: readonly Operation[];
  readonly after: readonly Operation[];
}

/**
 * The operations that change a link in place, between two shapes that {@link whyNotInPlace} lets pass: its classes, then
 * the classifiers, each replaced in one step. What arrives is left alone unless it is `redirected` now.
 */
export function changeLink(
  from: LinkShape,
  to: LinkShape,
  was: Datapath,
  datapath: Datapath,
  redirected: boolean,
): LinkChange {
  const { device } = to;
  const trees = treesOf(from, to).map(([was, is, on, major]) => treeChange(on, major, was, is));
  return {
    before: [
      ...trees.flatMap(({ before }) => before),
      ...(from.upload && to.upload
        ? replaceFilters(
            was.classifyLeaving(device, from.upload),
            datapath.classifyLeaving(device, to.upload),
            datapath,
          )
        : []),
      ...(redirected && to.ifbs.length > 0
        ? replaceFilters(was.redirect(device, from.ifbs), datapath.redirect(device, to.ifbs), datapath)
        : []),
    ],
    after: trees.flatMap(({ after }) => after),
  };
}

/** The next one's are in force before those of the one before go: no packet passes between them. */
function replaceFilters(
  was: Operation | undefined,
  next: Operation | undefined,
  { inPlace }: Pick<Datapath, 'inPlace'>,
): Operation[] {
  if (!was || !next) return [];
  if (inPlace || !was.undo) return [{ ...next, of: 'filters', undo: was.command }];
  return [
    { ...next, of: 'filters' },
    { about: `${was.about} no more as before`, of: 'filters', command: was.undo, undo: was.command },
  ];
}

function treeChange(device: string, major: number, from: Tree, to: Tree): LinkChange {
  const there = changeTree(device, major, from, to);
  const back = changeTree(device, major, to, from);
  const operation = (
    about: string,
    lost: string,
    commands: TreeChange['before'],
    undo: TreeChange['before'],
  ): Operation[] =>
    commands.length === 0
      ? []
      : // Of a change that stopped half-way some of what is to be undone was not done.
        [
          {
            about,
            touches: commands.some(([, verb]) => verb === 'del') ? lost : undefined,
            command: batch('tc', commands),
            undo: batch('tc', undo, 'go on'),
          },
        ];
  return {
    before: operation(
      `change the tree on ${device}`,
      'what waits in queues that get another leaf, or go into another, is lost',
      there.before,
      [...back.before, ...back.after],
    ),
    after: operation(`remove classes on ${device}`, 'what waits in them is lost', there.after, back.before),
  };
}

const numbersOf = (c: TreeClass) => ({ ...c, queue: undefined, leaf: undefined });
const isEqual = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
