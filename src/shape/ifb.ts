import type { Tree } from './tree.ts';

/** An ifb, and the tree on it, where the queues wait that its classes are. */
export interface IfbShape {
  readonly name: string;
  readonly tree: Tree;
}

/** What arrives on a device, and where it is sent. */
export interface Redirect {
  readonly device: string;
  readonly ifbs: readonly IfbShape[];
}

/** The one of a link's ifbs that has the class of this number. */
export const ifbOfClass = (ifbs: readonly IfbShape[], number: number): IfbShape =>
  ifbs.find(({ tree }) => tree.classes.some(({ minor }) => minor === number)) ?? ifbs[0]!;

/** For people. */
export const aboutRedirect = (device: string, ifbs: readonly IfbShape[]): string =>
  `redirect what arrives on ${device} to ${ifbs.map(({ name }) => name).join(', ')}`;
