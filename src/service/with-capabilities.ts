import { canProbe, delCapabilities, getCapabilities } from '../kernel/index.ts';
import { CAPABILITY_NAMES, type Capabilities, type ErrorCode, HeadgateError } from '../model/index.ts';

/** What fails where the kernel is not as it was found to be. */
const DOUBTFUL: readonly ErrorCode[] = ['HG_KERNEL', 'HG_FILTER_CHANGED', 'HG_NO_KERNEL'];

/**
 * Starts something by what this kernel was found to be capable of. Where that fails by what an earlier run had found,
 * the kernel is asked again: a module may have been taken away since, or installed. If it answers otherwise now,
 * `start` has a second try. Without the rights to ask, what was found is forgotten, and the next start asks.
 */
export async function withCapabilities<T>(start: (capabilities: Capabilities) => Promise<T>): Promise<T> {
  const since = Date.now();
  const known = await getCapabilities();
  try {
    return await start(known);
  } catch (error) {
    if (!(error instanceof HeadgateError) || !DOUBTFUL.includes(error.code) || known.time >= since) throw error;
    if (!canProbe()) {
      await delCapabilities();
      throw error;
    }
    const now = await getCapabilities({ fresh: true });
    if (answersOf(now) === answersOf(known)) throw error;
    return start(now);
  }
}

const answersOf = ({ findings }: Capabilities): string => CAPABILITY_NAMES.map((name) => findings[name].answer).join();
