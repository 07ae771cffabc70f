import type { Command } from 'commander';
import { ensureRoot } from '../kernel/index.ts';
import { formatRate } from '../model/index.ts';
import type { DirectionStatus, LinkStatus, Status } from '../service/index.ts';
import { print, printJson, table } from './output.ts';

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

Reads the kernel, so that it also shows what a killed or kept run has left (state "kept").
Exit status: 0 something of headgate is here, 6 nothing is`,
    )
    .action(async (options: { json?: boolean }) => {
      ensureRoot('reading queues and counters');
      const { getStatus } = await import('../service/index.ts');
      const status = await getStatus();
      if (options.json) printJson(status);
      else print(format(status));
      if (!status.running && status.links.length === 0) process.exitCode = 6;
    });
}

function format({ running, tracking, marks, service, links }: Status): string {
  if (!running && links.length === 0) return 'headgate is not running here, and nothing of it is in the kernel';
  const lines = service
    ? [
        `running (pid ${service.pid})  datapath ${service.datapath}  marks ${service.marks}  policy ${service.policy}`,
        `flows ${service.flows.total}: local ${service.flows.local}, remote ${service.flows.remote}, new ${service.flows.new}` +
          `  marks written ${service.marksWritten}${service.marksFailed ? `, failed ${service.marksFailed}` : ''}` +
          `  overruns ${service.overruns}  resyncs ${service.resyncs}`,
      ]
    : [
        `not running; what an earlier run left still steers (headgate down removes it)${marks ? `  marks ${marks}` : ''}`,
      ];
  if (!tracking)
    lines.push(
      'warning: the nft table inet headgate is gone (nft flush ruleset?): start headgate again to track connections',
    );
  return [...lines, ...links.flatMap(formatLink)].join('\n');
}

function formatLink(link: LinkStatus): string[] {
  return [
    '',
    `link ${link.name} on ${link.device}: ${link.state}${link.ifb ? `, ifb ${link.ifb}` : ''}${link.shares ? ` of ${link.shares}` : ''}`,
    ...(link.strays ? [`  ${link.strays} packets came to ${link.ifb} from elsewhere: dropped`] : []),
    ...formatDirection('download', link.download),
    ...formatDirection('upload', link.upload),
  ];
}

const COLUMNS = ['queue', 'class', 'rate', 'ceiling', 'leaf', 'bytes', 'packets', 'drops', 'backlog'];
const RIGHT = new Set([2, 3, 5, 6, 7, 8]);

function formatDirection(name: string, direction: DirectionStatus | undefined): string[] {
  if (!direction) return [];
  const rows = direction.queues.map((q) => [
    q.name ?? '?',
    q.classid,
    q.rate === undefined ? '-' : formatRate(q.rate),
    q.ceil === undefined ? '-' : formatRate(q.ceil),
    q.leaf,
    String(q.bytes),
    String(q.packets),
    String(q.drops),
    `${q.backlogBytes} B`,
  ]);
  const verdicts = Object.entries(direction.packets);
  const packets = verdicts
    .filter(([, count]) => count > 0)
    .map(([verdict, count]) => `${verdict.replace('_', ' ')} ${count}`);
  return [
    verdicts.length > 0 ? `  ${name}: packets ${packets.join(', ') || 'none yet'}` : `  ${name}`,
    ...table(COLUMNS, rows, RIGHT)
      .split('\n')
      .map((line) => `    ${line}`),
  ];
}
