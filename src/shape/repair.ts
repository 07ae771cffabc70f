import type { Command } from '../model/index.ts';
import { changeTree } from './change-tree.ts';
import type { Datapath } from './datapath.ts';
import {
  addClsact,
  ifbOperations,
  joinOperation,
  type LinkShape,
  type LinkSite,
  makesHook,
  removeUpload,
  uploadOperations,
} from './link.ts';
import { DOWNLOAD_MAJOR, hooksOf, LINK_MINOR, type Ownership, UPLOAD_MAJOR } from './names.ts';
import type { Operation } from './operation.ts';
import { batch } from './tc-batch.ts';
import type { Tree } from './tree.ts';
import { linkCommand, rootMajor, treeCommands } from './tree-commands.ts';

/** What of a tree is there, beside its root. */
export interface HeldTree {
  /** By their minors. */
  readonly classes: ReadonlySet<number>;
  /** Minors of the classes that have their leaf. */
  readonly leaves: ReadonlySet<number>;
}

/** What of a link's part is in the kernel. */
export interface HeldLink {
  /** Its ifbs, with what their aliases say. */
  readonly ifbs: ReadonlyMap<string, Ownership>;
  /** By device, where the root is ours. */
  readonly trees: ReadonlyMap<string, HeldTree>;
  /** The device has a clsact or ingress qdisc. */
  readonly hook: boolean;
  /** All that leads what arrives to the ifbs is there, and leads there. */
  readonly redirected: boolean;
  /** All that classifies what leaves is there. */
  readonly classified: boolean;
}

/** How a link's part becomes whole again. */
export interface Repair {
  /** What is left of what is to be made anew goes first; where nothing is left, it fails. */
  readonly clear: readonly Command[];
  readonly operations: readonly Operation[];
}

/**
 * What makes a link's part whole again where something of it has been taken away: no operation where it is whole. What is
 * there is not touched. The redirect comes last; one that leads to an ifb that has gone is cleared first.
 */
export function repairLink(shape: LinkShape, site: LinkSite, datapath: Datapath, held: HeldLink): Repair {
  const parts = [
    ...(shape.upload ? [repairUpload(shape.device, shape.upload, datapath, held)] : []),
    ...(shape.ifbs.length > 0 ? [repairDownload(shape, site, datapath, held)] : []),
  ];
  return { clear: parts.flatMap(({ clear }) => clear), operations: parts.flatMap(({ operations }) => operations) };
}

function repairUpload(device: string, tree: Tree, datapath: Datapath, held: HeldLink): Repair {
  const there = held.trees.get(device);
  if (!there) return { clear: [], operations: uploadOperations(device, tree, datapath) };
  const classify = held.classified ? undefined : datapath.classifyLeaving(device, tree);
  return {
    clear: classify?.undo ? [classify.undo] : [],
    operations: [...repairTree(device, UPLOAD_MAJOR, tree, there), ...(classify ? [classify] : [])],
  };
}

function repairDownload(shape: LinkShape, site: LinkSite, datapath: Datapath, held: HeldLink): Repair {
  const { link, device, ifbs, shares, numtxqueues } = shape;
  const noHook = datapath.hook && !held.hook;
  const clsact = noHook || makesHook(site, datapath);
  const broken = noHook || !held.redirected || ifbs.some(({ name }) => !held.ifbs.has(name));
  const operations = ifbs.flatMap((ifb): Operation[] => {
    const ownership = held.ifbs.get(ifb.name);
    if (!ownership) return ifbOperations(ifb, { link, device, clsact, shared: [] }, numtxqueues);
    const joined = hooksOf(ownership).some((hook) => hook.device === device && hook.clsact === clsact);
    return [
      ...(joined ? [] : [joinOperation(ifb.name, ownership, shape, clsact)]),
      // Of a shared one the link that it is named after takes care.
      ...(shares === undefined ? repairTree(ifb.name, DOWNLOAD_MAJOR, ifb.tree, held.trees.get(ifb.name)) : []),
    ];
  });
  return {
    clear: broken ? [datapath.unredirect(device, shape)] : [],
    operations: [
      ...operations,
      ...(noHook ? [addClsact(device)] : []),
      ...(broken ? [datapath.redirect(device, ifbs)] : []),
    ],
  };
}

function repairTree(device: string, major: number, tree: Tree, held: HeldTree | undefined): Operation[] {
  const commands = missingOf(device, major, tree, held);
  return commands.length === 0
    ? []
    : [{ about: `put back what is missing of the tree on ${device}`, command: batch('tc', commands) }];
}

function missingOf(device: string, major: number, tree: Tree, held: HeldTree | undefined): (readonly string[])[] {
  if (!held) return treeCommands(device, major, tree);
  const { classes, leaves } = held;
  const whole = tree.classes.every(({ minor, leaf }) => classes.has(minor) && (!leaf || leaves.has(minor)));
  if (tree.kind === 'cake' || (whole && (tree.kind === 'prio' || classes.has(LINK_MINOR)))) return [];
  // Bands are not classes that come and go.
  if (tree.kind === 'prio')
    return [removeUpload(device, rootMajor(tree, major)).argv.slice(1), ...treeCommands(device, major, tree)];
  const there = tree.classes.flatMap((c) =>
    classes.has(c.minor) ? [leaves.has(c.minor) ? c : { ...c, leaf: undefined }] : [],
  );
  return [
    ...(classes.has(LINK_MINOR) ? [] : [linkCommand(device, major, tree, 'replace')]),
    ...changeTree(device, major, { ...tree, classes: there }, tree)!.before,
  ];
}
