import { inspect, listOurMirrors, type Scene, teardownOf } from '../apply/index.ts';
import { addFiles, delFiles, ensureBtf, getCapabilities } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import {
  changeLink,
  changePolicy,
  type DatapathName,
  ensureCreates,
  type Operation,
  planOperations,
  qdiscsOf,
} from '../shape/index.ts';
import { compareBuilt, type Difference, readApplied, type Wanted } from './applied.ts';
import { bestDatapath, prepareDatapath, type WriteFiles } from './datapath.ts';
import { chooseMarksHere } from './marks.ts';
import { findInForce, type InForce } from './resume.ts';
import { shapeHere } from './shape-here.ts';

/** One step of a plan. */
export interface Change {
  readonly action: 'add' | 'change' | 'remove';
  /** In words: "add ifb hg-wan". */
  readonly about: string;
  /** The traffic that it touches; `none` where it touches no packet. */
  readonly touches: string;
}

/** What stands between what is in the kernel and what a policy wants. */
export interface Plan {
  readonly datapath: DatapathName;
  /** Objects that are not as they should be. */
  readonly differences: readonly Difference[];
  /** In the order in which `up` does them. Empty where nothing is to be done. */
  readonly changes: readonly Change[];
  /** Why what is there is not changed in place but taken down first, as the end of a sentence. */
  readonly anew?: string | undefined;
}

/**
 * Compares what a policy wants with what is in the kernel, and says what `up` would do about it. Changes nothing: what is
 * wanted is made in a network namespace of its own ({@link compareBuilt}).
 *
 * @throws HeadgateError as startService does, but for what others have on the devices
 */
export async function makePlan(policy: Policy, named: DatapathName | undefined): Promise<Plan> {
  try {
    const capabilities = await getCapabilities();
    const shapes = await shapeHere(policy, qdiscsOf(capabilities));
    const name = named ?? bestDatapath(capabilities, shapes);
    for (const shape of shapes) ensureCreates(shape, name);
    const scene = await inspect();
    const { field } = await chooseMarksHere(policy, name, scene.field);
    // As the one in force has it: the numbers of its filters are no difference.
    const generation = (await readApplied())?.generation ?? 0;
    const { datapath } = await prepareDatapath(name, policy, field, generation, capabilities, toPlan);
    const wanted = { policy, shapes, datapath };
    const differences = await compareBuilt(wanted, scene);
    const plan = { datapath: name, differences };
    if (differences.length === 0) return { ...plan, changes: [] };

    const removals = teardownOf(scene).map(told('remove'));
    const inForce =
      removals.length === 0
        ? undefined
        : await findInForce({ shapes, datapath: name, field }, scene, capabilities, toPlan);
    if (typeof inForce === 'object') return { ...plan, changes: changesBetween(inForce, wanted, scene, differences) };
    const additions = planOperations(policy, shapes, datapath).map(told('add'));
    return { ...plan, anew: inForce, changes: [...removals, ...additions] };
  } finally {
    await delFiles(undefined, 'plan');
  }
}

const toPlan: WriteFiles = async (files) => {
  await ensureBtf();
  return addFiles(files, 'plan');
};

/** The steps of a reload, without those whose objects are as they should be already. */
function changesBetween(inForce: InForce, to: Wanted, scene: Scene, differences: readonly Difference[]): Change[] {
  const { policy, shapes, prepared } = inForce;
  const links = to.shapes.map((shape) => {
    const old = shapes.find(({ link }) => link === shape.link)!;
    return changeLink(old, shape, prepared.datapath, to.datapath, true);
  });
  const from = { policy, shapes, datapath: prepared.datapath };
  const { before, after } = changePolicy(from, to, listOurMirrors(scene), links);
  const differs = (object: RegExp) => differences.some((d) => object.test(d.object));
  const idle = { tables: !differs(/^table /), filters: !differs(/filters on /), tap: false };
  const needed = before.filter(({ of }) => of === undefined || !idle[of]);
  return [...needed.map((o) => told(o.of === 'tap' ? 'add' : 'change')(o)), ...after.map(told('remove'))];
}

const told =
  (action: Change['action']) =>
  ({ about, touches = 'none' }: Pick<Operation, 'about' | 'touches'>): Change => ({ action, about, touches });
