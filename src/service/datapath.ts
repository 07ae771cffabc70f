import {
  addFiles,
  CLASSIFIER_OBJECT,
  type ClassifierConfig,
  ensureBtf,
  getFile,
  patchClassifier,
} from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { type Capabilities, can, DEFAULT_MARK_FIELD } from '../model/index.ts';
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
  mapDatapath,
  markDatapath,
  UPLOAD_MAJOR,
} from '../shape/index.ts';

export interface PreparedDatapath {
  readonly datapath: Datapath;
  /** Paths of what was written for tc to read, to be removed when it is not needed any more. */
  readonly files: readonly string[];
}

/**
 * The best datapath that works here. Where none is known to, as on a machine that is too busy to tell, the first: its
 * operations then say what is wrong, and are undone.
 */
export const pickDatapath = (capabilities: Capabilities): DatapathName => chooseDatapath(capabilities) ?? 'bpf';

/**
 * The datapath of that name for a policy, with what it has to have on the disk. `generation` counts the policies of a run:
 * until the next one is in force, what the last one made is needed.
 *
 * @throws HeadgateError HG_NO_BTF, HG_NO_SHIM, HG_NO_PLACE
 */
export async function prepareDatapath(
  name: DatapathName,
  policy: Policy,
  capabilities: Capabilities,
  generation: number,
): Promise<PreparedDatapath> {
  const plan = classPlanOf(policy, DEFAULT_MARK_FIELD);
  switch (name) {
    case 'bpf':
      return prepareBpf(plan, generation);
    case 'ct':
      return { datapath: ctDatapath(plan, generation), files: [] };
    case 'map':
      return { datapath: mapDatapath(plan), files: [] };
    case 'mark':
      return {
        datapath: markDatapath(plan, can(capabilities, 'action ctinfo') ? 'ctinfo' : 'connmark', generation),
        files: [],
      };
  }
}

/** Writes the classifier's two objects, configured, for tc to read. */
async function prepareBpf(plan: ClassPlan, generation: number): Promise<PreparedDatapath> {
  await ensureBtf();
  const [ingress, egress] = [`ingress-${generation}.bpf.o`, `egress-${generation}.bpf.o`];
  const object = await getFile(CLASSIFIER_OBJECT);
  const paths = await addFiles({
    [ingress]: patchClassifier(object, configOf(plan, DOWNLOAD_MAJOR)),
    [egress]: patchClassifier(object, configOf(plan, UPLOAD_MAJOR)),
  });
  const objects = { ingress: paths[ingress]!, egress: paths[egress]! };
  return { datapath: bpfDatapath(objects), files: Object.values(objects) };
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
