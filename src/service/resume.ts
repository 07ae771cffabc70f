import { createHash } from 'node:crypto';
import { inspect, type Scene } from '../apply/index.ts';
import { getRecord, hasRight } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import type { Capabilities, MarkField } from '../model/index.ts';
import { type DatapathName, type LinkShape, nameAs, nameAsThere, qdiscsOf } from '../shape/index.ts';
import { type Applied, compareBuilt, readApplied } from './applied.ts';
import { type PreparedDatapath, prepareDatapath, type WriteFiles } from './datapath.ts';
import { shapeHere } from './shape-here.ts';
import type { ServiceStatus } from './status.ts';

/** A policy that is in force, whoever put it there. */
export interface InForce extends Applied {
  readonly shapes: readonly LinkShape[];
  readonly prepared: PreparedDatapath;
}

/** In the environment of a program that has given up the right to compare: digest of the record that was found to be in force before. */
const COMPARED = 'HEADGATE_COMPARED';

/**
 * Finds out, as long as there is the right to, whether what the record says is in force, and writes it down for this program
 * after its exec.
 */
export async function compareBeforehand(datapath: DatapathName, capabilities: Capabilities): Promise<void> {
  const [applied, scene] = await Promise.all([readApplied(), inspect()]);
  if (applied?.datapath !== datapath || !scene.field) return;
  const found = await lookAt(applied, scene.field, scene, capabilities).catch(() => undefined);
  if (found && found.odd === undefined) process.env[COMPARED] = await digestOfRecord();
}

const digestOfRecord = async (): Promise<string> =>
  createHash('sha256')
    .update((await getRecord('applied')) ?? '')
    .digest('hex');

/** What a record comes to here, and the first object that is otherwise in the kernel. */
async function lookAt(
  { policy, datapath, generation }: Applied,
  field: MarkField,
  scene: Scene,
  capabilities: Capabilities,
  write?: WriteFiles,
) {
  const there = new Set(scene.devices.map((device) => device.name));
  const shapes = nameAsThere(await shapeHere(policy, qdiscsOf(capabilities)), there);
  const prepared = await prepareDatapath(datapath, policy, field, generation, capabilities, write);
  const compared = !hasRight('SYS_ADMIN') && process.env[COMPARED] === (await digestOfRecord());
  const [odd] = compared ? [] : await compareBuilt({ policy, shapes, datapath: prepared.datapath }, scene);
  return { shapes, prepared, odd: odd?.object };
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
  const reason = whyNot(applied, wanted, scene);
  if (!applied || reason !== undefined) return reason ?? UNKNOWN;
  try {
    const { shapes, prepared, odd } = await lookAt(applied, wanted.field, scene, capabilities, write);
    return odd ? `${odd} is not as it was made` : { ...applied, shapes, prepared };
  } catch {
    return 'its record does not fit this machine any more';
  }
}

/**
 * The same of the policy that a service has in force, which is changed as it is: what somebody has changed of it is put
 * back by its reload, and what stands beside until it is confirmed is none of it.
 */
export async function findRunning(
  { links }: ServiceStatus,
  wanted: { readonly datapath: DatapathName; readonly field: MarkField },
  scene: Scene,
  capabilities: Capabilities,
  write?: WriteFiles,
): Promise<InForce | string> {
  const applied = await readApplied();
  const reason = whyNot(applied, wanted, scene);
  if (!applied || reason !== undefined) return reason ?? UNKNOWN;
  const { policy, datapath, generation } = applied;
  const names = new Map(links.map(({ device, ifbs }) => [device, ifbs]));
  const shapes = nameAs(await shapeHere(policy, qdiscsOf(capabilities)), names);
  const prepared = await prepareDatapath(datapath, policy, wanted.field, generation, capabilities, write);
  return { ...applied, shapes, prepared };
}

const UNKNOWN = 'nobody knows which policy it is of';

/** Why what the record says cannot be changed to what is wanted, as the end of a sentence. */
function whyNot(
  applied: Applied | undefined,
  wanted: { readonly datapath: DatapathName; readonly field: MarkField },
  scene: Scene,
): string | undefined {
  if (!applied) return UNKNOWN;
  if (applied.datapath !== wanted.datapath) return `it is of datapath ${applied.datapath}`;
  return scene.field?.mask === wanted.field.mask ? undefined : 'it has other marks';
}

/** The two say the same, but for where they come from. */
export const isSamePolicy = (a: Policy, b: Policy): boolean => text(a) === text(b);
const text = (policy: Policy): string => JSON.stringify({ ...policy, file: '' });
