import type { Rate } from '../model/index.ts';
import { handle, LEAF_MAJOR, LINK_MINOR, shaperMajor } from './names.ts';
import type { TreePlace } from './operation.ts';
import { rootMajor } from './tree-commands.ts';

/** A qdisc or class of a tree, as the kernel tells it (struct tcmsg, linux/rtnetlink.h). */
export interface TreeObject {
  readonly kind: string;
  readonly handle: number;
  readonly parent: number;
  readonly isClass: boolean;
  /** Of an HTB class: guaranteed and most, bit/s. */
  readonly rates?: { readonly rate: Rate; readonly ceil: Rate } | undefined;
}

/** TC_H_ROOT (linux/pkt_sched.h). */
export const ROOT = 0xffffffff;

/** What the kernel holds when the tree is there. Bands of prio and tins of cake are parts of their qdisc. */
export function treeObjects({ major, tree }: Omit<TreePlace, 'device'>): TreeObject[] {
  const qdisc = (kind: string, at: number, parent: number): TreeObject => ({
    kind,
    handle: handle(at, 0),
    parent,
    isClass: false,
  });
  const htbClass = (minor: number, parent: number, rates: TreeObject['rates']): TreeObject => ({
    kind: 'htb',
    handle: handle(major, minor),
    parent: parent === 0 ? ROOT : handle(major, parent),
    isClass: true,
    rates,
  });
  const { kind, rate, classes } = tree;
  const leaves = classes.flatMap(({ minor, leaf }) =>
    leaf ? [qdisc(leaf.kind, LEAF_MAJOR + minor, handle(major, minor))] : [],
  );
  const root = qdisc(kind === 'prio' ? 'tbf' : kind, rootMajor(tree, major), ROOT);
  if (kind === 'prio') return [root, qdisc('prio', major, handle(shaperMajor(major), 1)), ...leaves];
  if (kind === 'cake') return [root];
  return [
    root,
    htbClass(LINK_MINOR, 0, { rate, ceil: rate }),
    ...classes.map((c) => htbClass(c.minor, c.parent, { rate: c.rate, ceil: c.ceil })),
    ...leaves,
  ];
}
