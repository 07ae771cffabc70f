import { inspect, type Scene, teardownOf } from '../apply/index.ts';
import { addFiles, delFiles, ensureBtf, getCapabilities } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import type { Capabilities, MarkField } from '../model/index.ts';
import {
  changeLink,
  type DatapathName,
  ensureCreates,
  type LinkShape,
  type Operation,
  planOperations,
  qdiscsOf,
  replaceTables,
  tapsOf,
  whyNotInPlace,
} from '../shape/index.ts';
import { type Applied, compareBuilt, type Difference, readApplied, type Wanted } from './applied.ts';
import { bestDatapath, prepareDatapath, type WriteFiles } from './datapath.ts';
import { chooseMarksHere } from './marks.ts';
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
    const applied = await readApplied();
    const make = (of: Policy, as: readonly LinkShape[], generation: number) =>
      makeWanted(of, as, { name, field, generation, capabilities });
    const wanted = await make(policy, shapes, applied?.generation ?? 0);
    const differences = await compareBuilt(wanted, scene);
    const plan = { datapath: name, differences };
    if (differences.length === 0) return { ...plan, changes: [] };

    const removals = teardownOf(scene);
    const anew = removals.length === 0 ? undefined : await whyAnew(applied, wanted, scene, { field, make });
    if (typeof anew === 'object') return { ...plan, changes: changesBetween(anew, wanted, scene, differences) };
    return {
      ...plan,
      anew,
      changes: [
        ...removals.map(({ about }): Change => ({ action: 'remove', about, touches: touchedByRemoval(about) })),
        ...planOperations(policy, shapes, wanted.datapath).map((o): Change => ({ action: 'add', ...toldOf(o) })),
      ],
    };
  } finally {
    await delFiles(undefined, 'plan');
  }
}

interface How {
  readonly name: DatapathName;
  readonly field: MarkField;
  readonly generation: number;
  readonly capabilities: Capabilities;
}

const toPlan: WriteFiles = async (files) => {
  await ensureBtf();
  return addFiles(files, 'plan');
};

async function makeWanted(policy: Policy, shapes: readonly LinkShape[], how: How): Promise<Wanted> {
  const { name, field, generation, capabilities } = how;
  const { datapath } = await prepareDatapath(name, policy, field, generation, capabilities, toPlan);
  return { policy, shapes, datapath };
}

/** What is in force, where it can be changed in place; else why not. */
async function whyAnew(
  applied: Applied | undefined,
  wanted: Wanted,
  scene: Scene,
  { field, make }: { field: MarkField; make: (p: Policy, s: readonly LinkShape[], g: number) => Promise<Wanted> },
): Promise<Wanted | string> {
  if (!applied) return 'nobody knows which policy it is of';
  if (applied.datapath !== wanted.datapath.name) return `it is of datapath ${applied.datapath}`;
  if (scene.field?.mask !== field.mask) return 'it has other marks';
  const shapes = await shapeHere(applied.policy, qdiscsOf(await getCapabilities()));
  const reason = whyNotInPlace(shapes, wanted.shapes);
  if (reason !== undefined) return reason;
  const inForce = await make(applied.policy, shapes, applied.generation);
  const [odd] = await compareBuilt(inForce, scene);
  return odd ? `${odd.object} is not as it was made` : inForce;
}

/** The steps of a reload, without those whose objects are as they should be already. */
function changesBetween(from: Wanted, to: Wanted, scene: Scene, differences: readonly Difference[]): Change[] {
  const differs = (object: RegExp) => differences.some((d) => object.test(d.object));
  const families = [...scene.mirrors].flatMap(([family, whose]) => (whose === 'ours' ? [family] : []));
  const links = to.shapes.map((shape) => {
    const old = from.shapes.find(({ link }) => link === shape.link)!;
    return changeLink(old, shape, from.datapath, to.datapath, true);
  });
  const filters = links
    .flatMap(({ before }) => before)
    .filter((o) => o.filters === undefined || differs(/filters on /));
  const tables = replaceTables(from, to, families).filter(
    ({ about }) => !about.includes('nft tables') || differs(/^table /),
  );
  const gone = tapsOf(from.policy).filter((tap) => !tapsOf(to.policy).includes(tap));
  return [
    ...[...tables, ...filters].map(
      (o): Change => ({ action: /^add tap/.test(o.about) ? 'add' : 'change', ...toldOf(o) }),
    ),
    ...links.flatMap(({ after }) => after).map((o): Change => ({ action: 'remove', ...toldOf(o) })),
    ...gone.map((tap): Change => ({ action: 'remove', about: `remove tap ${tap}`, touches: 'none' })),
  ];
}

const toldOf = ({ about, touches = 'none' }: Operation) => ({ about, touches });

function touchedByRemoval(about: string): string {
  if (about.startsWith('stop redirecting')) return 'what arrives passes unshaped from then on';
  if (about.startsWith('remove the tree on')) return 'what waits to leave is lost, and for milliseconds what leaves';
  if (about.startsWith('remove ifb')) return 'what waits in its queues is lost';
  return 'none';
}
