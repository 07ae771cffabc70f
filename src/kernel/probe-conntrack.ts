import { filter, firstValueFrom, map, type Observable, reduce, throwError, timeout } from 'rxjs';
import { type Capability, type Finding, formatAddress, HeadgateError } from '../model/index.ts';
import { tryOut } from './probe-finding.ts';
import { request } from './probe-frames.ts';
import { logTable, type Place } from './probe-trials.ts';
import type { Scratch } from './scratch.ts';
import { MARK_WRITTEN, MarkWriter } from './shim/index.ts';
import { conntrackDump, conntrackEvents, packetSamples } from './sources.ts';

/** The NFLOG group that is listened to: of the scratch namespace alone. */
const GROUP = 7;
/** Ms in which what was caused has to arrive. */
const ARRIVAL_MS = 2000;
const MARK = { mark: 0x01000000, mask: 0x7f000000 };

/** An entry of the conntrack table, as far as it is looked at here. */
interface Entry {
  readonly key: string;
  readonly mark: number;
  readonly packets: number | undefined;
  readonly start: number | undefined;
}

type Findings = Partial<Record<Capability, Finding>>;

/**
 * Tries what the pipeline listens to, with the shim that it uses: a flow is opened, and its event, its logged packet,
 * and its entry with counters and start have to come; then a mark is written and read back. Needs a rule that uses `ct`.
 *
 * @param send sends a frame that arrives on the place's device
 */
export async function probeConntrack(
  scratch: Scratch,
  place: Place,
  send: (frame: string) => Promise<unknown>,
): Promise<Findings> {
  const netns = scratch.path;
  const events = await setSysctl(scratch, 'nf_conntrack_events');
  const acct = await setSysctl(scratch, 'nf_conntrack_acct');
  const timestamp = await setSysctl(scratch, 'nf_conntrack_timestamp');
  const table = logTable(place, GROUP);
  const rule = await tryOut(() => scratch.run(table.argv, table.input));

  // Both listen before the flow is opened.
  const event = arrival(conntrackEvents({ netns, groups: ['new'], ring: 64 }), (batch) =>
    [...batch].some(({ kind }) => kind === 'new'),
  );
  const packet = arrival(packetSamples({ netns, group: GROUP, ring: 64 }), (items) =>
    items.some(({ kind }) => kind === 'packet'),
  );
  const sent = await tryOut(() => send(request(place.ends)));
  const [eventCame, packetCame] = await Promise.all([event, packet]);
  if (sent.answer !== 'yes') return {};

  const entry = await getEntry(netns, place.ends.here).catch(() => undefined);
  const shows = (set: Finding, value: number | undefined): Finding =>
    set.answer === 'yes' && entry && !value ? { answer: 'no', why: 'it can be set, but a new entry is without' } : set;
  return {
    'conntrack events': eventCame,
    'nft log': rule.answer === 'yes' ? packetCame : rule,
    'sysctl nf_conntrack_events': events,
    'sysctl nf_conntrack_acct': shows(acct, entry?.packets),
    'sysctl nf_conntrack_timestamp': shows(timestamp, entry?.start),
    'conntrack marks': await tryOut(() => writeMark(netns, place.ends.here, entry)),
  };
}

const setSysctl = (scratch: Scratch, name: string): Promise<Finding> =>
  tryOut(() => scratch.run(['sysctl', '-qw', `net.netfilter.${name}=1`]));

const arrival = <T>(items: Observable<T>, is: (item: T) => boolean): Promise<Finding> =>
  tryOut(() =>
    firstValueFrom(
      items.pipe(filter(is), timeout({ first: ARRIVAL_MS, with: () => throwError(() => refused('nothing came')) })),
    ),
  );

/** The entry of the flow that was opened to that address; undefined: there is none. */
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

async function writeMark(netns: string, address: string, entry: Entry | undefined): Promise<void> {
  if (!entry) throw refused('the entry of a new flow is not in the table');
  const writer = MarkWriter.open(netns);
  try {
    const [result] = writer.write([{ key: entry.key, ...MARK }]);
    if (result !== MARK_WRITTEN) throw refused(`errno ${-(result ?? 0)}`);
  } finally {
    writer.close();
  }
  if ((await getEntry(netns, address))?.mark !== MARK.mark) throw refused('it was accepted, but the mark is as before');
}

const refused = (said: string): HeadgateError =>
  new HeadgateError('HG_KERNEL', { command: 'probing conntrack', problem: said, said });
