import type { Command } from '../model/index.ts';
import type { RootPlace } from './root-qdisc.ts';
import type { FilterPlace, TcFilter } from './tc-filter.ts';
import type { Tree } from './tree.ts';

/**
 * One step towards the desired state, with its inverse. `undo` is given where the step leaves something that
 * the undo of no other step removes; it must succeed when the step was done, and do no harm when it was half done.
 */
export interface Operation {
  /** For people: what it does, in the present: "add ifb hg-wan". */
  readonly about: string;
  readonly command: Command;
  readonly undo?: Command | undefined;
  /** What becomes of the object. Absent: it is changed in place where the operation changes a policy in force, else added. */
  readonly does?: 'add' | 'change' | 'replace' | 'remove' | undefined;
  /** What it is about, where a plan has to tell; trees and ifbs are not told apart. */
  readonly of?: 'tables' | 'filters' | undefined;
  /** For people: the traffic that it touches, where it touches any. */
  readonly touches?: string | undefined;
  /** What changes in place, value by value. */
  readonly details?: readonly Detail[] | undefined;
  /** What the kernel must hold afterwards: some kernels take a filter and leave a part of it out. */
  readonly filters?: (FilterPlace & { readonly filters: readonly TcFilter[] }) | undefined;
  /** Likewise; classes that the tree has not may be there beside. */
  readonly tree?: TreePlace | undefined;
  /** Likewise: a root qdisc of somebody else's, or its copy. */
  readonly root?: RootPlace | undefined;
  /** What nothing is sent to any more, and what should have run empty before it is removed. */
  readonly empties?: Draining | undefined;
}

/** For people: a part of an object, and what of it becomes what. */
export interface Detail {
  /** "queue mine, class 7fe0:1". */
  readonly object: string;
  readonly values: readonly ValueChange[];
}

export interface ValueChange {
  /** As tc calls it: "rate". */
  readonly name: string;
  /** Absent: there was none, or there is none any more. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

/** A tree on a device. */
export interface TreePlace {
  readonly device: string;
  readonly major: number;
  readonly tree: Tree;
}

/** Classes of a device, by their handles, or all that waits on it. */
export interface Draining {
  readonly device: string;
  readonly classes?: readonly number[] | undefined;
}
