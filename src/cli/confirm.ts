import type { Command } from 'commander';
import { requestConfirm } from '../service/ask.ts';
import { print, printJson } from './output.ts';

export function addConfirmCommand(program: Command): void {
  program
    .command('confirm')
    .description('keep what `up --confirm` or `reload --confirm` did; without it, it is taken back')
    .option('--json', 'print one JSON object: {what, until}')
    .addHelpText(
      'after',
      `
Example:
  sudo headgate confirm

Exit status: 0 it stays; 1 nothing waits to be confirmed; 3 not root; 6 headgate is not running`,
    )
    .action(async (options: { json?: boolean }) => {
      const confirmed = await requestConfirm();
      if (options.json) printJson(confirmed);
      else print(`${confirmed.what} is confirmed, and stays`);
    });
}
