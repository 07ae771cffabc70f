import { ORIGINS } from '../model/index.ts';
import type { Family, Sample } from '../monitor/index.ts';
import type { StreamCounts } from '../monitor/stream.ts';
import type { Tally } from '../pipeline/index.ts';
import type { LinkStatus, QueueStatus, Status } from './status.ts';

/**
 * The metrics of a status, with what was counted of decisions and of the stream. Nothing is counted for them that is not there
 * anyway. Label values are names of the policy and of devices, and few fixed words: never an address or a port.
 */
export function listMetrics(
  { service, links, policers, unreadAnswers }: Status,
  { rules, defaults, latency }: Pick<Tally, 'rules' | 'defaults' | 'latency'>,
  { items, readers, gaps, missed }: StreamCounts,
): Family[] {
  const flows = service?.flows;
  return [
    gauge('headgate_info', 'What runs; always 1', [
      { labels: { datapath: service?.datapath ?? '', marks: service?.marks ?? '' }, value: 1 },
    ]),
    gauge(
      'headgate_link_state',
      'The link is in this state: 1',
      links.flatMap(({ name, device, state }) =>
        STATES.map((one) => ({ labels: { link: name, device, state: one }, value: Number(one === state) })),
      ),
    ),
    counter(
      'headgate_link_packets',
      'Packets by what the classifier found; of the datapath bpf',
      links.flatMap((link) =>
        DIRECTIONS.flatMap((direction) =>
          Object.entries(link[direction]?.packets ?? {}).map(([verdict, value]) => ({
            labels: { link: link.name, direction, verdict },
            value,
          })),
        ),
      ),
    ),
    ...listQueueMetrics(links),
    ...(['passed', 'dropped'] as const).map((what) =>
      counter(
        `headgate_police_${what}_bytes`,
        `What police of a rule has ${what}, since the last reload`,
        policers.map((one) => ({ labels: { rule: one.rule, direction: one.way }, value: one[what].bytes })),
      ),
    ),
    counter(
      'headgate_dns_unread_packets',
      'Packets with DNS answers that came too fast to be read, since the last reload; absent where no rule asks for names',
      one(unreadAnswers),
    ),
    gauge(
      'headgate_flows',
      'Flows that are followed; absent while none need to be',
      flows ? ORIGINS.map((origin) => ({ labels: { origin }, value: flows[origin] })) : [],
    ),
    gauge('headgate_flows_live', 'Flows that a live rule may come to take', flows ? one(flows.live) : []),
    counter(
      'headgate_rule_hits',
      'How often a rule came to take a flow, while flows are followed',
      [...rules].map(([rule, value]) => ({ labels: { rule }, value })),
    ),
    counter(
      'headgate_default_hits',
      'Flows that no rule took, while flows are followed',
      Object.entries(defaults).map(([origin, value]) => ({ labels: { origin }, value })),
    ),
    {
      name: 'headgate_decision_latency_seconds',
      type: 'histogram',
      help: 'From the receipt of a new flow’s event to its mark, for each batch its oldest',
      samples: latency.samples,
    },
    counter('headgate_marks_written', 'Conntrack marks written', one(service?.marksWritten)),
    counter('headgate_marks_failed', 'Conntrack marks that the kernel refused', one(service?.marksFailed)),
    counter('headgate_flows_refused', 'Flows for which the table had no room', one(service?.refused)),
    counter(
      'headgate_overruns',
      'Conntrack events lost, at least: without a ring, times that the kernel dropped some',
      one(service?.overruns),
    ),
    counter('headgate_resyncs', 'Times that the flow table was read anew', one(service?.resyncs)),
    gauge(
      'headgate_deadline_seconds',
      'Time for which packets are classified without us',
      one(seconds(service?.deadline?.ms)),
    ),
    counter('headgate_deadline_renewals', 'Times that the deadline was moved on', one(service?.deadline?.renewals)),
    counter(
      'headgate_stream_items',
      'Items of the event stream by kind; flows only while somebody reads of them',
      [...items].map(([kind, value]) => ({ labels: { kind }, value })),
    ),
    gauge('headgate_stream_readers', 'Readers of the event stream', one(readers)),
    counter('headgate_stream_gaps', 'Gaps that readers were told', one(gaps)),
    counter('headgate_stream_missed_items', 'Items that stood in those gaps', one(missed)),
    gauge('headgate_resident_memory_bytes', 'Of the service', one(process.memoryUsage.rss())),
    counter('headgate_cpu_seconds', 'Processor time of the service', one(seconds(cpuMs()))),
  ];
}

const DIRECTIONS = ['download', 'upload'] as const;
const STATES = ['steering', 'watching', 'open', 'absent', 'kept'] as const;

function listQueueMetrics(links: readonly LinkStatus[]): Family[] {
  const queues = links.flatMap((link) =>
    DIRECTIONS.flatMap((direction) =>
      // The tree of another link is counted there.
      link.shares !== undefined && direction === 'download'
        ? []
        : (link[direction]?.queues ?? []).map((queue) => ({
            labels: { link: link.name, device: queue.device, direction, queue: queue.name ?? queue.classid },
            queue,
          })),
    ),
  );
  const samples = (value: (queue: QueueStatus) => number | undefined): Sample[] =>
    queues.flatMap(({ labels, queue }) => {
      const found = value(queue);
      return found === undefined ? [] : [{ labels, value: found }];
    });
  return [
    counter(
      'headgate_queue_bytes',
      'Bytes that a queue has sent; of a tin of cake, that came',
      samples((q) => q.bytes),
    ),
    counter(
      'headgate_queue_packets',
      'The same in packets',
      samples((q) => q.packets),
    ),
    counter(
      'headgate_queue_drops',
      'Packets that it dropped',
      samples((q) => q.drops),
    ),
    counter(
      'headgate_queue_overlimits',
      'Times that its class had to wait',
      samples((q) => q.overlimits),
    ),
    gauge(
      'headgate_queue_backlog_bytes',
      'Bytes that wait in it',
      samples((q) => q.backlogBytes),
    ),
    gauge(
      'headgate_queue_backlog_packets',
      'Packets that wait in it',
      samples((q) => q.backlogPackets),
    ),
    gauge(
      'headgate_queue_rate_bytes_per_second',
      'What it is sure of',
      samples((q) => bytes(q.rate)),
    ),
    gauge(
      'headgate_queue_ceiling_bytes_per_second',
      'The most that it may take',
      samples((q) => bytes(q.ceil)),
    ),
  ];
}

const counter = (name: string, help: string, samples: readonly Sample[]): Family => ({
  name,
  type: 'counter',
  help,
  samples,
});
const gauge = (name: string, help: string, samples: readonly Sample[]): Family => ({
  name,
  type: 'gauge',
  help,
  samples,
});
const one = (value: number | undefined): Sample[] => (value === undefined ? [] : [{ value }]);
/** Prometheus has bytes, so that it can be compared with the rate of a counter. */
const bytes = (rate: number | undefined): number | undefined => (rate === undefined ? undefined : rate / 8);
const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000);

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
