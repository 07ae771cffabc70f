import { release } from 'node:os';

/**
 * Of things that take long, and that the lane's kernels do alike, each kernel has some: the first ones on 6.1. With
 * `npm run test:vm -- --every` each has all.
 */
export function turn<const A, const B>(first: readonly A[], second: readonly B[]): readonly (A | B)[] {
  if (process.env.HG_EVERY) return [...first, ...second];
  return release().startsWith('6.1.') ? first : second;
}
