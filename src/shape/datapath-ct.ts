import { formatMark, markOfClass } from '../model/index.ts';
import type { ClassPlan, Datapath } from './datapath.ts';
import { chainsDatapath, type Draft, goto, u32 } from './datapath-chains.ts';
import { filterNumbers } from './filter-set.ts';
import type { TcAction } from './tc-filter.ts';

/**
 * `ct`: act_ct looks the flow up, flower reads what it found: the mark, or else the direction.
 *
 * A flow that nothing has answered yet is `+new` in either case, whether conntrack has its entry or not; so every flow is
 * marked with its class as soon as it has one. Fragments are kept away: act_ct puts them together, mirred takes
 * them apart again, and the ifb drops all but the first. They are not known then.
 *
 * On a link that says `conntrack create`, act_ct also keeps the entry of a packet that opens a flow: its direction is known
 * then, and is `remote`. Else that entry is thrown away, and netfilter makes it behind the ifb.
 */
export function ctDatapath(plan: ClassPlan, generation: number): Datapath {
  const { field, count, byOrigin, creates } = plan;
  const known = (keys: Readonly<Record<string, string>>, actions: readonly TcAction[]): Draft => ({
    chain: 'known',
    protocol: 'all',
    match: { kind: 'flower', keys },
    actions,
  });
  const mask = formatMark(field.mask);
  return chainsDatapath(
    {
      name: 'ct',
      ask: (to, device) => [
        [{ ...known({ ip_flags: 'frag' }, to(byOrigin.new)), chain: 'asked' }],
        [
          {
            chain: 'asked',
            protocol: 'all',
            match: u32(),
            actions: [{ kind: 'ct', ...(creates.has(device) && { commit: true }) }, goto('known')],
          },
        ],
        Array.from({ length: count }, (_, i) =>
          known({ ct_state: '+trk', ct_mark: `${formatMark(markOfClass(field, i + 1))}/${mask}` }, to(i + 1)),
        ),
        ['est', 'rel'].map((state) => known({ ct_state: `+trk+${state}+rpl` }, to(byOrigin.local))),
        ['est', 'rel', ...(creates.has(device) ? ['new'] : [])].map((state) =>
          known({ ct_state: `+trk+${state}-rpl` }, to(byOrigin.remote)),
        ),
        [{ chain: 'known', protocol: 'all', match: u32(), actions: to(byOrigin.new) }],
      ],
    },
    plan,
    filterNumbers(generation),
  );
}
