import {
  addFiles,
  CLASSIFIER_OBJECT,
  type ClassifierConfig,
  ensureBtf,
  getFile,
  patchClassifier,
} from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { type Capabilities, can, HeadgateError, type MarkField } from '../model/index.ts';
import {
  bpfDatapath,
  type ClassPlan,
  chooseDatapath,
  classPlanOf,
  ctDatapath,
  type Datapath,
  type DatapathName,
  DOWNLOAD_MAJOR,
  handle,
  type LinkShape,
  ladderOf,
  mapDatapath,
  markDatapath,
  queuesPerOrigin,
  UPLOAD_MAJOR,
} from '../shape/index.ts';

export interface PreparedDatapath {
  readonly datapath: Datapath;
  /** Paths of what was written for tc to read, to be removed when it is not needed any more. */
  readonly files: readonly string[];
}

/** Puts files where the commands will find them, and returns their paths by their names. */
export type WriteFiles = (files: Readonly<Record<string, Uint8Array>>) => Promise<Record<string, string>>;

const toDisk: WriteFiles = async (files) => {
  await ensureBtf();
  return addFiles(files);
};

/**
 * The datapath for a policy that names none: the best that works here. Where it could not be told of any, or where
 * nothing has to be shaped, `bpf`, whose failure then says why.
 *
 * @throws HeadgateError HG_NO_KERNEL where it is known that none works
 */
export function bestDatapath(capabilities: Capabilities, shapes: readonly LinkShape[]): DatapathName {
  const best = chooseDatapath(capabilities);
  if (best !== undefined) return best;
  const rungs = ladderOf(capabilities);
  if (
    rungs.some(({ answer }) => answer === 'unknown') ||
    shapes.every((shape) => !shape.upload && shape.ifbs.length === 0)
  )
    return 'bpf';
  const [lack] = rungs[0]!.lacks.flat();
  const finding = capabilities.findings[lack!];
  throw new HeadgateError('HG_NO_KERNEL', {
    what: 'any datapath',
    problem: `${lack}: ${finding.answer === 'yes' ? '' : finding.why}`,
    needs: 'what `headgate doctor` tells of each',
  });
}

/**
 * The datapath of that name for a policy, with what it has to have on the disk. `generation` counts the policies of a run:
 * until the next one is in force, what the last one made is needed. Files go onto this machine's disk unless `write` does
 * otherwise.
 *
 * @throws HeadgateError HG_NO_BTF, HG_NO_SHIM, HG_NO_PLACE
 */
export async function prepareDatapath(
  name: DatapathName,
  policy: Policy,
  field: MarkField,
  generation: number,
  capabilities: Capabilities,
  write: WriteFiles = toDisk,
): Promise<PreparedDatapath> {
  const plan = classPlanOf(policy, field);
  switch (name) {
    case 'bpf':
      return prepareBpf(plan, picksOf(policy), generation, write);
    case 'ct':
      return { datapath: ctDatapath(plan, generation), files: [] };
    case 'map':
      return { datapath: mapDatapath(plan), files: [] };
    case 'mark':
      return {
        datapath: markDatapath(
          plan,
          can(capabilities, 'action connmark') && !can(capabilities, 'action ctinfo') ? 'connmark' : 'ctinfo',
          generation,
        ),
        files: [],
      };
  }
}

/** The classes of each ifb, where a link has several. */
const picksOf = (policy: Policy): (readonly number[])[] =>
  policy.links.some(({ ifbPer }) => ifbPer) ? queuesPerOrigin(policy).map(({ numbers }) => numbers) : [];

/** Writes the classifier's objects, configured, for tc to read. */
async function prepareBpf(
  plan: ClassPlan,
  picks: readonly (readonly number[])[],
  generation: number,
  write: WriteFiles,
): Promise<PreparedDatapath> {
  const file = (name: string) => `${name}-${generation}.bpf.o`;
  const object = await getFile(CLASSIFIER_OBJECT);
  const arriving = configOf(plan, DOWNLOAD_MAJOR);
  const paths = await write({
    [file('ingress')]: patchClassifier(object, arriving),
    [file('egress')]: patchClassifier(object, configOf(plan, UPLOAD_MAJOR)),
    ...Object.fromEntries(
      picks.map((picked, i) => [file(`pick-${i + 1}`), patchClassifier(object, { ...arriving, picked })]),
    ),
  });
  const pathOf = (name: string) => paths[file(name)]!;
  const objects = {
    ingress: pathOf('ingress'),
    egress: pathOf('egress'),
    picks: picks.map((_, i) => pathOf(`pick-${i + 1}`)),
  };
  return { datapath: bpfDatapath(objects), files: Object.values(paths) };
}

const configOf = ({ field, count, byOrigin }: ClassPlan, major: number): ClassifierConfig => ({
  major: handle(major, 0),
  markMask: field.mask,
  markShift: field.shift,
  highestClass: count,
  localClass: byOrigin.local,
  remoteClass: byOrigin.remote,
  newClass: byOrigin.new,
  deadlineNs: 0n,
});
