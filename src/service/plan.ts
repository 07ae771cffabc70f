import { inspect, listOurMirrors, type Scene, standingOf, teardownOf } from '../apply/index.ts';
import { addFiles, delFiles, ensureBtf, getCapabilities } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import {
  changeLinks,
  changePolicy,
  type DatapathName,
  ensureCreates,
  nameBeside,
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
  /** `change`: in place; `replace`: by another beside it, in one step where nothing else is said. */
  readonly action: 'add' | 'change' | 'replace' | 'remove';
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
    const removals = teardownOf(scene).map(told('remove'));
    const inForce =
      removals.length === 0 ? undefined : await findInForce({ datapath: name, field }, scene, capabilities, toPlan);
    if (typeof inForce === 'object') {
      const wanted = { policy, shapes: nameBeside(inForce.shapes, shapes), datapath };
      const differences = await compareBuilt(wanted, scene);
      const changes = differences.length === 0 ? [] : changesBetween(inForce, wanted, scene, differences);
      return { datapath: name, differences, changes };
    }
    const differences = await compareBuilt({ policy, shapes, datapath }, scene);
    const additions = planOperations(policy, shapes, datapath).map(told('add'));
    return { datapath: name, differences, anew: inForce, changes: [...removals, ...additions] };
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
  const from = { policy, shapes, datapath: prepared.datapath };
  const links = changeLinks(from, to, standingOf(scene));
  const { before, after } = changePolicy(from, to, listOurMirrors(scene), links);
  const differs = (object: RegExp) => differences.some((d) => object.test(d.object));
  const isIdle = ({ of, filters }: Operation): boolean => {
    if (of === undefined) return false;
    if (of === 'tables') return !differs(/^table /);
    // Those that are no filters of tc are a chain of the table.
    if (!filters) return !differs(/filters on |^table /);
    const object = `${filters.parent === 'ingress' ? '' : 'leaving '}filters on ${filters.device}`;
    return !differences.some((d) => d.object === object);
  };
  const needed = before.filter((operation) => !isIdle(operation));
  return [...needed, ...after].map(told('change'));
}

const told =
  (action: Change['action']) =>
  ({ about, touches = 'none', does }: Pick<Operation, 'about' | 'touches' | 'does'>): Change => ({
    action: does ?? action,
    about,
    touches,
  });
