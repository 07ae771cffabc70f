import { CLASSIFIER_OBJECT, type ClassifierConfig, getFile, patchClassifier, replaceFiles } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import type { MarkField } from '../model/index.ts';
import { classOf, DOWNLOAD_MAJOR, handle, highestClass, type LinkSite, UPLOAD_MAJOR } from '../shape/index.ts';

/** Writes the classifier's two objects, configured for a policy, for tc to read. @throws HeadgateError HG_NO_SHIM, HG_NO_PLACE */
export async function replaceObjects(policy: Policy, field: MarkField): Promise<Omit<LinkSite, 'ingressHook' | 'ifb'>> {
  const object = await getFile(CLASSIFIER_OBJECT);
  const paths = await replaceFiles({
    'ingress.bpf.o': patchClassifier(object, configOf(policy, field, DOWNLOAD_MAJOR)),
    'egress.bpf.o': patchClassifier(object, configOf(policy, field, UPLOAD_MAJOR)),
  });
  return { ingressObject: paths['ingress.bpf.o']!, egressObject: paths['egress.bpf.o']! };
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
