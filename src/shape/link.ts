import type { Command } from '../model/index.ts';
import type { Datapath } from './datapath.ts';
import type { IfbShape } from './ifb.ts';
import {
  DOWNLOAD_MAJOR,
  formatAlias,
  formatHandle,
  HOOK_CHAIN,
  type Ownership,
  UPLOAD_MAJOR,
  withHook,
} from './names.ts';
import type { Operation, TreePlace } from './operation.ts';
import { batch, tc } from './tc-batch.ts';
import type { Tree } from './tree.ts';
import { rootMajor, treeCommands } from './tree-commands.ts';

/** What one link of the policy is to become in the kernel. A direction without a tree is left as it is. */
export interface LinkShape {
  readonly link: string;
  readonly device: string;
  /** Where what arrives is redirected to; of a link that shares another's tree, that one's. None: it is left alone. */
  readonly ifbs: readonly IfbShape[];
  readonly upload?: Tree | undefined;
  /** Transmit queues of each ifb; absent: one. */
  readonly numtxqueues?: number | undefined;
  /** Chains of other people's at the ingress hook may be passed by. */
  readonly bypass?: boolean | undefined;
  /** A root qdisc that somebody chose makes room for `upload`, and is put back. */
  readonly replacesRoot?: boolean | undefined;
  /** What arrives, and is redirected, makes its conntrack entry before it is classified. */
  readonly creates?: boolean | undefined;
  /** Device of the link whose ifbs, and so whose trees, what arrives here goes through. */
  readonly shares?: string | undefined;
  /** Devices of the links that share this one's ifbs. */
  readonly sharedBy: readonly string[];
}

/** The trees of links, each once. */
export function treesOf(shapes: readonly Pick<LinkShape, 'device' | 'ifbs' | 'upload'>[]): TreePlace[] {
  const places = shapes.flatMap(({ device, ifbs, upload }): TreePlace[] => [
    ...ifbs.map(({ name, tree }) => ({ device: name, major: DOWNLOAD_MAJOR, tree })),
    ...(upload ? [{ device, major: UPLOAD_MAJOR, tree: upload }] : []),
  ]);
  return [...new Map(places.map((place) => [place.device, place])).values()];
}

/** What building a link needs to know of the machine. */
export interface LinkSite {
  /** The device has a clsact or ingress qdisc already; it is used, and stays. */
  readonly ingressHook: boolean;
  /** Whose the link's ifbs are, by name; those that are there already, up and with their trees: another link shares them. */
  readonly ifbs?: ReadonlyMap<string, Ownership> | undefined;
}

/**
 * The operations that build a link's part, in the one safe order: the ifbs, their trees and the ifbs up before any
 * filter sends packets there. The redirect comes last. Nothing at all for a link that is only looked at.
 */
export function linkOperations(shape: LinkShape, site: LinkSite, datapath: Datapath): Operation[] {
  return [
    ...(shape.upload ? uploadOperations(shape.device, shape.upload, datapath) : []),
    ...(shape.ifbs.length === 0 ? [] : downloadOperations(shape, site, datapath)),
  ];
}

/** Names the handle, so that a root qdisc that somebody else put there since is not removed. */
export const removeUpload = (device: string, major: number): Command =>
  tc('qdisc', 'del', 'dev', device, 'root', 'handle', formatHandle(major));
export const removeClsact = (device: string): Command => tc('qdisc', 'del', 'dev', device, 'clsact');
/** The device whose clsact a command of {@link removeClsact} removes; undefined for any other command. */
export const removedClsact = ({ argv: [tool, what, verb, , device, kind] }: Command): string | undefined =>
  tool === 'tc' && what === 'qdisc' && verb === 'del' && kind === 'clsact' ? device : undefined;
/** Leaves a clsact that we added to others. */
export const removeHookChain = (device: string): Command => tc('chain', 'del', ...hookChain(device));
const hookChain = (device: string): string[] => ['dev', device, 'ingress', 'chain', `${HOOK_CHAIN}`];
export const removeIfb = (ifb: string): Command => ({ argv: ['ip', 'link', 'del', ifb] });
/** The ifb that a command of {@link removeIfb} removes; undefined for any other command. */
export const removedIfb = ({ argv: [tool, what, verb, ifb] }: Command): string | undefined =>
  tool === 'ip' && what === 'link' && verb === 'del' ? ifb : undefined;

/** Nothing is there that the datapath could use: we add it, and take it away again. */
export const makesHook = ({ ingressHook }: LinkSite, { hook }: Datapath): boolean => hook && !ingressHook;

function downloadOperations(shape: LinkShape, site: LinkSite, datapath: Datapath): Operation[] {
  const { link, device, ifbs, numtxqueues } = shape;
  const clsact = makesHook(site, datapath);
  const operations: Operation[] = ifbs.flatMap((ifb) => {
    const ownership = site.ifbs?.get(ifb.name);
    return ownership
      ? // Also where it is there already: redirected to an ifb that is down, every packet is lost.
        [joinOperation(ifb.name, ownership, shape, clsact), setUp(ifb.name)]
      : ifbOperations(ifb, { link, device, clsact, shared: [] }, numtxqueues);
  });
  if (clsact) operations.push(addClsact(device));
  operations.push({
    ...datapath.redirect(device, ifbs),
    touches: STEERED,
  });
  return operations;
}

/** Of clsact, too, though nothing that leaves passes it: the device stops sending while it comes or goes (qdisc_graft(), net/sched/sch_api.c). */
export const HOOK_LOSS =
  'what leaves meanwhile is lost, some milliseconds of it (the kernel stops the device for that)';

export const addClsact = (device: string): Operation => ({
  about: `add clsact to ${device}`,
  touches: HOOK_LOSS,
  command: batch('tc', [
    ['qdisc', 'add', 'dev', device, 'clsact'],
    ['chain', 'add', ...hookChain(device)],
  ]),
  undo: removeClsact(device),
});

export const setUp = (ifb: string): Operation => ({
  about: `set ${ifb} up`,
  command: { argv: ['ip', 'link', 'set', ifb, 'up'] },
});

/** An ifb that lets packets through its tree from then on. */
export function ifbOperations(
  { name, tree }: IfbShape,
  ownership: Ownership,
  numtxqueues: number | undefined,
): Operation[] {
  const queues = numtxqueues === undefined ? [] : ['numtxqueues', `${numtxqueues}`];
  return [
    {
      about: `add ifb ${name}`,
      // One process for both lines: a device of ours is nameless for microseconds only. A queue of the device's
      // own 32 packets would be too short for the direct queue of HTB.
      command: batch('ip', [
        ['link', 'add', 'name', name, ...queues, 'txqueuelen', '1000', 'type', 'ifb'],
        ['link', 'set', 'dev', name, 'alias', `"${formatAlias(ownership)}"`],
      ]),
      undo: removeIfb(name),
    },
    {
      about: `add the tree on ${name}`,
      command: batch('tc', treeCommands(name, DOWNLOAD_MAJOR, tree)),
      tree: { device: name, major: DOWNLOAD_MAJOR, tree },
    },
    setUp(name),
  ];
}

/** Writes down that the device leads to the ifb, too, before anything is made there. */
export function joinOperation(ifb: string, ownership: Ownership, { device }: LinkShape, clsact: boolean): Operation {
  return {
    about: `share ${ifb} with ${device}`,
    command: setAlias(ifb, withHook(ownership, { device, clsact })),
    undo: setAlias(ifb, ownership),
  };
}

export const setAlias = (ifb: string, ownership: Ownership): Command => ({
  argv: ['ip', 'link', 'set', 'dev', ifb, 'alias', formatAlias(ownership)],
});

/** For people, of a redirect that comes, or takes another's place. */
export const STEERED = 'what arrives goes that way from then on; none is lost';
/** Of one that goes. */
export const UNSHAPED = 'what arrives passes unshaped from then on';

/** What the kernel does to what leaves while it puts another root qdisc in place (dev_deactivate(), net/sched/sch_generic.c). */
export const ROOT_LOSS =
  'what waits to leave is lost, and for milliseconds what leaves (the kernel puts another root qdisc in place)';

export function uploadOperations(device: string, tree: Tree, datapath: Datapath): Operation[] {
  const classify = datapath.classifyLeaving(device, tree);
  return [
    {
      about: `add the tree on ${device}`,
      touches: ROOT_LOSS,
      command: batch('tc', treeCommands(device, UPLOAD_MAJOR, tree)),
      tree: { device, major: UPLOAD_MAJOR, tree },
      undo: removeUpload(device, rootMajor(tree, UPLOAD_MAJOR)),
    },
    ...(classify ? [classify] : []),
  ];
}
