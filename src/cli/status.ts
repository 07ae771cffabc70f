import type { Command } from 'commander';
import { type Count, formatRate } from '../model/index.ts';
import type { DirectionStatus, FlowsStatus, IfbStatus, LinkStatus, PolicerStatus, Status } from '../service/index.ts';
import { confirmNotice } from './options.ts';
import { print, printJson, table } from './output.ts';
import { getStatusHere } from './status-here.ts';

export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .description('show links, queues, rates and drops, who opened what, and how the service does')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate status
  sudo headgate status --json | jq '.links[].download.queues'

For root, and members of the group headgate (docs/systemd). To root it shows what a killed or kept run has left, too (state "kept").
Exit status: 0 something of headgate is here; 3 not root, nor in the group; 6 nothing is here`,
    )
    .action(async (options: { json?: boolean }) => {
      const status = await getStatusHere();
      if (options.json) printJson(status);
      else print(format(status));
      if (!status.running && status.hung === undefined && status.links.length === 0) process.exitCode = 6;
    });
}

function format({ running, hung, tracking, marks, service, links, policers, unreadAnswers }: Status): string {
  if (!running && hung === undefined && links.length === 0)
    return 'headgate is not running here, and nothing of it is in the kernel';
  const lines = service
    ? [
        `running (pid ${service.pid})  datapath ${service.datapath}  marks ${service.marks}  policy ${service.policy}`,
        `${formatFlows(service)}  marks written ${service.marksWritten}${service.marksFailed ? `, failed ${service.marksFailed}` : ''}` +
          `  overruns ${service.overruns}  resyncs ${service.resyncs}`,
      ]
    : [
        `${
          hung === undefined
            ? 'no service answers; nobody looks after what one has left here (headgate up takes over, headgate down removes it)'
            : `headgate (pid ${hung}) does not answer: it starts, or it hangs (headgate down ends it, and removes what is here)`
        }${marks ? `  marks ${marks}` : ''}`,
      ];
  if (service?.deadline)
    lines.push(
      `classifies for ${service.deadline.ms / 1000} s after it was last heard of; renewed ${service.deadline.renewals} times`,
    );
  for (const { word, counts, blind } of service?.facts ?? []) {
    const figures = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
    lines.push(`facts ${word}: ${figures.join(', ')}${blind ? `; ${blind}` : ''}`);
  }
  if (unreadAnswers)
    lines.push(
      `${unreadAnswers} packets with DNS answers came too fast to be read: rules by domain do not know what they said (docs/limits.md)`,
    );
  if (service?.confirm)
    lines.push(
      `${service.confirm.what} waits to be confirmed: ${confirmNotice(service.confirm.until)}, or it is taken back`,
    );
  if (!tracking)
    lines.push(
      service
        ? 'warning: the nft table inet headgate is gone (nft flush ruleset?): the service puts it back'
        : 'warning: the nft table inet headgate is gone (nft flush ruleset?): connections may not be tracked; start headgate again',
    );
  return [...lines, ...links.flatMap(formatLink), ...formatPolicers(policers)].join('\n');
}

function formatFlows({ flows, refused, by }: FlowsStatus): string {
  if (!flows) return 'flows are not followed: the rules in force are the kernel’s alone';
  const { total, local, remote, live } = flows;
  const origins = `local ${local}, remote ${remote}, new ${flows.new}`;
  return `flows ${total}: ${origins}${live ? `; ${live} may be taken by live rules` : ''}${refused ? `; no room for ${refused}` : ''}${by ? `; events by ${by}` : ''}`;
}

function formatLink(link: LinkStatus): string[] {
  return [
    '',
    `link ${link.name} on ${link.device}: ${link.state}${link.ifbs.length > 0 ? `, ifb ${link.ifbs.map(({ name }) => name).join(', ')}` : ''}${link.shares ? ` of ${link.shares}` : ''}`,
    ...link.ifbs.flatMap(formatIfb),
    ...formatDirection('download', link.download),
    ...formatDirection('upload', link.upload),
    ...(link.downloadLost
      ? [
          `  warning: what arrives on ${link.device} is redirected to an ifb that is down or gone, and lost: sudo headgate recover puts that right`,
        ]
      : []),
    ...(link.uploadLost
      ? [
          `  warning: upload is not shaped, our tree on ${link.device} is gone (tc qdisc show dev ${link.device}): it is put back when nothing else stands there`,
        ]
      : []),
  ];
}

function formatIfb({ name, redirected, rx, tx }: IfbStatus): string[] {
  return [
    `  redirected to ${name}: ${formatCount(redirected)}; it got ${formatCount(rx)}, and passed on ${formatCount(tx)}`,
    // Neither is a loss: a reload makes the filter anew, and mirred counts segments.
    ...(redirected.packets !== rx.packets - rx.dropped
      ? [
          `  (the redirect counts from when its filter was made, and packets as on the wire; ${name} counts those that GRO joined as one)`,
        ]
      : []),
    ...(rx.dropped > 0 ? [`  ${rx.dropped} packets came to ${name} from elsewhere: dropped`] : []),
  ];
}

const formatCount = ({ packets, bytes }: Count): string => `${packets} packets (${bytes} B)`;

function formatPolicers(policers: readonly PolicerStatus[]): string[] {
  if (policers.length === 0) return [];
  const rows = policers.map(({ rule, way, passed, dropped }) => [
    ...[rule, way],
    ...[passed.bytes, passed.packets, dropped.bytes, dropped.packets].map(String),
  ]);
  const columns = ['police of rule', 'way', 'passed bytes', 'packets', 'dropped bytes', 'packets'];
  return ['', table(columns, rows, new Set([2, 3, 4, 5]))];
}

const COLUMNS = [
  'queue',
  'on',
  'class',
  'rate',
  'ceiling',
  'leaf',
  'bytes',
  'packets',
  'drops',
  'overlimits',
  'backlog',
];
const RIGHT = new Set([3, 4, 6, 7, 8, 9, 10]);

function formatDirection(name: string, direction: DirectionStatus | undefined): string[] {
  if (!direction) return [];
  const rows = direction.queues.map((q) => [
    q.name ?? '?',
    q.device,
    q.classid,
    q.rate === undefined ? '-' : formatRate(q.rate),
    q.ceil === undefined ? '-' : formatRate(q.ceil),
    q.leaf,
    String(q.bytes),
    String(q.packets),
    String(q.drops),
    String(q.overlimits),
    `${q.backlogBytes} B`,
  ]);
  const verdicts = Object.entries(direction.packets);
  const packets = verdicts
    .filter(([, count]) => count > 0)
    .map(([verdict, count]) => `${verdict.replace('_', ' ')} ${count}`);
  return [
    ...(direction.expires !== undefined && direction.expires <= 0
      ? [`  warning: nobody renews the deadline of ${name}: its packets pass unshaped`]
      : []),
    verdicts.length > 0 ? `  ${name}: packets ${packets.join(', ') || 'none yet'}` : `  ${name}`,
    ...table(COLUMNS, rows, RIGHT)
      .split('\n')
      .map((line) => `    ${line}`),
  ];
}
