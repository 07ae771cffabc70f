import type { ClassPlan, Datapath, DatapathName } from './datapath.ts';
import { type ChainName, type FilterNumbers, removeFilters } from './filter-set.ts';
import { aboutRedirect, ifbOfClass } from './ifb.ts';
import { LEFT_ALONE_U32 } from './left-alone.ts';
import { DOWNLOAD_MAJOR, formatHandle, UPLOAD_MAJOR } from './names.ts';
import type { Operation } from './operation.ts';
import {
  addFilters,
  type EntryFilter,
  type FilterPlace,
  type TcAction,
  type TcFilter,
  type TcMatch,
  type U32Key,
} from './tc-filter.ts';
import type { Tree } from './tree.ts';

/** A filter without the numbers that its set has. */
export interface Draft extends Omit<TcFilter, 'pref' | 'chain' | 'actions'> {
  readonly chain: ChainName;
  readonly actions: readonly (TcAction | GoTo)[];
}
interface GoTo {
  readonly kind: 'goto';
  readonly chain: ChainName;
}
/** Filters side by side: of one kind, one chain and one protocol, and none of them fits what another fits. */
export type Group = readonly Draft[];

type Then = Pick<Draft, 'classid' | 'actions'>;

/** What a datapath of chains does with IP that is ours to queue. */
export interface Lookup {
  readonly name: DatapathName;
  /**
   * Groups in the chains `asked` and `known`, which together let no packet through to their end.
   * @param to the actions that send a packet to the ifb in the class of that number
   * @param device where it arrives
   */
  readonly ask: (to: (number: number) => TcAction[], device: string) => readonly Group[];
  /** Written to the packet's mark on its way to the ifb. */
  readonly mark?: number | undefined;
}

/**
 * A datapath of tc's own classifiers: one filter lets every packet in, chains sort out what is left alone, ask conntrack
 * for the flow, and pick the class. What leaves gets its class from our nft table; filters catch the IP that has passed by
 * it (on a bridge, through a flowtable, to a VLAN of the device), so that nothing gets past the queues.
 */
export function chainsDatapath(
  { name, ask, mark }: Lookup,
  { byOrigin, field }: ClassPlan,
  numbers: FilterNumbers,
): Datapath {
  const entries: readonly EntryFilter[] = [{ pref: numbers.entry, kind: 'u32', handle: 0 }];
  const removal = (place: FilterPlace) => removeFilters(place, entries, Object.values(numbers.chains));
  const adding = (about: string, place: FilterPlace, groups: readonly Group[]): Operation => {
    const filters = number(groups, numbers);
    return { about, command: addFilters(place, filters), undo: removal(place), filters: { ...place, filters } };
  };
  return {
    name,
    field,
    hook: true,
    map: false,
    marksOrigin: true,
    leavesByNft: true,
    inPlace: false,
    entries,
    redirect(device, ifbs) {
      const to = (number: number): TcAction[] => [
        { kind: 'skbedit', priority: formatHandle(DOWNLOAD_MAJOR, number), mark },
        { kind: 'redirect', device: ifbOfClass(ifbs, number).name },
      ];
      const groups = [...sort({ actions: [goto('asked')] }, { actions: to(byOrigin.new) }), ...ask(to, device)];
      return adding(aboutRedirect(device, ifbs), { device, parent: 'ingress' }, groups);
    },
    unredirect: (device) => removal({ device, parent: 'ingress' }),
    classifyLeaving(device, tree) {
      if (!takesFilters(tree)) return undefined;
      const unknown = { classid: formatHandle(UPLOAD_MAJOR, byOrigin.new), actions: [] };
      const place = { device, parent: formatHandle(UPLOAD_MAJOR) };
      return adding(`catch what leaves ${device} past nft`, place, sort(unknown, unknown));
    },
  };
}

/** A filter of cake's chooses a flow, not a class. */
const takesFilters = ({ kind }: Tree): boolean => kind === 'htb' || kind === 'prio';

export const goto = (chain: ChainName): GoTo => ({ kind: 'goto', chain });
export const u32 = (...keys: readonly U32Key[]): TcMatch => ({ kind: 'u32', keys });

/** The filters in the order in which they are made: last the one that lets packets in. */
function number(groups: readonly Group[], { entry, behind, chains }: FilterNumbers): TcFilter[] {
  const actionOf = (action: TcAction | GoTo): TcAction =>
    action.kind === 'goto' && typeof action.chain === 'string'
      ? { ...action, chain: chains[action.chain] }
      : (action as TcAction);
  const filters = groups.flatMap((group, i) =>
    group.map((draft) => ({
      ...draft,
      pref: behind + i,
      chain: chains[draft.chain],
      actions: draft.actions.map(actionOf),
    })),
  );
  const goIn = { kind: 'goto', chain: chains.arrived } as const;
  return [...filters, { chain: 0, pref: entry, protocol: 'all', match: u32(), actions: [goIn] }];
}

const ETHERTYPES = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100, qinq: 0x88a8, pppoe: 0x8864 } as const;
const PPP = { ipv4: 0x0021, ipv6: 0x0057 } as const;
const FAMILIES = ['ipv4', 'ipv6'] as const;

/**
 * Sorts packets by what they carry: IP, also behind one VLAN tag, goes to `ip` unless it is left alone; IP that lies too
 * deep for these classifiers (two tags, PPPoE) to `opaque`; all else passes.
 *
 * A tag that the device has taken off leaves the inner ethertype in front of the network header (skb_vlan_untag()).
 */
function sort(ip: Then, opaque: Then): Group[] {
  const arrived = (protocol: string, keys: readonly U32Key[], then: Then): Draft => ({
    chain: 'arrived',
    protocol,
    match: u32(...keys),
    ...then,
  });
  const half = (at: number, value: number): U32Key => ({ at, mask: 0x0000ffff, value });
  const toFamily = (family: (typeof FAMILIES)[number]): Then => ({ actions: [goto(family)] });
  const tagged = (protocol: string): Group =>
    FAMILIES.flatMap((family) => [
      arrived(protocol, [half(-4, ETHERTYPES[family])], toFamily(family)),
      arrived(protocol, [half(-4, ETHERTYPES.vlan), half(0, ETHERTYPES[family])], opaque),
      arrived(protocol, [half(-4, ETHERTYPES.qinq), half(0, ETHERTYPES[family])], opaque),
      arrived(protocol, [half(-4, ETHERTYPES.pppoe), half(4, PPP[family])], opaque),
    ]);
  const session: U32Key = { at: 0, mask: 0xffff0000, value: 0x11000000 };
  return [
    [arrived('ip', [], toFamily('ipv4'))],
    [arrived('ipv6', [], toFamily('ipv6'))],
    tagged('802.1Q'),
    tagged('802.1ad'),
    FAMILIES.map((family) => arrived('ppp_ses', [session, half(4, PPP[family])], opaque)),
    ...FAMILIES.flatMap((chain): Group[] => {
      const alone = LEFT_ALONE_U32[chain].map((keys): Draft => {
        return { chain, protocol: 'all', match: u32(...keys), actions: [{ kind: 'pass' }] };
      });
      return [alone, [{ chain, protocol: 'all', match: u32(), ...ip }]];
    }),
  ];
}
