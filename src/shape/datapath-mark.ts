import { markOfClass } from '../model/index.ts';
import type { ClassPlan, Datapath } from './datapath.ts';
import { chainsDatapath, goto, u32 } from './datapath-chains.ts';
import { filterNumbers } from './filter-set.ts';
import type { TcAction } from './tc-filter.ts';

/**
 * `mark`: an action copies the flow's conntrack mark to the packet's, fw picks the class by it, and the packet's mark is
 * cleared again, so that no rule of routing ever sees it.
 *
 * The mark is all that it knows: who opened the flow is in there too. Without an entry, or without our bits in it, a packet
 * is not known: the first of a connection, ICMP errors, later fragments.
 *
 * @param by ctinfo copies our bits, connmark all of them; the kernel may have either
 */
export function markDatapath(plan: ClassPlan, by: 'ctinfo' | 'connmark', generation: number): Datapath {
  const { field, count, byOrigin } = plan;
  const copy: TcAction = by === 'ctinfo' ? { kind: by, cpmark: field.mask } : { kind: by };
  return chainsDatapath(
    {
      name: 'mark',
      mark: 0,
      ask: (to) => [
        [{ chain: 'asked', protocol: 'all', match: u32(), actions: [copy, goto('known')] }],
        Array.from({ length: count }, (_, i) => ({
          chain: 'known',
          protocol: 'all',
          match: { kind: 'fw' as const, mark: markOfClass(field, i + 1), mask: field.mask },
          actions: to(i + 1),
        })),
        [{ chain: 'known', protocol: 'all', match: u32(), actions: to(byOrigin.new) }],
      ],
    },
    plan,
    filterNumbers(generation),
  );
}
