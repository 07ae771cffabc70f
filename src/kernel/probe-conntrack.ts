import { filter, firstValueFrom, map, type Observable, reduce, throwError, timeout } from 'rxjs';
import { type Finding, formatAddress, HeadgateError } from '../model/index.ts';
import { tryOut } from './probe-finding.ts';
import { LOG_GROUP, MARK } from './probe-nft.ts';
import { MARK_WRITTEN, MarkWriter } from './shim/index.ts';
import { conntrackDump, conntrackEvents, packetSamples } from './sources.ts';

/** Ms in which what was caused has to arrive. */
const ARRIVAL_MS = 3000;

/** Whether what the pipeline and the packet sampler listen to comes. Rejects never. */
export interface Listening {
  readonly event: Promise<Finding>;
  readonly packet: Promise<Finding>;
}

/** Listens from now on, with the shim, for a flow's event and for a packet of the NFLOG group. */
export const listen = (netns: string): Listening => ({
  event: arrival(conntrackEvents({ netns, groups: ['new'], ring: 64 }), (batch) =>
    [...batch].some(({ kind }) => kind === 'new'),
  ),
  packet: arrival(packetSamples({ netns, group: LOG_GROUP, ring: 64 }), (items) =>
    items.some(({ kind }) => kind === 'packet'),
  ),
});

const arrival = <T>(items: Observable<T>, is: (item: T) => boolean): Promise<Finding> =>
  tryOut(() =>
    firstValueFrom(
      items.pipe(filter(is), timeout({ first: ARRIVAL_MS, with: () => throwError(() => refused('nothing came')) })),
    ),
  );

/** An entry of the conntrack table, as far as it is looked at here. */
export interface Entry {
  readonly key: string;
  readonly mark: number;
  /** Absent where nothing counts them; likewise the time of its start, ms. */
  readonly packets: number | undefined;
  readonly start: number | undefined;
}

/** The entry of the flow to that address; undefined: there is none. @throws HeadgateError HG_NOT_ROOT, HG_KERNEL, HG_NO_SHIM */
export function getEntry(netns: string, address: string): Promise<Entry | undefined> {
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
export const tryMark = (netns: string, address: string): Promise<Finding> =>
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
