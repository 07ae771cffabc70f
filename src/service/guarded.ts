import { ifbsOf, isOurChain, isRedirected, type Scene } from '../apply/index.ts';
import type { DeviceRef, GuardedRedirect } from '../kernel/index.ts';
import { arrivalChain, type Datapath, isOurFilter, type LinkShape } from '../shape/index.ts';

/** How the redirect of a link is taken away once nobody watches over it, and for which ifbs' sake. */
export function guardedOf(
  shape: LinkShape,
  { entries, chainOf }: Pick<Datapath, 'entries' | 'chainOf'>,
  device: DeviceRef,
  ifbs: readonly DeviceRef[],
): GuardedRedirect[] {
  if (shape.ifbs.length === 0) return [];
  const filters = entries.map((filter): GuardedRedirect => ({ kind: 'filter', device, filter, ifbs }));
  return chainOf ? [...filters, { kind: 'chain', chain: chainOf(shape.device), ifbs }] : filters;
}

/** A link that is about to be made, by the names that its devices will have. */
export const guardedByName = (shape: LinkShape, datapath: Datapath): GuardedRedirect[] =>
  guardedOf(
    shape,
    datapath,
    shape.device,
    shape.ifbs.map(({ name }) => name),
  );

/** The redirects of ours that are there, as the kernel tells. */
export const listGuarded = (scene: Scene): GuardedRedirect[] =>
  scene.devices.flatMap(({ name, index: device }) => {
    if (!isRedirected(scene, name)) return [];
    const ifbs = ifbsOf(scene, name).map((ifb) => ifb.device.index);
    const ours = scene.hooks.get(name)?.ingress.filter((filter) => filter.chain === 0 && isOurFilter(filter)) ?? [];
    const filters = ours.map(({ pref, kind, handle = 0 }): GuardedRedirect => {
      return { kind: 'filter', device, filter: { pref, kind, handle: kind === 'bpf' ? handle : 0 }, ifbs };
    });
    const chained = scene.chains.some((chain) => chain.device === name && isOurChain(scene, chain));
    return chained ? [...filters, { kind: 'chain', chain: arrivalChain(name), ifbs }] : filters;
  });
