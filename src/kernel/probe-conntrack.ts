import { filter, firstValueFrom, map, type Observable, reduce, throwError, timeout } from 'rxjs';
import { type Finding, formatAddress, HeadgateError } from '../model/index.ts';
import { tryOut } from './probe-finding.ts';
import type { SysctlFindings } from './probe-load.ts';
import { LOG_GROUP, MARK } from './probe-nft.ts';
import { MARK_WRITTEN, MarkWriter } from './shim/index.ts';
import { conntrackDump, conntrackEvents, packetSamples } from './sources.ts';

/** Ms in which what was caused has to arrive. */
const ARRIVAL_MS = 5000;

export interface ConntrackTrial {
  /** Path of the scratch namespace. */
  readonly netns: string;
  /** Of the device to which a flow will be opened. */
  readonly address: string;
  /** Opens it, and sends a packet to the NFLOG group. */
  send(): Promise<void>;
  /** What came of setting the sysctls. */
  readonly sysctls: SysctlFindings;
}

/**
 * Tries what the pipeline listens to, with the shim that it uses: a flow's event, a packet of the NFLOG group
 * (`packet`), the flow's entry with counters and start; then a mark is written to it and read back.
 */
export async function probeConntrack({ netns, address, send, sysctls }: ConntrackTrial) {
  const event = arrival(conntrackEvents({ netns, groups: ['new'], ring: 64 }), (batch) =>
    [...batch].some(({ kind }) => kind === 'new'),
  );
  const packet = arrival(packetSamples({ netns, group: LOG_GROUP, ring: 64 }), (items) =>
    items.some(({ kind }) => kind === 'packet'),
  );
  await send();
  const entry = await getEntry(netns, address).catch(() => undefined);
  const shows = (set: Finding, value: number | undefined): Finding =>
    set.answer === 'yes' && entry && !value ? { answer: 'no', why: 'it can be set, but a new entry is without' } : set;
  return {
    packet: await packet,
    'conntrack events': await event,
    'conntrack marks': await tryMark(netns, address),
    'sysctl nf_conntrack_events': sysctls.nf_conntrack_events,
    'sysctl nf_conntrack_acct': shows(sysctls.nf_conntrack_acct, entry?.packets),
    'sysctl nf_conntrack_timestamp': shows(sysctls.nf_conntrack_timestamp, entry?.start),
  };
}

const arrival = <T>(items: Observable<T>, is: (item: T) => boolean): Promise<Finding> =>
  tryOut(() =>
    firstValueFrom(
      items.pipe(filter(is), timeout({ first: ARRIVAL_MS, with: () => throwError(() => refused('nothing came')) })),
    ),
  );

/** An entry of the conntrack table, as far as it is looked at here. */
interface Entry {
  readonly key: string;
  readonly mark: number;
  /** Absent where nothing counts them; likewise the time of its start, ms. */
  readonly packets: number | undefined;
  readonly start: number | undefined;
}

/** The entry of the flow to that address; undefined: there is none. */
function getEntry(netns: string, address: string): Promise<Entry | undefined> {
  const found = conntrackDump({ netns, ring: 64 }).pipe(
    map((batch) => {
      for (const flow of batch)
        if (flow.kind === 'dumped' && formatAddress(flow.original().destination) === address)
          return { key: flow.key, mark: flow.mark, packets: flow.packets, start: flow.start };
      return undefined;
    }),
    reduce((earlier: Entry | undefined, entry) => earlier ?? entry, undefined),
  );
  return firstValueFrom(found);
}

/** Writes a mark to the entry of the flow to that address, and reads it back. */
const tryMark = (netns: string, address: string): Promise<Finding> =>
  tryOut(async () => {
    const entry = await getEntry(netns, address);
    if (!entry) throw refused('the flow that was opened is not in the table');
    const writer = MarkWriter.open(netns);
    try {
      const [result] = writer.write([{ key: entry.key, mark: MARK.value, mask: MARK.mask }]);
      if (result !== MARK_WRITTEN) throw refused(`errno ${-(result ?? 0)}`);
    } finally {
      writer.close();
    }
    if ((await getEntry(netns, address))?.mark !== MARK.value)
      throw refused('it was accepted, but the mark is as it was');
  });

const refused = (said: string): HeadgateError =>
  new HeadgateError('HG_KERNEL', { command: 'probing conntrack', problem: said, said });
