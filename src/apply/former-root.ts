import type { Where } from '../kernel/index.ts';
import { type Command, HeadgateError } from '../model/index.ts';
import {
  addRoot,
  describeRoot,
  formerName,
  isFormerName,
  type LinkShape,
  type Operation,
  ROOT_LOSS,
  removedIfb,
  removeIfb,
  replaceRoot,
} from '../shape/index.ts';
import { inspect, othersOn, type Scene } from './inspect.ts';
import type { Removal } from './removal.ts';
import { readRoot } from './root-qdisc.ts';

/**
 * Makes room at the root of a link's device, where its policy says so: operations to be run before its tree is made. None
 * where nobody has chosen what stands there.
 *
 * @throws HeadgateError HG_QDISC_TAKEN where it could not be put back as it is, HG_IFB_TAKEN
 */
export async function makeRoom(shape: LinkShape, scene: Scene): Promise<Operation[]> {
  const { device, upload, replacesRoot } = shape;
  const there = scene.devices.find(({ name }) => name === device);
  if (!upload || !replacesRoot || !there || othersOn(scene, device).roots.length === 0) return [];
  const root = await readRoot(device);
  if (!root) return [];
  if ('found' in root) throw new HeadgateError('HG_QDISC_TAKEN', { device, found: root.found });
  const ifb = formerName(device);
  if (!scene.devices.some(({ name }) => name === ifb)) return replaceRoot(device, there.index, root);
  if (!scene.formerRoots.some((former) => former.ifb === ifb && former.index === there.index))
    throw new HeadgateError('HG_IFB_TAKEN', { ifb });
  // Of what could not be put back once, and somebody has chosen anew since.
  return [{ about: `remove ifb ${ifb}`, command: removeIfb(ifb) }, ...replaceRoot(device, there.index, root)];
}

/** What puts back the roots that were there before ours, when ours have gone; those alone of the device with this index, where one is given. */
export function putBackRoots(scene: Scene, index?: number): Removal[] {
  return scene.formerRoots
    .filter((former) => index === undefined || former.index === index)
    .flatMap(({ ifb, root, ...of }): Removal[] => {
      // With a device that has gone went its root; who has put another one there wants that.
      const device = scene.devices.find((one) => one.index === of.index)?.name;
      const back: Removal[] =
        root && device !== undefined && othersOn(scene, device).roots.length === 0
          ? [
              {
                about: `put back the root qdisc ${describeRoot(root)} of ${device}`,
                touches: ROOT_LOSS,
                command: addRoot(device, root),
                of: 'root',
                root: { device, root },
              },
            ]
          : [];
      const about = `remove ifb ${ifb}, which kept a root qdisc`;
      return [...back, { about, command: removeIfb(ifb), of: 'former' }];
    });
}

/** The command removes the only copy of a root qdisc that is not back at its device, or may not be. */
export async function losesRoot(command: Command, where: Where = {}): Promise<boolean> {
  const ifb = removedIfb(command);
  if (ifb === undefined || !isFormerName(ifb)) return false;
  return inspect(where).then(
    ({ formerRoots, ...scene }) => {
      const own = formerRoots.filter((former) => former.ifb === ifb);
      return putBackRoots({ ...scene, formerRoots: own }).some(({ of }) => of === 'root');
    },
    () => true,
  );
}
