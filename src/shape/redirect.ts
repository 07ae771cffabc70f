import type { Command } from '../model/index.ts';
import { FILTER_PREF } from './names.ts';
import { batchAll, tc } from './tc-batch.ts';

/** Chains of our filters, behind chain 0. Rare, as all our numbers are, and ours whole. */
export const CHAINS = {
  /** Every packet: sorted by what it carries. */
  arrived: 0x7fe0,
  ipv4: 0x7fe1,
  ipv6: 0x7fe2,
  /** IP that is ours to queue: its flow is asked for. */
  asked: 0x7fe3,
  /** What is known of the flow picks the class. */
  known: 0x7fe4,
} as const;
const NUMBERS: readonly number[] = Object.values(CHAINS);

/** A filter that a datapath made on a device's ingress hook: by its rare numbers. */
export const isOurFilter = ({ kind, chain, pref }: { kind: string; chain: number; pref: number }): boolean =>
  NUMBERS.includes(chain) || (chain === 0 && pref === FILTER_PREF && (kind === 'bpf' || kind === 'u32'));

/** Lets arriving packets pass untouched again: all of them enter by one filter. */
export const removeRedirect = (device: string): Command => tc(...entry(device));

/** The same, and takes away the chains behind it. Fails where one is not there, when all others are gone. */
export const removeChains = (device: string, chains: readonly number[] = NUMBERS): Command =>
  batchAll([entry(device), ...chains.map((chain) => ['filter', 'del', 'dev', device, 'ingress', 'chain', `${chain}`])]);

const entry = (device: string): string[] => ['filter', 'del', 'dev', device, 'ingress', 'pref', `${FILTER_PREF}`];
