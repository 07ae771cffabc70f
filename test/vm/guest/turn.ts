import { release } from 'node:os';

/** Of two things that take long, and that the lane's kernels do alike, each kernel has one: the first on 6.1. */
export const turn = <T>(first: T, second: T): T => (release().startsWith('6.1.') ? first : second);
