import { type Finding, formatAddress, HeadgateError } from '../model/index.ts';
import { tryOut } from './probe-finding.ts';
import type { SysctlFindings } from './probe-load.ts';
import { LOG_GROUP, MARK } from './probe-nft.ts';
import { describeErrno } from './shim/error.ts';
import { ConntrackBatch, FlowRecord, MARK_GONE, MARK_WRITTEN, MarkBatch, MarkWriter } from './shim/index.ts';
import { FLOW, KEY_BYTES, type Layout, PACKET } from './shim/layout.ts';
import type { Pointer, Shim } from './shim/library.ts';
import { readPacket } from './shim/packet-record.ts';
import { Records } from './shim/records.ts';
import { Source } from './shim/source.ts';

/** HG_GROUP_NEW of native-shim/include/headgate.h. */
const GROUP_NEW = 1;

export interface ConntrackTrial {
  /** Path of the scratch namespace. */
  readonly netns: string;
  /** Of the device to which a flow will be opened. */
  readonly address: string;
  /** Opens it, and sends a packet to the NFLOG group. */
  send(): Promise<void>;
  /** Ms in which what was caused has to arrive. */
  readonly patience: number;
  /** What came of setting the sysctls. */
  readonly sysctls: SysctlFindings;
}

/**
 * Tries what the pipeline listens to, with the shim that it uses: a flow's event, a packet of the NFLOG group
 * (`packet`), the flow's entry with counters and start; then a mark is written to it and read back.
 */
export async function probeConntrack(trial: ConntrackTrial) {
  const { netns, send, sysctls, patience } = trial;
  // Both listen before the flow is opened.
  const event = tryOut(() =>
    firstOf(
      'following conntrack events',
      FLOW,
      (shim, error) => shim.hg_conntrack_open(netns, GROUP_NEW, 0, 0, null, 64, error),
      patience,
      (records, count) => {
        for (const { kind } of new ConntrackBatch(new FlowRecord(records), count)) if (kind === 'new') return true;
        return undefined;
      },
    ),
  );
  const packet = tryOut(() =>
    firstOf(
      `receiving packets of log group ${LOG_GROUP}`,
      PACKET,
      (shim, error) => shim.hg_packets_open(netns, LOG_GROUP, 0, 64, error),
      patience,
      (records) => readPacket(records, 0)?.kind === 'packet' || undefined,
    ),
  );
  await send();
  const entry = await getEntry(trial).catch(() => undefined);
  const shows = (set: Finding, value: number | undefined): Finding =>
    set.answer === 'yes' && entry && !value ? { answer: 'no', why: 'it can be set, but a new entry is without' } : set;
  return {
    packet: await packet,
    'conntrack events': await event,
    'conntrack marks': await tryMark(trial),
    'sysctl nf_conntrack_events': sysctls.nf_conntrack_events,
    'sysctl nf_conntrack_acct': shows(sysctls.nf_conntrack_acct, entry?.packets),
    'sysctl nf_conntrack_timestamp': shows(sysctls.nf_conntrack_timestamp, entry?.start),
  };
}

/** The first thing that `read` finds in what a source of the shim sends; undefined where it ends without one. */
function firstOf<T>(
  doing: string,
  layout: Layout,
  open: (shim: Shim, error: Buffer) => Pointer | null,
  patience: number,
  read: (records: Records, count: number) => T | 'end' | undefined,
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const records = new Records(layout.size, 64);
    const settle = (how: () => void) => {
      clearTimeout(timer);
      source.close();
      how();
    };
    const source = new Source(doing, open, () => {
      for (let count = source.take(records); count > 0; count = source.take(records)) {
        const found = read(records, count);
        if (found !== undefined) return settle(() => resolve(found === 'end' ? undefined : found));
      }
    });
    const timer = setTimeout(() => settle(() => reject(refused('nothing came'))), patience);
  });
}

/** An entry of the conntrack table, as far as it is looked at here. */
interface Entry {
  /** Words of its identity. */
  readonly identity: Uint32Array;
  readonly mark: number;
  /** Absent where nothing counts them; likewise the time of its start, ms. */
  readonly packets: number | undefined;
  readonly start: number | undefined;
}

/** The entry of the flow to that address; undefined: there is none. */
function getEntry({ netns, address, patience }: ConntrackTrial): Promise<Entry | undefined> {
  return firstOf<Entry>(
    'listing conntrack entries',
    FLOW,
    (shim, error) => shim.hg_conntrack_dump(netns, 0, 0, 0, 0, 3, 64, error),
    patience,
    (records, count) => {
      for (const flow of new ConntrackBatch(new FlowRecord(records), count)) {
        if (flow.kind === 'dumpEnd' || flow.kind === 'failed') return 'end';
        if (flow.kind === 'dumped' && formatAddress(flow.original().destination) === address)
          return {
            identity: flow.words.slice(flow.word, flow.word + KEY_BYTES / 4),
            mark: flow.mark,
            packets: flow.packets,
            start: flow.start,
          };
      }
      return undefined;
    },
  );
}

/** Writes a mark to the entry of the flow to that address, and reads it back. */
const tryMark = (trial: ConntrackTrial): Promise<Finding> =>
  tryOut(async () => {
    const entry = await getEntry(trial);
    if (!entry) throw new Error('the flow that was opened is not in the table');
    const writer = MarkWriter.open(trial.netns);
    try {
      const batch = new MarkBatch(1);
      batch.add(entry.identity, 0, MARK.value, MARK.mask);
      const [result] = writer.writeBatch(batch);
      if (result === MARK_GONE) throw new Error('the flow that was opened has ended');
      if (result !== MARK_WRITTEN) throw refused(describeErrno(-(result ?? 0)));
    } finally {
      writer.close();
    }
    if ((await getEntry(trial))?.mark !== MARK.value) throw refused('it was accepted, but the mark is as it was');
  });

const refused = (said: string): HeadgateError =>
  new HeadgateError('HG_KERNEL', { command: 'probing conntrack', problem: said, said });
