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
  ifbOf,
  type LinkShape,
  ladderOf,
  mapDatapath,
  markDatapath,
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
  if (rungs.some(({ answer }) => answer === 'unknown') || shapes.every((shape) => !shape.upload && !ifbOf(shape)))
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
      return prepareBpf(plan, generation, write);
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

/** Writes the classifier's two objects, configured, for tc to read. */
async function prepareBpf(plan: ClassPlan, generation: number, write: WriteFiles): Promise<PreparedDatapath> {
  const [ingress, egress] = [`ingress-${generation}.bpf.o`, `egress-${generation}.bpf.o`];
  const object = await getFile(CLASSIFIER_OBJECT);
  const paths = await write({
    [ingress]: patchClassifier(object, configOf(plan, DOWNLOAD_MAJOR)),
    [egress]: patchClassifier(object, configOf(plan, UPLOAD_MAJOR)),
  });
  const objects = { ingress: paths[ingress]!, egress: paths[egress]! };
  return { datapath: bpfDatapath(objects, plan.field), files: Object.values(objects) };
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
