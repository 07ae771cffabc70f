import { formatRate } from '../model/index.ts';
import type { MonitorItem } from './items.ts';

/** One item as a line for people. */
export function formatItem(item: MonitorItem): string {
  return `${item.time.slice(11, 23)} ${describe(item)}`;
}

/** From who opened the connection to who answered. */
const ARROWS = { local: '->', remote: '<-', new: '<>' } as const;
const RESYNC_REASONS = { start: ' at the start', overrun: ' after an overrun', sweep: '' } as const;

function describe(item: MonitorItem): string {
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
      return `overrun      the kernel dropped events for us (${item.count}x); reading the table anew`;
    case 'resync':
      return `resync       ${item.flows} flows known: ${item.added} found, ${item.removed} gone${RESYNC_REASONS[item.reason]}${item.complete ? '' : ' (dump interrupted)'}`;
    case 'link':
      return `${`link.${item.state}`.padEnd(13)}${item.name} on ${item.device}: ${item.reason}`;
    case 'policy':
      return `${`policy.${item.state}`.padEnd(14)} ${item.reason.startsWith(item.file) ? '' : `${item.file}: `}${item.reason}`;
    case 'missed':
      return `missed       ${item.count} items: this reader was too slow`;
    case 'warning':
      return `warning      ${item.message}`;
    default: {
      const size = item.bytes === undefined ? '' : `  ${item.bytes} bytes, ${item.packets} packets`;
      return `${item.kind.padEnd(12)} ${item.protocol.padEnd(6)} ${item.local} ${ARROWS[item.origin]} ${item.remote}  origin ${item.origin}  queue ${item.queue}  ${item.rule ? `rule ${item.rule}` : 'default'}${size}`;
    }
  }
}
