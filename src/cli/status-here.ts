import { ensureRoot, getInstancePid } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import { requestStatus } from '../service/ask.ts';
import type { Status } from '../service/index.ts';

/** Asks the running service; where none answers, the kernel. @throws HeadgateError HG_NOT_ROOT, and what {@link requestStatus} throws */
export const getStatusHere = (): Promise<Status> => requestStatus().catch(readKernel);

async function readKernel(error: unknown): Promise<Status> {
  if (!(error instanceof HeadgateError) || error.code !== 'HG_NOT_RUNNING') throw error;
  ensureRoot('reading queues and counters where no service runs');
  const { getStatus } = await import('../service/index.ts');
  const [status, hung] = await Promise.all([getStatus(undefined), getInstancePid()]);
  return hung === undefined ? status : { ...status, hung };
}
