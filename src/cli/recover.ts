import type { Command } from 'commander';
import { acquireInstance, ensureRoot } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import { print, printJson } from './output.ts';

export function addRecoverCommand(program: Command): void {
  program
    .command('recover')
    .description('finish or take back what a killed headgate was about, and see to it that nothing leads to nowhere')
    .option('--json', 'print one JSON object: {done: [...]}')
    .addHelpText(
      'after',
      `
Example:
  sudo headgate recover

Of a start or a way down that was cut short nothing is left; of a reload, the policy before it. \`up\` and \`down\` do
the same by themselves: this is for a box on which headgate is not to be started, and for the unit's ExecStopPost.
Exit status: 0 all is well now; 4 headgate is running, and sees to it itself; 3, 5: headgate --help`,
    )
    .action(async (options: { json?: boolean }) => {
      ensureRoot('changing qdiscs and devices');
      const { recover, getServicePid, guarded } = await import('../service/index.ts');
      const leave = await acquireInstance('moment');
      if (!leave) throw new HeadgateError('HG_RUNNING', { pid: (await getServicePid()) ?? 'unknown' });
      const { done } = await guarded(recover).finally(leave);
      if (options.json) printJson({ done });
      else print(done.length === 0 ? 'nothing was interrupted' : done.join('\n'));
    });
}
