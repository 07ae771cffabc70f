import type { Scene } from '../apply/index.ts';
import type { Policy } from '../language/index.ts';
import type { Capabilities, MarkField } from '../model/index.ts';
import { type DatapathName, type LinkShape, nameAsThere, qdiscsOf } from '../shape/index.ts';
import { type Applied, compareBuilt, readApplied } from './applied.ts';
import { type PreparedDatapath, prepareDatapath, type WriteFiles } from './datapath.ts';
import { shapeHere } from './shape-here.ts';

/** A policy that is in force, whoever put it there. */
export interface InForce extends Applied {
  readonly shapes: readonly LinkShape[];
  readonly prepared: PreparedDatapath;
}

/**
 * The policy that an earlier run has left in force, where the kernel holds it whole and as it was made, and where it can
 * be changed to what is wanted now; else why it is better to begin anew, as the end of a sentence. Files of its datapath
 * are written by `write`.
 */
export async function findInForce(
  wanted: { readonly datapath: DatapathName; readonly field: MarkField },
  scene: Scene,
  capabilities: Capabilities,
  write?: WriteFiles,
): Promise<InForce | string> {
  const applied = scene.table === 'ours' ? await readApplied() : undefined;
  if (!applied) return 'nobody knows which policy it is of';
  if (applied.datapath !== wanted.datapath) return `it is of datapath ${applied.datapath}`;
  if (scene.field?.mask !== wanted.field.mask) return 'it has other marks';
  try {
    const { policy, datapath, generation } = applied;
    const there = new Set(scene.devices.map(({ name }) => name));
    const shapes = nameAsThere(await shapeHere(policy, qdiscsOf(capabilities)), there);
    const prepared = await prepareDatapath(datapath, policy, wanted.field, generation, capabilities, write);
    const [odd] = await compareBuilt({ policy, shapes, datapath: prepared.datapath }, scene);
    return odd ? `${odd.object} is not as it was made` : { ...applied, shapes, prepared };
  } catch {
    return 'its record does not fit this machine any more';
  }
}

/** The two say the same, but for where they come from. */
export const isSamePolicy = (a: Policy, b: Policy): boolean => text(a) === text(b);
const text = (policy: Policy): string => JSON.stringify({ ...policy, file: '' });
