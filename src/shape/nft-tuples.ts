import type { Command } from '../model/index.ts';
import { type Family, formatAddress, type Tuple } from '../model/index.ts';
import { DOWNLOAD_MAJOR, formatHandle, TABLE } from './names.ts';

/** Names of the maps from an arriving tuple to a class, by family. */
export const TUPLE_MAPS: Readonly<Record<Family, string>> = { 4: 'flows4', 6: 'flows6' };

/** Tuples that each map holds at most. */
export const MAX_TUPLES = 65_536;

const ADDRESSES: Readonly<Record<Family, string>> = { 4: 'ipv4_addr', 6: 'ipv6_addr' };
const HEADERS: Readonly<Record<Family, string>> = { 4: 'ip', 6: 'ip6' };

const tupleType = (family: Family): string =>
  `${ADDRESSES[family]} . ${ADDRESSES[family]} . inet_proto . inet_service . inet_service`;
/** A tuple's type, as nft has it. */
export const TUPLE_TYPES: Readonly<Record<Family, string>> = { 4: tupleType(4), 6: tupleType(6) };

/** What a packet carries, as nft looks it up. */
export const tupleMatch = (family: Family): string =>
  `${HEADERS[family]} saddr . ${HEADERS[family]} daddr . meta l4proto . th sport . th dport`;

/** The declarations of the maps, for a table of family netdev. */
export const formatTupleMaps = (): string[] =>
  ([4, 6] as const).flatMap((family) => [
    `map ${TUPLE_MAPS[family]} {`,
    `  type ${TUPLE_TYPES[family]} : classid`,
    `  size ${MAX_TUPLES}`,
    '}',
  ]);

/** Which map a tuple is in, and how it is written there; undefined where its protocol has no ports. */
export interface MapKey {
  readonly family: Family;
  readonly text: string;
  /** Tells apart where the same tuple stands in several. */
  readonly place?: string | undefined;
}

export function mapKeyOf(protocol: number, tuple: Tuple): MapKey | undefined {
  const { source, destination, sourcePort, destinationPort } = tuple;
  if (sourcePort === undefined || destinationPort === undefined) return undefined;
  const family = source.length === 4 ? 4 : 6;
  const addresses = `${formatAddress(source)} . ${formatAddress(destination)}`;
  return { family, text: `${addresses} . ${protocol} . ${sourcePort} . ${destinationPort}` };
}

/** A tuple that is to have another class, or none. */
export interface TupleChange {
  readonly key: MapKey;
  /** What the map has now. */
  readonly from: number | undefined;
  readonly to: number | undefined;
}

/** The changes, all of them or none. */
export function changeTuples(changes: readonly TupleChange[]): Command {
  const lines = (verb: 'add' | 'delete', number: 'from' | 'to') =>
    ([4, 6] as const).flatMap((family) => {
      const elements = changes.flatMap(({ key, ...classes }) => {
        const value = classes[number];
        if (key.family !== family || value === undefined) return [];
        return [verb === 'delete' ? key.text : `${key.text} : ${formatHandle(DOWNLOAD_MAJOR, value)}`];
      });
      return elements.length > 0
        ? [`${verb} element netdev ${TABLE} ${TUPLE_MAPS[family]} { ${elements.join(', ')} }`]
        : [];
    });
  return nft([...lines('delete', 'from'), ...lines('add', 'to')]);
}

/** Empties both maps. */
export const flushTuples = (): Command =>
  nft(([4, 6] as const).map((family) => `flush map netdev ${TABLE} ${TUPLE_MAPS[family]}`));

const nft = (lines: readonly string[]): Command => ({ argv: ['nft', '-f', '-'], input: `${lines.join('\n')}\n` });
