import { type Command, ORIGINS } from '../model/index.ts';
import { FILTER_PREF, PICK_PREF, SECOND_PICK_PREF } from './names.ts';
import { batch } from './tc-batch.ts';
import type { EntryFilter, FilterPlace } from './tc-filter.ts';

/** The rare numbers of one set of filters. There are two, so that another policy's can stand beside those in force. */
export interface FilterNumbers {
  /** Preference of the filter in chain 0 by which every packet enters. */
  readonly entry: number;
  /** Least preference of the filters behind it. */
  readonly behind: number;
  readonly chains: Readonly<Record<ChainName, number>>;
}

/**
 * `arrived`: every packet, sorted by what it carries; `ipv4`, `ipv6`: what is left alone is let go; `asked`: the flow is
 * asked for; `known`: what is known of it picks the class.
 */
export type ChainName = 'arrived' | 'ipv4' | 'ipv6' | 'asked' | 'known';

export const filterNumbers = (generation: number): FilterNumbers => NUMBERS[generation % 2]!;

const NUMBERS = [0, 1].map((set): FilterNumbers => {
  const first = FILTER_PREF + set * 8;
  return {
    entry: FILTER_PREF + set,
    behind: FILTER_PREF + 0x10 + set * 0x40,
    chains: { arrived: first, ipv4: first + 1, ipv6: first + 2, asked: first + 3, known: first + 4 },
  };
});
const ENTRIES = [
  ...NUMBERS.map(({ entry }) => entry),
  ...[PICK_PREF, SECOND_PICK_PREF].flatMap((first) => ORIGINS.map((_, place) => first + place)),
];
const CHAINS = NUMBERS.flatMap(({ chains }) => Object.values(chains));

/** By what a filter is known. */
export interface FilterSigns {
  readonly kind: string;
  readonly chain: number;
  readonly pref: number;
  /** BPF: the object's file and section. */
  readonly bpfName?: string | undefined;
  /** The chain that it sends packets to. */
  readonly goesTo?: number | undefined;
}

/** Of all versions; `steer` is the object before it is configured. */
const OUR_PROGRAM = /^(ingress|egress|sort|pick|steer)(-[0-9a-f]+)?\.bpf\.o:\[(ingress|egress|sort|pick|tin)\]$/;

/** A filter that a datapath made: by its rare numbers, and where packets enter by what they enter. */
export const isOurFilter = ({ kind, chain, pref, bpfName, goesTo }: FilterSigns): boolean =>
  CHAINS.includes(chain) ||
  (chain === 0 &&
    ENTRIES.includes(pref) &&
    (kind === 'bpf' ? OUR_PROGRAM.test(bpfName ?? '') : kind === 'u32' && CHAINS.includes(goesTo ?? 0)));

/** Removes what packets enter by, then the chains. All of it is tried, and it fails where something was not there. */
export function removeFilters(
  { device, parent }: FilterPlace,
  entries: readonly EntryFilter[],
  chains: readonly number[],
): Command {
  const at = ['filter', 'del', 'dev', device, ...(parent === 'ingress' ? [parent] : ['parent', parent])];
  const commands = [
    ...entries.map(({ pref, kind, handle }) => [
      ...[...at, 'pref', `${pref}`],
      ...(handle === 0 ? [] : ['handle', `0x${handle.toString(16)}`, kind]),
    ]),
    ...chains.map((chain) => [...at, 'chain', `${chain}`]),
  ];
  return batch('tc', commands, 'go on');
}
