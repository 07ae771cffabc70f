import { addFiles, CLASSIFIER_OBJECT, type ClassifierConfig, getFile, patchClassifier } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import type { MarkField } from '../model/index.ts';
import { classOf, DOWNLOAD_MAJOR, handle, highestClass, type LinkSite, UPLOAD_MAJOR } from '../shape/index.ts';

/** The classifier's two objects, as paths. */
export type Objects = Pick<LinkSite, 'ingressObject' | 'egressObject'>;

/**
 * Writes the classifier's two objects, configured for a policy, for tc to read. `generation` is another for each policy:
 * until the next one is in force the last one's are needed.
 *
 * @throws HeadgateError HG_NO_SHIM, HG_NO_PLACE
 */
export async function addObjects(policy: Policy, field: MarkField, generation: number): Promise<Objects> {
  const [ingress, egress] = [`ingress-${generation}.bpf.o`, `egress-${generation}.bpf.o`];
  const object = await getFile(CLASSIFIER_OBJECT);
  const paths = await addFiles({
    [ingress]: patchClassifier(object, configOf(policy, field, DOWNLOAD_MAJOR)),
    [egress]: patchClassifier(object, configOf(policy, field, UPLOAD_MAJOR)),
  });
  return { ingressObject: paths[ingress]!, egressObject: paths[egress]! };
}

function configOf(policy: Policy, field: MarkField, major: number): ClassifierConfig {
  return {
    major: handle(major, 0),
    markMask: field.mask,
    markShift: field.shift,
    highestClass: highestClass(policy),
    localClass: classOf(policy, policy.defaults.local),
    remoteClass: classOf(policy, policy.defaults.remote),
    newClass: classOf(policy, policy.defaults.new),
    deadlineNs: 0n,
  };
}
