import { changeTree, isEqual } from './change-tree.ts';
import type { Datapath } from './datapath.ts';
import {
  addClsact,
  HOOK_LOSS,
  ifbOperations,
  type LinkShape,
  ROOT_LOSS,
  removeClsact,
  removeIfb,
  removeUpload,
  STEERED,
  setAlias,
  setUp,
  UNSHAPED,
  uploadOperations,
} from './link.ts';
import { DOWNLOAD_MAJOR, formatAlias, handle, hooksOf, type Ownership, UPLOAD_MAJOR } from './names.ts';
import type { Operation, TreePlace } from './operation.ts';
import { replaceFilters } from './replace-filters.ts';
import { batch } from './tc-batch.ts';
import { rootMajor, treeCommands } from './tree-commands.ts';
import { describeGone, describeTreeChange } from './tree-details.ts';

/** Links with what they are to become, and how packets find their class there. */
export interface Links {
  readonly shapes: readonly LinkShape[];
  readonly datapath: Datapath;
}

/** What is there of the links, by the names of their devices. */
export interface Standing {
  /** Devices of links that are not there now: when they come back, they are built in the new shape. */
  readonly absent: ReadonlySet<string>;
  /** Our ifbs, with what their aliases say. */
  readonly ifbs: ReadonlyMap<string, Ownership>;
  /** Devices with a clsact or ingress qdisc. */
  readonly hooks: ReadonlySet<string>;
  /** Those whose clsact we added, and where nobody else has put filters since. */
  readonly bareHooks: ReadonlySet<string>;
  /** What arrives there is redirected by us. */
  readonly redirected: ReadonlySet<string>;
}

/** What a change does before and after the flows' marks are those of the new policy. What is undone is the first part. */
export interface LinkChange {
  readonly before: readonly Operation[];
  readonly after: readonly Operation[];
}

/**
 * The operations that make links of one policy into those of another, their ifbs named by nameBeside(). A device is what
 * stays: a link with another device is one that goes, and one that comes.
 *
 * An ifb that has another name is made beside the one in force, complete and up, before what arrives is sent there in one
 * step; the one before goes when it has run empty. What changes in place is not touched where it is equal.
 */
export function changeLinks(from: Links, to: Links, there: Standing): LinkChange {
  const isPresent = ({ device }: LinkShape) => !there.absent.has(device);
  const [old, next] = [from.shapes.filter(isPresent), to.shapes.filter(isPresent)];
  const oldOf = ({ device }: LinkShape) => old.find((shape) => shape.device === device);
  const nextOf = ({ device }: LinkShape) => next.find((shape) => shape.device === device);
  const parts: LinkChange[] = [
    ...to.shapes.filter(({ shares }) => shares === undefined).map((owner) => changeIfbs(from, to, there, owner)),
    ...next.map((shape) => changeUpload(oldOf(shape), shape, from.datapath, to.datapath)),
  ];
  const kept = new Set(to.shapes.flatMap(({ ifbs }) => ifbs.map(({ name }) => name)));
  const left = old.filter((shape) => shape.ifbs.length > 0 && !nextOf(shape)?.ifbs.length);
  return {
    before: [
      ...parts.flatMap(({ before }) => before),
      ...next
        .filter(({ device, ifbs }) => ifbs.length > 0 && to.datapath.hook && !there.hooks.has(device))
        .map(({ device }): Operation => ({ ...addClsact(device), does: 'add' })),
      ...next.flatMap((shape) => redirect(from, to, there, oldOf(shape), shape)),
      ...left.filter(({ device }) => there.redirected.has(device)).map((shape) => stopRedirect(from.datapath, shape)),
    ],
    after: [
      ...parts.flatMap(({ after }) => after),
      ...old
        .filter((shape) => shape.upload && !nextOf(shape)?.upload)
        .map(
          ({ device, upload }): Operation => ({
            about: `remove the tree on ${device}`,
            does: 'remove',
            touches: ROOT_LOSS,
            command: removeUpload(device, rootMajor(upload!, UPLOAD_MAJOR)),
          }),
        ),
      ...left
        .filter(({ device }) => there.bareHooks.has(device))
        .map(
          ({ device }): Operation => ({
            about: `remove clsact from ${device}`,
            does: 'remove',
            touches: HOOK_LOSS,
            command: removeClsact(device),
          }),
        ),
      ...from.shapes
        .filter(({ shares }) => shares === undefined)
        .flatMap(({ ifbs }) => ifbs.map(({ name }) => name))
        .filter((name) => there.ifbs.has(name) && !kept.has(name))
        .map(
          (name): Operation => ({
            about: `remove ifb ${name}`,
            does: 'remove',
            touches: 'what waits in its queues goes out first',
            empties: { device: name },
            command: removeIfb(name),
          }),
        ),
    ],
  };
}

/** Changes the ifbs of a link, or makes them; nothing where nobody who is there leads to them. */
function changeIfbs(from: Links, to: Links, there: Standing, owner: LinkShape): LinkChange {
  const was = from.shapes.find(({ device, shares }) => device === owner.device && shares === undefined);
  const members = to.shapes.filter(({ device, shares }) => device === owner.device || shares === owner.device);
  const isWanted = members.some(({ device }) => !there.absent.has(device));
  const changes = owner.ifbs.map(({ name, tree }): LinkChange => {
    const ownership = there.ifbs.get(name);
    const before = ownership && was?.ifbs.find((ifb) => ifb.name === name);
    const wanted = ownershipOf(owner, members, to.datapath, there, before && ownership);
    if (before) {
      const trees = changeInPlace({ device: name, major: DOWNLOAD_MAJOR, tree }, before.tree);
      const aliases = rename(name, ownership, wanted);
      return { before: [...trees.before, ...aliases.before], after: [...trees.after, ...aliases.after] };
    }
    if (!isWanted) return { before: [], after: [] };
    const rest: Operation[] = ownership
      ? [{ about: `remove ifb ${name}, which nothing leads to`, does: 'remove', command: removeIfb(name) }]
      : [];
    const made = ifbOperations({ name, tree }, wanted, owner.numtxqueues);
    return { before: [...rest, ...made.map((o): Operation => ({ ...o, does: 'add' }))], after: [] };
  });
  return { before: changes.flatMap(({ before }) => before), after: changes.flatMap(({ after }) => after) };
}

/** What the alias of a link's ifbs is to say: who leads there, whether now or when its device is back. */
function ownershipOf(
  owner: LinkShape,
  members: readonly LinkShape[],
  { hook }: Datapath,
  there: Standing,
  now: Ownership | undefined,
): Ownership {
  const said = new Map([...there.ifbs.values()].flatMap(hooksOf).map((h) => [h.device, h.clsact] as const));
  const hookOf = ({ device }: { readonly device: string }) => ({
    device,
    clsact: hook && (there.hooks.has(device) ? (said.get(device) ?? false) : true),
  });
  const named = new Set(now ? hooksOf(now).map(({ device }) => device) : []);
  const shared = members.filter(
    ({ device }) => device !== owner.device && (!there.absent.has(device) || named.has(device)),
  );
  return { link: owner.link, ...hookOf(owner), shared: shared.map(hookOf) };
}

/** Devices that lead there no more are named until nothing of ours is left on them. */
function rename(ifb: string, was: Ownership, is: Ownership): LinkChange {
  const kept = new Set(hooksOf(is).map(({ device }) => device));
  const both = { ...is, shared: [...is.shared, ...hooksOf(was).filter(({ device }) => !kept.has(device))] };
  const set = (to: Ownership, undo?: Ownership): Operation[] => [
    {
      about: `say on ${ifb} who leads to it`,
      command: setAlias(ifb, to),
      undo: undo && setAlias(ifb, undo),
    },
  ];
  return {
    before: formatAlias(was) === formatAlias(both) ? [] : set(both, was),
    after: formatAlias(both) === formatAlias(is) ? [] : set(is),
  };
}

/** The upload's root stands on the device itself: another one takes its place, and the kernel drops what leaves meanwhile. */
function changeUpload(
  { upload: from }: Partial<LinkShape> = {},
  { device, upload: to }: LinkShape,
  was: Datapath,
  datapath: Datapath,
): LinkChange {
  if (!to) return { before: [], after: [] };
  const built = uploadOperations(device, to, datapath);
  if (!from) return { before: built.map((o): Operation => ({ ...o, does: 'add' })), after: [] };
  if (changeTree(device, UPLOAD_MAJOR, from, to)) {
    const { before, after } = changeInPlace({ device, major: UPLOAD_MAJOR, tree: to }, from);
    const [old, next] = [was.classifyLeaving(device, from), datapath.classifyLeaving(device, to)];
    return { before: [...before, ...(old && next ? replaceFilters(old, next, datapath) : [])], after };
  }
  const remove = (tree: typeof to) => removeUpload(device, rootMajor(tree, UPLOAD_MAJOR)).argv.slice(1);
  const classify = was.classifyLeaving(device, from);
  return {
    before: [
      {
        about: `put another tree on ${device}`,
        does: 'replace',
        touches: ROOT_LOSS,
        command: batch('tc', [remove(from), ...treeCommands(device, UPLOAD_MAJOR, to)]),
        undo: batch('tc', [remove(to), ...treeCommands(device, UPLOAD_MAJOR, from), ...linesOf(classify)], 'go on'),
        tree: { device, major: UPLOAD_MAJOR, tree: to },
      },
      ...built.slice(1).map((o): Operation => ({ ...o, does: 'add' })),
    ],
    after: [],
  };
}

/** What arrives on a link is sent to its ifbs, from where it goes now in one step; it stays as it is while one of them is down. */
function redirect(
  from: Links,
  to: Links,
  there: Standing,
  old: LinkShape | undefined,
  { device, ifbs }: LinkShape,
): Operation[] {
  const next = { ...to.datapath.redirect(device, ifbs), of: 'filters' } as const;
  const isRedirected = old !== undefined && old.ifbs.length > 0 && there.redirected.has(device);
  const stays = isEqual(
    old?.ifbs.map(({ name }) => name),
    ifbs.map(({ name }) => name),
  );
  const joined = ifbs.filter(({ name }) => there.ifbs.has(name));
  if (ifbs.length === 0 || (stays && !isRedirected && joined.length > 0)) return [];
  if (stays && isRedirected) return replaceFilters(from.datapath.redirect(device, old.ifbs), next, to.datapath);
  const moved: Operation[] = isRedirected
    ? replaceFilters(
        from.datapath.redirect(device, old.ifbs),
        { ...next, does: 'replace', touches: STEERED },
        to.datapath,
      )
    : [{ ...next, does: 'add', touches: STEERED }];
  return [...joined.map(({ name }) => setUp(name)), ...moved];
}

function stopRedirect(was: Datapath, { device, ifbs }: LinkShape): Operation {
  return {
    about: `stop redirecting what arrives on ${device}`,
    of: 'filters',
    does: 'remove',
    touches: UNSHAPED,
    command: was.unredirect(device, { device, ifbs }),
    undo: was.redirect(device, ifbs).command,
  };
}

/** A tree becomes another one under its root, which changeTree() can do. */
function changeInPlace(to: TreePlace, from: TreePlace['tree']): LinkChange {
  const { device, major, tree } = to;
  const there = changeTree(device, major, from, tree)!;
  const back = changeTree(device, major, tree, from)!;
  const classes = there.gone.map((minor) => handle(major, minor));
  const changes: Operation = {
    about: `change the tree on ${device}`,
    touches: there.loses ? 'what waits in queues that get another leaf, or go into another, is lost' : undefined,
    details: describeTreeChange(major, from, tree),
    command: batch('tc', there.before),
    // Of a change that stopped half-way some of what is to be undone was not done.
    undo: batch('tc', [...back.before, ...back.after], 'go on'),
    tree: to,
  };
  const removes: Operation = {
    about: `remove classes on ${device}`,
    does: 'remove',
    touches: 'what waits in them goes out first',
    details: describeGone(major, from, there.gone),
    empties: { device, classes },
    command: batch('tc', there.after),
  };
  return { before: there.before.length > 0 ? [changes] : [], after: there.after.length > 0 ? [removes] : [] };
}

/** The lines of an operation of tc's, for a batch. */
const linesOf = (operation: Operation | undefined): string[][] => {
  if (!operation) return [];
  const { argv, input } = operation.command;
  return input === undefined
    ? [[...argv.slice(1)]]
    : input
        .trimEnd()
        .split('\n')
        .map((line) => line.split(' '));
};
