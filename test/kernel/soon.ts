import { vi } from 'vitest';

/** How many times as long as usual things take here: more than 1 on an emulated machine (test/vm/guest). */
export const PATIENCE = Number(process.env.HEADGATE_PATIENCE ?? 1);

/** Waits until an assertion holds; a busy machine gets ten seconds where vitest would give one. Where all is slow it looks less often. */
export const soon = <T>(assertion: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(assertion, { timeout: 10_000 * PATIENCE, interval: 50 * PATIENCE });
