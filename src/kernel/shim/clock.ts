import { shim } from './library.ts';

/** TIME_ERROR of adjtimex(2). */
const TIME_ERROR = 5;

/** Something keeps the clock right (adjtimex(2)); undefined where the kernel does not tell. @throws HeadgateError HG_NO_SHIM */
export function isClockSynchronised(): boolean | undefined {
  const state = shim().hg_clock_state();
  return state < 0 ? undefined : state !== TIME_ERROR;
}
