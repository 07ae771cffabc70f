import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { HeadgateError } from '../model/index.ts';
import { formatItem, type MonitorItem } from '../monitor/index.ts';
import { requestEvents } from '../service/ask.ts';
import { print } from './output.ts';

export function addEventsCommand(program: Command): void {
  program
    .command('events')
    .description('watch the running headgate: a line for each flow with origin, queue and the rule that decided')
    .option('--json', 'one JSON object a line (NDJSON)')
    .addHelpText(
      'after',
      "\nExamples:\n  sudo headgate events\n  sudo headgate events --json | jq 'select(.rule)'\n\nFor root, and members of the group headgate (docs/systemd).\nExit status: 0 headgate was stopped, or Ctrl-C; 3 neither; 6 it is not running, or was killed",
    )
    .action(async (options: { json?: boolean }) => {
      const response = await requestEvents();
      let asked = false;
      const stop = () => {
        asked = true;
        response.destroy();
      };
      process.once('SIGINT', stop);
      process.once('SIGTERM', stop);
      process.stdout.once('error', stop);
      try {
        for await (const line of createInterface({ input: response }))
          print(options.json ? line : formatItem(JSON.parse(line) as MonitorItem));
      } catch (error) {
        if (!asked) throw new HeadgateError('HG_NOT_RUNNING', {}, { cause: error });
      }
      // A stream that broke off can also just end: complete says which.
      if (!asked && !response.complete) throw new HeadgateError('HG_NOT_RUNNING');
    });
}
