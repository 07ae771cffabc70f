import { checkEffects, checkLink, checkMap, checkTable, inspect, type Scene, teardownOf } from '../apply/index.ts';
import { addFiles, delFiles, delOldPlans, ensureBtf, getCapabilities, getJournal } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { type Capabilities, HeadgateError } from '../model/index.ts';
import { type DatapathName, ensureCreates, nameBeside, planOperations, qdiscsOf } from '../shape/index.ts';
import { compareBuilt, type Difference, readApplied, type Wanted } from './applied.ts';
import { requestService } from './ask.ts';
import type { Unconfirmed } from './confirmation.ts';
import { bestDatapath, ensureDatapath, prepareDatapath, type WriteFiles } from './datapath.ts';
import { chooseMarksHere } from './marks.ts';
import { type Change, planBetween, told } from './plan-steps.ts';
import { reloadChecks } from './reload.ts';
import { findInForce, findRunning, type InForce } from './resume.ts';
import { shapeHere } from './shape-here.ts';
import { getPolicyBefore } from './trial.ts';

/** What stands between what is in the kernel and what a policy wants. */
export interface Plan {
  readonly datapath: DatapathName;
  /** Objects that are not as they should be. */
  readonly differences: readonly Difference[];
  /** In the order in which they are done, by `reload` where a service runs, else by `up`. Empty where nothing is to be done. */
  readonly changes: readonly Change[];
  /** Why what is there is not changed in place but taken down first, as the end of a sentence. */
  readonly anew?: string | undefined;
  /** Why `up` would refuse, or what stays undone for want of a device; sentences. */
  readonly obstacles: readonly string[];
  /** What waits to be confirmed: the changes are from that, and no reload is taken before. */
  readonly confirm?: Unconfirmed | undefined;
}

/**
 * Compares what a policy wants with what is in the kernel, and says what `up` would do about it, or `reload` where a
 * service runs. Changes nothing: what is wanted is made in a network namespace of its own ({@link makeBeside}).
 *
 * @param named absent: that of the service that runs, else the best one here
 * @throws HeadgateError as startService does, but for what others have in the way: these are obstacles
 */
export async function makePlan(asked: Policy, named: DatapathName | undefined): Promise<Plan> {
  await delOldPlans();
  try {
    const capabilities = await getCapabilities();
    const qdiscs = qdiscsOf(capabilities);
    const service = await requestService();
    const before = service ? undefined : await getPolicyBefore(asked);
    const policy = before ?? asked;
    const first = [
      ...(!service && (await getJournal())
        ? ['What a headgate that was killed was about is taken back first: headgate recover.']
        : []),
      ...(before ? [`${asked.file} was not confirmed: up goes back to what ran before.`] : []),
    ];
    const shapes = await shapeHere(policy, qdiscs);
    const name = named ?? service?.datapath ?? bestDatapath(capabilities, shapes);
    if (named) await ensureDatapath(named, capabilities);
    for (const shape of shapes) ensureCreates(shape, name);
    const scene = await inspect();
    const { field } = await chooseMarksHere(policy, name, scene);
    // As the one in force has it: the numbers of its filters are no difference.
    const generation = (await readApplied())?.generation ?? 0;
    const { datapath } = await prepareDatapath(name, policy, field, generation, capabilities, toPlan);
    const removals = teardownOf(scene).map(told('remove'));
    const wanted = { policy, shapes, datapath };
    const at = { datapath: name, field };
    const find = (): Promise<InForce | string> =>
      service ? findRunning(service, at, scene, capabilities, toPlan) : findInForce(at, scene, capabilities, toPlan);
    const inForce = removals.length === 0 ? undefined : await find();
    if (typeof inForce === 'object') {
      const from = { policy: inForce.policy, shapes: inForce.shapes, datapath: inForce.prepared.datapath };
      const to = { ...wanted, shapes: nameBeside(inForce.shapes, shapes) };
      const obstacles = service
        ? [...listRefusals('reload', reloadChecks(from, to, scene, capabilities)), ...listAbsent(from, scene)]
        : [...first, ...listRefusals('up', upChecks(to, scene, capabilities))];
      return { datapath: name, ...(await planBetween(from, to, scene)), obstacles, confirm: service?.confirm };
    }
    const differences = await compareBuilt(wanted, scene);
    const additions = planOperations(policy, shapes, datapath).map(told('add'));
    return {
      datapath: name,
      differences,
      anew: inForce,
      changes: [...removals, ...additions],
      obstacles: [...first, ...listRefusals('up', upChecks(wanted, scene, capabilities))],
      confirm: service?.confirm,
    };
  } finally {
    await delFiles(undefined, 'plan');
  }
}

type Check = () => void;

/** What `up` makes sure of before the first change. */
const upChecks = ({ policy, shapes, datapath }: Wanted, scene: Scene, capabilities: Capabilities): Check[] => [
  () => checkTable(scene),
  () => checkEffects(policy, scene, capabilities),
  ...(datapath.map ? [() => checkMap(scene)] : []),
  ...shapes.map((shape) => () => checkLink(shape, scene, datapath)),
];

const listRefusals = (by: 'up' | 'reload', checks: readonly Check[]): string[] =>
  checks.flatMap((check) => {
    try {
      check();
      return [];
    } catch (error) {
      if (error instanceof HeadgateError) return [`${by} would refuse: ${error.message}`];
      throw error;
    }
  });

const listAbsent = ({ shapes }: Wanted, scene: Scene): string[] =>
  shapes
    .filter(({ device }) => !scene.devices.some(({ name }) => name === device))
    .map(({ device }) => `There is no device ${device}: its link is made when it comes.`);

const toPlan: WriteFiles = async (files) => {
  await ensureBtf();
  return addFiles(files, 'plan');
};
