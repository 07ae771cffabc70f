import { ORIGINS, type Prefix, parseEnd, parsePrefix, prefixContains } from '../model/index.ts';
import { isOfFlows, KINDS, type MonitorEvent } from './items.ts';

/**
 * Which items a reader wants: of each key that is given one of the values. All keys but `kind` ask about flows; what is
 * about something else has to do with them all, and passes.
 */
export interface ItemFilter {
  /** Whole kinds, or with `*` at the end. */
  readonly kinds: readonly string[];
  readonly origins: readonly string[];
  readonly queues: readonly string[];
  readonly rules: readonly string[];
  /** One of its ends is in one of these. */
  readonly addresses: readonly Prefix[];
}

export const EVERYTHING: ItemFilter = { kinds: [], origins: [], queues: [], rules: [], addresses: [] };

/** What {@link parseFilter} reads: `origin=remote`, `queue=seed`, `rule=seeders`, `address=10.0.0.0/8`, `kind=flow.*`. */
export const FILTER_KEYS = ['origin', 'queue', 'rule', 'address', 'kind'] as const;

/** Reads a filter; a text says what is wrong with it. */
export function parseFilter(pairs: Iterable<readonly [key: string, value: string]>): ItemFilter | string {
  const given: Record<(typeof FILTER_KEYS)[number], string[]> = {
    origin: [],
    queue: [],
    rule: [],
    address: [],
    kind: [],
  };
  for (const [key, value] of pairs) {
    if (!Object.hasOwn(given, key)) return `there is no filter by ${key}, but by ${FILTER_KEYS.join(', ')}`;
    given[key as keyof typeof given].push(value);
  }
  const wrong = given.origin.find((one) => !(ORIGINS as readonly string[]).includes(one));
  if (wrong !== undefined) return `origin=${wrong}: an origin is ${ORIGINS.join(', ')}`;
  const none = given.kind.find((one) => !KINDS.some((kind) => isKind(one, kind)));
  if (none !== undefined) return `kind=${none}: a kind is ${KINDS.join(', ')}, or how they begin and * (flow.*)`;
  const addresses: Prefix[] = [];
  for (const text of given.address) {
    const prefix = parsePrefix(text);
    if (!prefix) return `address=${text}: write an address, or a prefix such as 10.0.0.0/8`;
    addresses.push(prefix);
  }
  return { kinds: given.kind, origins: given.origin, queues: given.queue, rules: given.rule, addresses };
}

/** Whether somebody who reads by it wants items of flows, so that they have to be made. */
export const wantsFlows = ({ kinds }: Pick<ItemFilter, 'kinds'>): boolean =>
  kinds.length === 0 || kinds.some((one) => KINDS.some((kind) => isOfFlows({ kind }) && isKind(one, kind)));

/** Whether a reader by this filter gets the event. What is about the stream itself, it always does. */
export function isWanted({ kinds, origins, queues, rules, addresses }: ItemFilter, event: MonitorEvent): boolean {
  if (event.kind === 'gap' || event.kind === 'stream') return true;
  if (event.kind === 'flows') return wantsFlows({ kinds });
  if (kinds.length > 0 && !kinds.some((kind) => isKind(kind, event.kind))) return false;
  if (!isFlow(event)) return true;
  return (
    (origins.length === 0 || origins.includes(event.origin)) &&
    (queues.length === 0 || queues.includes(event.queue) || queues.includes(event.before?.queue ?? '')) &&
    (rules.length === 0 || rules.includes(event.rule ?? '') || rules.includes(event.before?.rule ?? '')) &&
    (addresses.length === 0 || [event.local, event.remote].some((end) => isIn(addresses, end)))
  );
}

const isFlow = (event: MonitorEvent): event is Extract<MonitorEvent, { readonly origin: string }> =>
  isOfFlows(event) && 'origin' in event;

const isKind = (pattern: string, kind: string): boolean =>
  pattern.endsWith('*') ? kind.startsWith(pattern.slice(0, -1)) : kind === pattern;

function isIn(prefixes: readonly Prefix[], end: string): boolean {
  const address = parseEnd(end)?.address;
  return address !== undefined && prefixes.some((prefix) => prefixContains(prefix, address));
}
