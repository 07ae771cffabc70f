import type { Command } from 'commander';
import { acquireInstance, ensureRoot } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import { print, printJson } from './output.ts';

export function addDownCommand(program: Command): void {
  program
    .command('down')
    .description('take down what a killed `up`, or `up --keep`, has left: filters first, then trees, then ifbs')
    .option('--json', 'print one JSON object: {removed: [...]}')
    .addHelpText(
      'after',
      '\nExample:\n  sudo headgate down\n\nExit status: 0 nothing of ours is left, 4 headgate is running: stop that instead',
    )
    .action(async (options: { json?: boolean }) => {
      ensureRoot('removing qdiscs and devices');
      const { requestStatus, takeDown } = await import('../service/index.ts');
      const leave = await acquireInstance();
      if (!leave) throw new HeadgateError('HG_RUNNING', { pid: (await requestStatus())?.pid ?? 'unknown' });
      const removed = await takeDown().finally(leave);
      if (options.json) printJson({ removed });
      else print(removed.length === 0 ? 'nothing of headgate is here' : removed.join('\n'));
    });
}
