import { type Command, ORIGINS } from '../model/index.ts';
import { FILTER_PREF, PICK_PREF, SECOND_PICK_PREF } from './names.ts';
import { batch } from './tc-batch.ts';
import type { FilterPlace } from './tc-filter.ts';

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

/** A filter that a datapath made on a device's ingress hook: by its rare numbers. */
export const isOurFilter = ({ kind, chain, pref }: { kind: string; chain: number; pref: number }): boolean =>
  CHAINS.includes(chain) || (chain === 0 && ENTRIES.includes(pref) && (kind === 'bpf' || kind === 'u32'));

/** Removes what packets enter by, then the chains. All of it is tried, and it fails where something was not there. */
export function removeFilters(
  { device, parent }: FilterPlace,
  entries: readonly number[],
  chains: readonly number[],
): Command {
  const at = ['filter', 'del', 'dev', device, ...(parent === 'ingress' ? [parent] : ['parent', parent])];
  const commands = [
    ...entries.map((pref) => [...at, 'pref', `${pref}`]),
    ...chains.map((chain) => [...at, 'chain', `${chain}`]),
  ];
  return batch('tc', commands, 'go on');
}
