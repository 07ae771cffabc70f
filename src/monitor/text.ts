import { formatRate } from '../model/index.ts';
import type { ConfirmEvent, MonitorItem } from './items.ts';

/** Columns of the longest label: `policy.changed`. */
const WIDTH = 14;

/** One item as a line for people. */
export const formatItem = (item: MonitorItem): string => `${item.time.slice(11, 23)} ${describeItem(item)}`;

/** The same without the time. */
export const describeItem = (item: MonitorItem): string => `${labelOf(item).padEnd(WIDTH)} ${tellItem(item)}`;

/** What happened, in a word: the kind, and of what has a state that, unless the text says it anyway. */
export const labelOf = (item: MonitorItem): string =>
  'state' in item && item.kind !== 'confirm' ? `${item.kind}.${item.state}` : item.kind;

/** From who opened the connection to who answered. */
export const ARROWS = { local: '->', remote: '<-', new: '<>' } as const;
const RESYNC_REASONS = { start: ' at the start', overrun: ' after an overrun', sweep: '' } as const;

/** What comes back where it is not confirmed. */
const BEFORE = { up: 'everything is taken back', reload: 'the policy that ran before comes back' } as const;

function describeConfirm({ state, what, until }: ConfirmEvent): string {
  if (state === 'confirmed') return `${what} was confirmed, and stays`;
  if (state === 'expired') return `${what} was not confirmed in time: ${BEFORE[what]}`;
  return `type "headgate confirm" by ${until.slice(11, 19)} UTC, or ${BEFORE[what]}`;
}

const GAPS = {
  slow: 'this reader was too slow',
  late: 'that is kept no more',
  restart: 'the service was started anew, or never gave that number',
} as const;

const describePlace = ({ queue, rule }: { readonly queue: string; readonly rule?: string | undefined }): string =>
  rule ? `${queue} by ${rule}` : queue;

/** What stands behind the label. */
export function tellItem(item: MonitorItem): string {
  switch (item.kind) {
    case 'ready':
      return `datapath ${item.datapath}, marks ${item.marks}; ${item.links
        .map((l) =>
          [
            `${l.download || l.upload || l.shares ? 'steering' : 'watching'} ${l.name} on ${l.device}`,
            l.shares && `on the tree of ${l.shares}`,
            l.download && `download ${formatRate(l.download)}`,
            l.upload && `upload ${formatRate(l.upload)}`,
          ]
            .filter(Boolean)
            .join(', '),
        )
        .join('; ')}`;
    case 'overrun':
      return `the kernel dropped events for us (${item.count} or more); reading the table anew`;
    case 'resync':
      return `${item.flows} flows known: ${item.added} found, ${item.removed} gone${RESYNC_REASONS[item.reason]}${item.complete ? '' : ' (dump interrupted)'}`;
    case 'link':
      return `${item.name} on ${item.device}: ${item.reason}`;
    case 'table':
      return `${item.name}: ${item.reason}`;
    case 'policy':
      return `${item.reason.startsWith(item.file) ? '' : `${item.file}: `}${item.reason}`;
    case 'confirm':
      return describeConfirm(item);
    case 'stream':
      return `session ${item.session}, items ${item.oldest} to ${item.newest} are kept`;
    case 'gap':
      return `${GAPS[item.reason]}${item.to >= item.from ? `: items ${item.from} to ${item.to} are missing` : ''}`;
    case 'flows':
      return item.state === 'told' ? 'each flow from here on' : 'nobody reads of flows';
    case 'warning':
      return item.message;
    default: {
      const size = item.bytes === undefined ? '' : `  ${item.bytes} bytes, ${item.packets} packets`;
      const from = item.before ? ` (was in ${describePlace(item.before)})` : '';
      return `${item.protocol.padEnd(6)} ${item.local} ${ARROWS[item.origin]} ${item.remote}  origin ${item.origin}  queue ${item.queue}  ${item.rule ? `rule ${item.rule}` : 'default'}${from}${size}`;
    }
  }
}
