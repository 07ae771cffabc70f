import { replaceRecord } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { readRecord, writeRecord } from './applied.ts';
import { isSamePolicy } from './resume.ts';

/** A policy that nobody has confirmed, and what ran before it. It outlives the service, however that ends. */
interface Trial {
  readonly tried: Policy;
  readonly before: Policy;
}

/**
 * Changes to a policy that has to be confirmed, with that on the disk before. Where it fails, the trial of before is there again.
 *
 * @throws HeadgateError HG_NO_PLACE, and what `change` does
 */
export async function tryOut<T>(trial: Trial, change: () => Promise<T>): Promise<T> {
  const had = await readRecord<Trial>('trial');
  await replaceRecord('trial', writeRecord(trial));
  return change().catch(async (error) => {
    await replaceRecord('trial', had && writeRecord(had));
    throw error;
  });
}

/** It was confirmed, or another policy is in force, as somebody asked. */
export const endTrial = (): Promise<void> => replaceRecord('trial', undefined);

/** What ran before a policy that was tried, and that nobody confirmed; undefined where this one was not. */
export async function getPolicyBefore(asked: Policy): Promise<Policy | undefined> {
  const trial = await readRecord<Trial>('trial');
  const refused = trial && isSamePolicy(trial.tried, asked) && !isSamePolicy(trial.before, asked);
  return refused ? trial.before : undefined;
}
