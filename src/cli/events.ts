import { once } from 'node:events';
import type { Command } from 'commander';
import { HeadgateError } from '../model/index.ts';
import { formatItem, type MonitorItem } from '../monitor/index.ts';
import { openEvents } from './event-lines.ts';

/** How long a reader has to take what was printed, once we are told to end. */
const GRACE_MS = 500;

interface EventsOptions {
  json?: boolean;
  follow: boolean;
  since?: string;
  filter: readonly string[];
}

export function addEventsCommand(program: Command): void {
  program
    .command('events')
    .description('watch the running headgate: a line for each flow with origin, queue and the rule that decided')
    .option('--json', 'one JSON object a line (NDJSON): docs/events.schema.json')
    .option('-f, --follow', 'stay, and print what comes (the default)', true)
    .option('--no-follow', 'print what the service has kept, and end')
    .option(
      '--since <seq>',
      'from behind this item on, as far as it is kept: SEQ, or SESSION-SEQ; 0 for all that is kept',
    )
    .option(
      '--filter <key=value>',
      'what it is about: origin=, queue=, rule=, address=, kind=flow.*; of the same key any, of several all',
      (value: string, list: readonly string[]) => [...list, value],
      [],
    )
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate events
  sudo headgate events --filter origin=remote --filter address=192.168.1.0/24
  sudo headgate events --json | jq 'select(.rule)'
  sudo headgate events --json --since 0 --no-follow

Flows are told while somebody reads of them (docs/monitoring.md). For root, and members of the group headgate (docs/systemd).
Exit status: 0 headgate was stopped, or Ctrl-C, or all is printed; 2 no such filter; 3 neither; 6 it is not running, or was killed`,
    )
    .action(async (options: EventsOptions) => {
      const { each, stop, stopped } = await openEvents(parametersOf(options));
      const { stdout } = process;
      stdout.once('error', stop);
      // Whoever takes nothing from us keeps nobody who was told to end.
      stopped.addEventListener('abort', () => void setTimeout(() => process.exit(), GRACE_MS).unref());
      await each((line) => {
        const text = textOf(line, options.json === true);
        // Where the reader is slow, we read no further: the service tells us what we missed, and nothing is kept here.
        if (text !== undefined && !stdout.write(`${text}\n`)) return once(stdout, 'drain', { signal: stopped });
      });
    });
}

/** @throws HeadgateError HG_USAGE */
function parametersOf({ since, filter, follow }: EventsOptions): URLSearchParams {
  const parameters = new URLSearchParams();
  if (since !== undefined) parameters.set('since', since);
  if (!follow) parameters.set('follow', '0');
  for (const one of filter) {
    const [key, value] = one.split(/=(.*)/s);
    if (!key || value === undefined)
      throw new HeadgateError('HG_USAGE', { command: 'events', problem: `--filter ${one}: write KEY=VALUE` });
    parameters.append(key, value);
  }
  return parameters;
}

/** What is printed of an item; undefined: what says where the stream begins is for programs. */
function textOf(line: string, json: boolean): string | undefined {
  if (json) return line;
  const item = JSON.parse(line) as MonitorItem;
  return item.kind === 'stream' || item.kind === 'flows' ? undefined : formatItem(item);
}
