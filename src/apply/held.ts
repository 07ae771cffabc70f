import { getTcStats, type TcStat } from '../kernel/index.ts';
import {
  type Datapath,
  DOWNLOAD_MAJOR,
  type HeldLink,
  type HeldTree,
  handle,
  LEAF_MAJOR,
  type LinkShape,
  type Operation,
  ROOT,
  rootMajor,
  type Tree,
  UPLOAD_MAJOR,
} from '../shape/index.ts';
import { isRedirected, type Scene } from './inspect.ts';
import { holdsFilters } from './read-back.ts';

/** What of a link's part is in the kernel, so that what is missing can be put back. Its device must be there. */
export async function getHeld(shape: LinkShape, scene: Scene, datapath: Datapath): Promise<HeldLink> {
  const { device, ifbs, upload } = shape;
  const indexOf = new Map(scene.devices.map(({ name, index }) => [name, index]));
  const wanted: [string, number, Tree][] = [
    ...ifbs.map(({ name, tree }): [string, number, Tree] => [name, DOWNLOAD_MAJOR, tree]),
    ...(upload ? [[device, UPLOAD_MAJOR, upload] satisfies [string, number, Tree]] : []),
  ];
  const trees = wanted.flatMap(([on, major, tree]): [string, HeldTree][] => {
    const index = indexOf.get(on);
    const held = index === undefined ? undefined : heldTree(getTcStats(undefined, index), major, tree);
    return held ? [[on, held]] : [];
  });
  const own = scene.ifbs.filter(({ device: ifb }) => ifbs.some(({ name }) => name === ifb.name));
  return {
    ifbs: new Map(own.map(({ device: ifb, ownership }) => [ifb.name, ownership])),
    trees: new Map(trees),
    hook: scene.hooks.has(device),
    redirected: ifbs.length > 0 && isRedirected(scene, device) && (await holds(datapath.redirect(device, ifbs))),
    classified: upload === undefined || (await holds(datapath.classifyLeaving(device, upload))),
  };
}

const holds = async (operation: Operation | undefined): Promise<boolean> =>
  !operation?.filters || holdsFilters(operation.filters);

function heldTree(stats: readonly TcStat[], major: number, tree: Tree): HeldTree | undefined {
  const root = handle(rootMajor(tree, major), 0);
  if (!stats.some((s) => !s.isClass && s.parent === ROOT && s.handle === root)) return undefined;
  const classes = stats.filter((s) => s.isClass && s.handle >>> 16 === major).map((s) => s.handle & 0xffff);
  const leaves = stats.filter((s) => !s.isClass && s.handle === handle(LEAF_MAJOR + (s.parent & 0xffff), 0));
  return { classes: new Set(classes), leaves: new Set(leaves.map((s) => s.parent & 0xffff)) };
}
