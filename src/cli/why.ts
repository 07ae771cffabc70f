import type { Command } from 'commander';
import { requestWhy } from '../service/ask.ts';
import { showExplained } from './explained.ts';

export function addWhyCommand(program: Command): void {
  program
    .command('why')
    .description('say of every flow of an address and port why it is in its queue, and what would have to change')
    .argument('<end>', 'either end: ADDRESS:PORT, [ADDRESS]:PORT, or an address alone')
    .option('--json', 'print a JSON array, as explain --live does')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate why 192.168.1.2:51413
  sudo headgate why [2001:db8::1]:443 --json

At most 20 flows; of more, standard error says how many there are. For root, and members of the group headgate (docs/systemd).
Exit status: 0 there are some; 1 there is none; 2 that is no end; 3 neither; 6 headgate is not running`,
    )
    .action(async (end: string, { json }: { json?: boolean }) => {
      showExplained(await requestWhy(end), json === true);
    });
}
