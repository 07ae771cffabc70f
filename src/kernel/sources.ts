import { Observable } from 'rxjs';
import { COPIER_OBJECT } from './built.ts';
import { kernelError } from './shim/error.ts';
import { ConntrackBatch, FlowRecord } from './shim/flow-record.ts';
import { FLOW, KIND, type Layout, LINK, PACKET, PAYLOAD } from './shim/layout.ts';
import type { Pointer, Shim } from './shim/library.ts';
import { type LinkItem, readLinkItem } from './shim/link-record.ts';
import { type PacketItem, readPacket } from './shim/packet-record.ts';
import { type PayloadItem, readPayload } from './shim/payload-record.ts';
import { Records } from './shim/records.ts';
import { Source, type SourceStats } from './shim/source.ts';

/** Most records in one emission; between two, the event loop has its turn. */
export const MAX_BATCH = 256;
/** The same of payloads, which are large. */
const MAX_PAYLOADS = 64;
/** Records that wait in the shim before it stops reading its socket. */
export const DEFAULT_RING = 16_384;
/** Bytes that wait in the kernel before it drops: 16,000 to 32,000 events in a ring, 6,000 at a socket. */
export const DEFAULT_RECEIVE_BUFFER = 8 << 20;
/** With every overrun the buffer of conntrack events doubles, up to this; a ring, which holds more in as many bytes, up to half of it. */
export const MOST_RECEIVE_BUFFER = 64 << 20;

export interface SourceOptions {
  /** Path of a network namespace, such as /run/netns/box; absent: ours. */
  readonly netns?: string | undefined;
  /** Records, rounded up to a power of two, at least 64; default {@link DEFAULT_RING}. */
  readonly ring?: number | undefined;
  /** Called once when the source is open, with a way to look at its statistics as long as it is. */
  readonly opened?: ((getStats: () => SourceStats) => void) | undefined;
}

export type ConntrackGroup = 'new' | 'update' | 'destroy';

export interface ConntrackEventOptions extends SourceOptions {
  /** What to hear of; default: all. Each costs the kernel about a microsecond a flow: ask for what is needed. */
  readonly groups?: readonly ConntrackGroup[] | undefined;
  /** Bytes; default {@link DEFAULT_RECEIVE_BUFFER}. Above net.core.rmem_max it needs CAP_NET_ADMIN. */
  readonly receiveBuffer?: number | undefined;
  /** What it may grow to; default {@link MOST_RECEIVE_BUFFER}. */
  readonly mostBuffer?: number | undefined;
  /** Receives by the socket alone, not by a ring; default: by a ring, where the rights and the kernel allow it. */
  readonly bySocket?: boolean | undefined;
  /** Flows between loopback addresses, too; by default the kernel keeps them from us, since they cross no link. */
  readonly loopback?: boolean | undefined;
}

export interface ConntrackDumpOptions extends SourceOptions {
  /** Default: both. */
  readonly family?: 4 | 6 | undefined;
  /** Only entries with (mark & mask) == value; the kernel picks them. */
  readonly mark?: { readonly value: number; readonly mask: number } | undefined;
  /** Only entries that have all these bits (IPS_*); kernels before 5.18 tell of all. */
  readonly status?: number | undefined;
  /** Dumps to begin at most, where the kernel calls them interrupted; default 3. */
  readonly attempts?: number | undefined;
}

export interface PacketSampleOptions extends SourceOptions {
  /** The number in the rule's `log group N`. One listener a group. */
  readonly group: number;
  /** Bytes; default {@link DEFAULT_RECEIVE_BUFFER}. */
  readonly receiveBuffer?: number | undefined;
}

/** HG_NO_LOOPBACK. */
const NO_LOOPBACK = 16;
const GROUPS: Readonly<Record<ConntrackGroup, number>> = { new: 1, update: 2, destroy: 4 };
const AF = { any: 0, 4: 2, 6: 10 } as const;

/**
 * Follows conntrack events (`conntrack -E`). Batches come in order, with overruns as records in their place: behind
 * one nothing is missing, so a dump begun on seeing it makes good what was lost. A batch is valid only while its
 * handler runs. Unsubscribing ends the thread and closes the socket before it returns.
 *
 * Events need a rule that uses `ct` in that namespace, and the sysctl nf_conntrack_events other than 0.
 * Errors with HeadgateError: HG_NO_SHIM, HG_NOT_ROOT, HG_KERNEL; never for loss.
 */
export function conntrackEvents(options: ConntrackEventOptions = {}): Observable<ConntrackBatch> {
  const { netns = null, ring = DEFAULT_RING, receiveBuffer = DEFAULT_RECEIVE_BUFFER } = options;
  const { mostBuffer = MOST_RECEIVE_BUFFER, loopback = false, bySocket = false } = options;
  const copier = bySocket ? null : COPIER_OBJECT;
  const groups = (options.groups ?? ['new', 'update', 'destroy']).reduce(
    (bits, group) => bits | GROUPS[group],
    loopback ? 0 : NO_LOOPBACK,
  );
  return observe(
    'following conntrack events',
    FLOW,
    options,
    (shim, error) => shim.hg_conntrack_open(netns, groups, receiveBuffer, mostBuffer, copier, ring, error),
    flowBatches,
  );
}

/**
 * Reads the conntrack table (`conntrack -L`) on a socket of its own, and completes. Its records: `dumpStart`, then
 * `dumped`, then `dumpEnd` with the number of attempts in `count` and `interrupted`. An interrupted dump begins again
 * with another `dumpStart`: what it tells may have been told before.
 */
export function conntrackDump(options: ConntrackDumpOptions = {}): Observable<ConntrackBatch> {
  const { netns = null, ring = DEFAULT_RING, family = 'any', mark, status = 0, attempts = 3 } = options;
  return observe(
    'listing conntrack entries',
    FLOW,
    options,
    (shim, error) =>
      shim.hg_conntrack_dump(netns, AF[family], mark?.value ?? 0, mark?.mask ?? 0, status, attempts, ring, error),
    flowBatches,
  );
}

/** Receives the packets that nft's `log group N` sends up. Errors with HG_KERNEL, EBUSY where another listens already. */
export function packetSamples(options: PacketSampleOptions): Observable<readonly PacketItem[]> {
  const { netns = null, ring = DEFAULT_RING, receiveBuffer = DEFAULT_RECEIVE_BUFFER, group } = options;
  return observe(
    `receiving packets of log group ${group}`,
    PACKET,
    options,
    (shim, error) => shim.hg_packets_open(netns, group, receiveBuffer, ring, error),
    items(readPacket),
  );
}

/**
 * Receives what the packets of UDP and TCP carry that nft's `log group N` sends up: their first 4096 bytes. A ring is
 * 256 of them where none is asked for. Errors as {@link packetSamples}.
 */
export function packetPayloads(options: PacketSampleOptions): Observable<readonly PayloadItem[]> {
  const { netns = null, ring = 256, receiveBuffer = DEFAULT_RECEIVE_BUFFER, group } = options;
  return observe(
    `receiving packets of log group ${group}`,
    PAYLOAD,
    options,
    (shim, error) => shim.hg_payloads_open(netns, group, receiveBuffer, ring, error),
    items(readPayload),
  );
}

/**
 * Tells links, addresses and routes of the main table, then what becomes of them (`ip monitor`), and what tc loses
 * (`tc monitor`). Starts with `restart`.
 */
export function linkEvents(options: SourceOptions = {}): Observable<readonly LinkItem[]> {
  const { netns = null, ring = DEFAULT_RING } = options;
  return observe(
    'following links',
    LINK,
    options,
    (shim, error) => shim.hg_links_open(netns, ring, error),
    items(readLinkItem),
  );
}

/** Tells what nftables loses from now on (`nft monitor destroy`). */
export function tableEvents(options: SourceOptions = {}): Observable<readonly LinkItem[]> {
  const { netns = null, ring = DEFAULT_RING } = options;
  return observe(
    'following tables',
    LINK,
    options,
    (shim, error) => shim.hg_tables_open(netns, ring, error),
    items(readLinkItem),
  );
}

type Decoder<T> = (count: number) => T;

function flowBatches(records: Records): Decoder<ConntrackBatch> {
  const record = new FlowRecord(records);
  return (count) => new ConntrackBatch(record, count);
}

const items =
  <T>(read: (records: Records, index: number) => T | undefined) =>
  (records: Records): Decoder<readonly T[]> =>
  (count) => {
    const decoded: T[] = [];
    for (let i = 0; i < count; i++) {
      const item = read(records, i);
      if (item !== undefined) decoded.push(item);
    }
    return decoded;
  };

const { kind: KIND_FIELD, count: COUNT_FIELD } = FLOW.fields.head;

function observe<T>(
  doing: string,
  layout: Layout,
  options: SourceOptions,
  open: (shim: Shim, error: Buffer) => Pointer | null,
  decoderOf: (records: Records) => Decoder<T>,
): Observable<T> {
  return new Observable<T>((subscriber) => {
    const most = layout === PAYLOAD ? MAX_PAYLOADS : MAX_BATCH;
    const records = new Records(layout.size, most);
    const decode = decoderOf(records);
    let turn: NodeJS.Immediate | undefined;
    const pump = () => {
      turn = undefined;
      const count = source.take(records);
      if (count === 0) return;
      // Read before the emission, for a handler may do as it likes with its batch: how the source stands after it.
      const last = (count - 1) * layout.size;
      const kind = records.u16(last, KIND_FIELD);
      const errno = records.u32(last, COUNT_FIELD);
      subscriber.next(decode(count));
      if (kind === KIND.failed) subscriber.error(kernelError(doing, errno, 'recvmmsg'));
      else if (kind === KIND.dumpEnd && layout === FLOW) subscriber.complete();
      else if (count === most && !subscriber.closed) turn = setImmediate(pump);
    };
    const source = new Source(doing, open, () => {
      if (turn === undefined) pump();
    });
    options.opened?.(() => source.getStats());
    return () => {
      clearImmediate(turn);
      source.close();
    };
  });
}
