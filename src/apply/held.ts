import { getTcStats, listCountingRules, type TcStat } from '../kernel/index.ts';
import {
  ARRIVAL_FAMILY,
  arrivalChain,
  type Datapath,
  type HeldLink,
  type HeldTree,
  handle,
  LEAF_MAJOR,
  type LinkShape,
  type Operation,
  ROOT,
  rootMajor,
  TABLE,
  type TreePlace,
  treesOf,
} from '../shape/index.ts';
import { isRedirected, type Scene } from './inspect.ts';
import { holdsFilters } from './read-back.ts';

/** What of a link's part is in the kernel, so that what is missing can be put back. Its device must be there. */
export async function getHeld(shape: LinkShape, scene: Scene, datapath: Datapath): Promise<HeldLink> {
  const { device, ifbs, upload } = shape;
  const indexOf = new Map(scene.devices.map(({ name, index }) => [name, index]));
  const trees = treesOf([shape]).flatMap((place): [string, HeldTree][] => {
    const index = indexOf.get(place.device);
    const held = index === undefined ? undefined : heldTree(getTcStats(undefined, index), place);
    return held ? [[place.device, held]] : [];
  });
  const own = scene.ifbs.filter(({ device: ifb }) => ifbs.some(({ name }) => name === ifb.name));
  return {
    ifbs: new Map(own.map(({ device: ifb, ownership }) => [ifb.name, ownership])),
    trees: new Map(trees),
    hook: scene.hooks.has(device),
    redirected:
      ifbs.length > 0 &&
      isRedirected(scene, device) &&
      (datapath.map ? await forwards(shape) : await holds(datapath.redirect(device, ifbs))),
    classified: upload === undefined || (await holds(datapath.classifyLeaving(device, upload))),
  };
}

const holds = async (operation: Operation | undefined): Promise<boolean> =>
  !operation?.filters || holdsFilters(operation.filters);

/** The chain of the device, of datapath `map`, leads to its ifbs. */
async function forwards({ device, ifbs }: LinkShape): Promise<boolean> {
  const rules = await listCountingRules(ARRIVAL_FAMILY, TABLE);
  const led = rules.flatMap(({ chain, forwardsTo }) => (chain === arrivalChain(device) ? [forwardsTo] : []));
  return ifbs.every(({ name }) => led.includes(name)) && led.length === ifbs.length;
}

function heldTree(stats: readonly TcStat[], { major, tree }: TreePlace): HeldTree | undefined {
  const root = handle(rootMajor(tree, major), 0);
  if (!stats.some((s) => !s.isClass && s.parent === ROOT && s.handle === root)) return undefined;
  const classes = stats.filter((s) => s.isClass && s.handle >>> 16 === major).map((s) => s.handle & 0xffff);
  const leaves = stats.filter((s) => !s.isClass && s.handle === handle(LEAF_MAJOR + (s.parent & 0xffff), 0));
  return { classes: new Set(classes), leaves: new Set(leaves.map((s) => s.parent & 0xffff)) };
}
