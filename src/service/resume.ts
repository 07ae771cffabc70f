import type { Scene } from '../apply/index.ts';
import type { Policy } from '../language/index.ts';
import type { Capabilities, MarkField } from '../model/index.ts';
import { type DatapathName, type LinkShape, qdiscsOf, whyNotInPlace } from '../shape/index.ts';
import { type Applied, compareBuilt, readApplied } from './applied.ts';
import { type PreparedDatapath, prepareDatapath } from './datapath.ts';
import { shapeHere } from './shape-here.ts';

/** A policy that is in force, whoever put it there. */
export interface InForce extends Applied {
  readonly shapes: readonly LinkShape[];
  readonly prepared: PreparedDatapath;
}

/**
 * The policy that an earlier run has left in force, where the kernel holds it whole and as it was made, and where it can
 * be changed in place to what is wanted now; undefined where it is better to begin anew.
 */
export async function findInForce(
  wanted: { readonly shapes: readonly LinkShape[]; readonly datapath: DatapathName; readonly field: MarkField },
  scene: Scene,
  capabilities: Capabilities,
): Promise<InForce | undefined> {
  const applied = scene.table === 'ours' ? await readApplied() : undefined;
  if (applied?.datapath !== wanted.datapath || scene.field?.mask !== wanted.field.mask) return undefined;
  try {
    const inForce = await remake(applied, wanted.field, capabilities);
    if (whyNotInPlace(inForce.shapes, wanted.shapes) !== undefined) return undefined;
    const { policy, shapes, prepared } = inForce;
    const differences = await compareBuilt({ policy, shapes, datapath: prepared.datapath }, scene);
    return differences.length === 0 ? inForce : undefined;
  } catch {
    // A record that does not fit this machine any more.
    return undefined;
  }
}

/** What a record says, as it was made then. */
export async function remake(applied: Applied, field: MarkField, capabilities: Capabilities): Promise<InForce> {
  const { policy, datapath, generation } = applied;
  return {
    ...applied,
    shapes: await shapeHere(policy, qdiscsOf(capabilities)),
    prepared: await prepareDatapath(datapath, policy, field, generation, capabilities),
  };
}

/** The two say the same, but for where they come from. */
export const isSamePolicy = (a: Policy, b: Policy): boolean => text(a) === text(b);
const text = (policy: Policy): string => JSON.stringify({ ...policy, file: '' });
