import { type Command, formatMark } from '../model/index.ts';
import { batch } from './tc-batch.ts';

/** A tc filter of ours, as a value: it is written to the kernel, and compared with what the kernel says it holds. */
export interface TcFilter {
  /** Chain 0 is where packets begin. */
  readonly chain: number;
  /** Two filters of one device have the same only if they stand side by side: u32 mixes up its tables by it, whatever the chain. */
  readonly pref: number;
  /** As tc names it: `all`, `ip`, `802.1Q`. */
  readonly protocol: string;
  readonly match: TcMatch;
  /** The class that it picks, where it stands at a qdisc with classes. */
  readonly classid?: string | undefined;
  readonly actions: readonly TcAction[];
}

export type TcMatch =
  /** All keys must fit (tc-u32(8)); none: every packet. */
  | { readonly kind: 'u32'; readonly keys: readonly U32Key[] }
  /** Keys and values as tc-flower(8) takes them. */
  | { readonly kind: 'flower'; readonly keys: Readonly<Record<string, string>> }
  /** By the packet's mark (tc-fw(8)). */
  | { readonly kind: 'fw'; readonly mark: number; readonly mask: number }
  /** What a program says. */
  | { readonly kind: 'bpf'; readonly object: string; readonly section: string };

/** 32 bits of the packet, at bytes from the network header, which are a multiple of four. */
export interface U32Key {
  readonly value: number;
  readonly mask: number;
  readonly at: number;
}

export type TcAction =
  /** Ends the filters: on it goes, as if there were none. */
  | { readonly kind: 'pass' }
  | { readonly kind: 'goto'; readonly chain: number }
  /** Looks the packet up in conntrack (tc-ct(8)); defragments it. `commit`: an entry that there was not is made. */
  | { readonly kind: 'ct'; readonly commit?: true | undefined }
  /** Copies these bits of the conntrack mark to the packet's mark (tc-ctinfo(8)). */
  | { readonly kind: 'ctinfo'; readonly cpmark: number }
  /** Copies the whole conntrack mark to the packet's (tc-connmark(8)). */
  | { readonly kind: 'connmark' }
  | { readonly kind: 'skbedit'; readonly priority: string; readonly mark?: number | undefined }
  | { readonly kind: 'redirect'; readonly device: string };

/** A filter that packets enter by, in chain 0, protocol all, as it is removed. */
export interface EntryFilter {
  readonly pref: number;
  readonly kind: string;
  /** 0: all of that kind and preference, since the kernel has chosen the handle. */
  readonly handle: number;
}

/** Of a filter of `bpf`: where somebody puts another beside it, that one has another. */
export const BPF_HANDLE = 1;

/** Where filters stand: the ingress hook of a device, or one of its qdiscs, such as `7fe1:`. */
export interface FilterPlace {
  readonly device: string;
  readonly parent: string;
}

/** Adds filters in order; of the first that fails, and those behind it, nothing is there. */
export const addFilters = (place: FilterPlace, filters: readonly TcFilter[]): Command =>
  batch(
    'tc',
    filters.map((filter) => ['filter', 'add', ...filterArguments(place, filter)]),
  );

/** What stands behind `tc filter add`. */
export function filterArguments(
  { device, parent }: FilterPlace,
  { chain, pref, protocol, match, classid, actions }: TcFilter,
): string[] {
  return [
    ...['dev', device, ...(parent === 'ingress' ? [parent] : ['parent', parent])],
    ...['protocol', protocol, ...(chain === 0 ? [] : ['chain', `${chain}`]), 'pref', `${pref}`],
    ...matchArguments(match),
    ...(classid === undefined ? [] : ['classid', classid]),
    ...actions.flatMap((action, i) => [
      'action',
      ...actionArguments(action),
      ...(i + 1 < actions.length ? ['pipe'] : []),
    ]),
  ];
}

function matchArguments(match: TcMatch): string[] {
  switch (match.kind) {
    case 'u32':
      return ['u32', ...(match.keys.length > 0 ? match.keys : [ANY]).flatMap((key) => ['match', ...keyArguments(key)])];
    case 'flower':
      // A card that took over a part of this would see none of the rest.
      return ['flower', 'skip_hw', ...Object.entries(match.keys).flat()];
    case 'fw':
      return ['handle', `${formatMark(match.mark)}/${formatMark(match.mask)}`, 'fw'];
    case 'bpf':
      return ['handle', `${BPF_HANDLE}`, 'bpf', 'object-file', match.object, 'section', match.section];
  }
}

const ANY: U32Key = { value: 0, mask: 0, at: 0 };
const keyArguments = ({ value, mask, at }: U32Key): string[] => [
  'u32',
  formatMark(value),
  formatMark(mask),
  'at',
  `${at}`,
];

function actionArguments(action: TcAction): string[] {
  switch (action.kind) {
    case 'pass':
    case 'connmark':
      return [action.kind];
    case 'ct':
      return ['ct', ...(action.commit ? ['commit'] : [])];
    case 'goto':
      return ['goto', 'chain', `${action.chain}`];
    case 'ctinfo':
      return ['ctinfo', 'cpmark', formatMark(action.cpmark)];
    case 'skbedit':
      return ['skbedit', 'priority', action.priority, ...(action.mark === undefined ? [] : ['mark', `${action.mark}`])];
    case 'redirect':
      return ['mirred', 'egress', 'redirect', 'dev', action.device];
  }
}

/** The filter in one line, for people, and to compare: what two filters say is equal where they do the same. */
export function describeFilter({ chain, pref, protocol, match, classid, actions }: TcFilter): string {
  const does = [
    ...(classid === undefined ? [] : [`classid ${classid}`]),
    ...actions.map((action) => actionArguments(action).join(' ')),
  ];
  return `chain ${chain} pref ${pref} protocol ${protocol} ${describeMatch(match)}: ${does.join(', ')}`;
}

function describeMatch(match: TcMatch): string {
  if (match.kind === 'bpf') return `bpf ${match.section}`;
  return matchArguments(match).join(' ');
}
