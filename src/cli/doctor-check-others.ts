import { othersOn } from '../apply/index.ts';
import type { Concern } from '../model/index.ts';
import type { Evidence } from './doctor-evidence.ts';

/** What others have put where the tree and the redirect would go: shapers, filters, netdev chains. */
export function checkOthers({ scene, wants }: Evidence): Concern[] {
  return wants.links.flatMap(({ device }): Concern[] => {
    const { roots, filters, chains } = othersOn(scene, device);
    const ifbs = new Set(
      filters.flatMap(({ filter }) => filter?.actions.flatMap((a) => (a.kind === 'redirect' ? [a.device] : [])) ?? []),
    );
    return [
      ...roots.map(
        ({ kind, handle }): Concern => ({
          check: 'other-shaper',
          severity: 'problem',
          what: `${device} has a root qdisc of somebody else, ${kind} ${handle}: up refuses to shape what leaves`,
          advice: `stop who made it (sqm-scripts, NetworkManager, a unit of its own), or tc qdisc del dev ${device} root`,
        }),
      ),
      ...(filters.length > 0
        ? [
            {
              check: ifbs.size > 0 ? 'other-shaper' : 'ingress-filters',
              severity: 'problem',
              what:
                ifbs.size > 0
                  ? `what arrives on ${device} is redirected to ${[...ifbs].join(', ')} by somebody else: up refuses`
                  : `${device} has ingress filters of somebody else (${[...new Set(filters.map((f) => `pref ${f.pref} ${f.kind}`))].join(', ')}): up refuses`,
              advice: `look at them: tc filter show dev ${device} ingress`,
            } as const,
          ]
        : []),
      ...chains.map(
        ({ name }): Concern => ({
          check: 'netdev-ingress',
          severity: 'problem',
          what: `${name} sees what arrives on ${device} before the redirect: behind it, its rules would see nothing any more, so up refuses`,
          advice: 'move it to a prerouting chain, take --datapath map, or write `bypass netdev-ingress` into the link',
        }),
      ),
    ];
  });
}
