import { vi } from 'vitest';

/** Waits until an assertion holds; a busy machine gets ten seconds where vitest would give one. */
export const soon = <T>(assertion: () => T | Promise<T>): Promise<T> => vi.waitFor(assertion, { timeout: 10_000 });
