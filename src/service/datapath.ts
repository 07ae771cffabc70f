import {
  CLASSIFIER_OBJECT,
  type ClassifierConfig,
  ensureBtf,
  getFile,
  patchClassifier,
  replaceFiles,
} from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import type { MarkField } from '../model/index.ts';
import {
  bpfDatapath,
  type ClassPlan,
  classPlanOf,
  ctDatapath,
  type Datapath,
  type DatapathName,
  DOWNLOAD_MAJOR,
  handle,
  markDatapath,
  UPLOAD_MAJOR,
} from '../shape/index.ts';

/**
 * The datapath of that name for a policy, with what it has to have on the disk.
 *
 * @throws HeadgateError HG_NO_BTF, HG_NO_SHIM, HG_NO_PLACE
 */
export async function prepareDatapath(name: DatapathName, policy: Policy, field: MarkField): Promise<Datapath> {
  const plan = classPlanOf(policy, field);
  switch (name) {
    case 'bpf':
      return prepareBpf(plan);
    case 'ct':
      return ctDatapath(plan);
    case 'mark':
      return markDatapath(plan, 'ctinfo');
  }
}

/** Writes the classifier's two objects, configured, for tc to read. */
async function prepareBpf(plan: ClassPlan): Promise<Datapath> {
  await ensureBtf();
  const object = await getFile(CLASSIFIER_OBJECT);
  const paths = await replaceFiles({
    'ingress.bpf.o': patchClassifier(object, configOf(plan, DOWNLOAD_MAJOR)),
    'egress.bpf.o': patchClassifier(object, configOf(plan, UPLOAD_MAJOR)),
  });
  return bpfDatapath({ ingress: paths['ingress.bpf.o']!, egress: paths['egress.bpf.o']! });
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
