import type { Policy } from '../language/index.ts';
import type { Datapath } from './datapath.ts';
import { arrivalTable } from './datapath-map.ts';
import { effectOperations } from './effects.ts';
import { type LinkShape, linkOperations } from './link.ts';
import type { Hook, Ownership } from './names.ts';
import type { Operation } from './operation.ts';
import { tableOperation } from './table.ts';

/**
 * Everything that a policy puts into the kernel of a box that has nothing of it yet, in order: what `headgate up` does
 * there, but for what the process does as long as it runs.
 */
export function planOperations(policy: Policy, shapes: readonly LinkShape[], datapath: Datapath): Operation[] {
  return [
    tableOperation(policy, shapes, datapath),
    ...effectOperations(policy, shapes),
    ...(datapath.map ? [arrivalTable()] : []),
    ...shapes.flatMap((shape) => {
      const ownership = ownershipBefore(shape, shapes, datapath);
      const ifbs = new Map(ownership ? shape.ifbs.map(({ name }) => [name, ownership] as const) : []);
      const site = { ingressHook: false, ifbs };
      return linkOperations(shape, site, datapath);
    }),
  ];
}

/** What the alias of the ifbs that the link joins says by then; undefined for a link that joins none. */
function ownershipBefore(shape: LinkShape, shapes: readonly LinkShape[], { hook }: Datapath): Ownership | undefined {
  const owner = shapes.find(({ device }) => device === shape.shares);
  if (!owner) return undefined;
  const before = shapes.slice(0, shapes.indexOf(shape)).filter(({ shares }) => shares === shape.shares);
  const shared = before.map(({ device }): Hook => ({ device, clsact: hook }));
  return { link: owner.link, device: owner.device, clsact: hook, shared };
}
