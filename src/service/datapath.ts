import { join } from 'node:path';
import {
  addFile,
  addFolder,
  CLASSIFIER_OBJECT,
  type ClassifierConfig,
  delFolder,
  getFile,
  patchClassifier,
} from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import type { MarkField } from '../model/index.ts';
import { classOf, DOWNLOAD_MAJOR, handle, leafQueues, UPLOAD_MAJOR } from '../shape/index.ts';

/** The classifier's two objects, configured for a policy and on disk for tc to read. */
export interface ObjectFiles {
  readonly ingressObject: string;
  readonly egressObject: string;
  del(): Promise<void>;
}

export async function addObjectFiles(policy: Policy, field: MarkField): Promise<ObjectFiles> {
  const object = await getFile(CLASSIFIER_OBJECT);
  const folder = await addFolder();
  const ingressObject = join(folder, 'ingress.bpf.o');
  const egressObject = join(folder, 'egress.bpf.o');
  await addFile(ingressObject, patchClassifier(object, configOf(policy, field, DOWNLOAD_MAJOR)));
  await addFile(egressObject, patchClassifier(object, configOf(policy, field, UPLOAD_MAJOR)));
  return { ingressObject, egressObject, del: () => delFolder(folder) };
}

function configOf(policy: Policy, field: MarkField, major: number): ClassifierConfig {
  return {
    major: handle(major, 0),
    markMask: field.mask,
    markShift: field.shift,
    highestClass: leafQueues(policy.queues).length,
    localClass: classOf(policy, policy.defaults.local),
    remoteClass: classOf(policy, policy.defaults.remote),
    newClass: classOf(policy, policy.defaults.new),
    deadlineNs: 0n,
  };
}
