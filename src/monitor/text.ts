import { formatRate } from '../model/index.ts';
import type { ConfirmEvent, MonitorItem } from './items.ts';

/** One item as a line for people. */
export function formatItem(item: MonitorItem): string {
  return `${item.time.slice(11, 23)} ${describeItem(item)}`;
}

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
  restart: 'the service was started anew',
} as const;

const describePlace = ({ queue, rule }: { readonly queue: string; readonly rule?: string | undefined }): string =>
  rule ? `${queue} by ${rule}` : queue;

/** The same without the time. */
export function describeItem(item: MonitorItem): string {
  switch (item.kind) {
    case 'ready':
      return `ready        datapath ${item.datapath}, marks ${item.marks}; ${item.links
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
      return `overrun      the kernel dropped events for us (${item.count} or more); reading the table anew`;
    case 'resync':
      return `resync       ${item.flows} flows known: ${item.added} found, ${item.removed} gone${RESYNC_REASONS[item.reason]}${item.complete ? '' : ' (dump interrupted)'}`;
    case 'link':
      return `${`link.${item.state}`.padEnd(13)}${item.name} on ${item.device}: ${item.reason}`;
    case 'table':
      return `table.${item.state} ${item.name}: ${item.reason}`;
    case 'policy':
      return `${`policy.${item.state}`.padEnd(14)} ${item.reason.startsWith(item.file) ? '' : `${item.file}: `}${item.reason}`;
    case 'confirm':
      return `confirm.${item.state.padEnd(11)} ${describeConfirm(item)}`;
    case 'stream':
      return `stream       session ${item.session}, items ${item.oldest} to ${item.newest} are kept`;
    case 'gap':
      return `gap          ${GAPS[item.reason]}${item.to >= item.from ? `: items ${item.from} to ${item.to} are missing` : ''}`;
    case 'flows':
      return `flows.${item.state.padEnd(6)} ${item.state === 'told' ? 'each flow from here on' : 'nobody reads of flows'}`;
    case 'warning':
      return `warning      ${item.message}`;
    default: {
      const size = item.bytes === undefined ? '' : `  ${item.bytes} bytes, ${item.packets} packets`;
      const from = item.before ? ` (was in ${describePlace(item.before)})` : '';
      return `${item.kind.padEnd(12)} ${item.protocol.padEnd(6)} ${item.local} ${ARROWS[item.origin]} ${item.remote}  origin ${item.origin}  queue ${item.queue}  ${item.rule ? `rule ${item.rule}` : 'default'}${from}${size}`;
    }
  }
}
