import type { Command } from 'commander';
import { HeadgateError } from '../model/index.ts';
import { note, print, printJson } from './output.ts';
import { noteFindings } from './policy-file.ts';

export function addReloadCommand(program: Command): void {
  program
    .command('reload')
    .description('have the running headgate read its policy anew; one with mistakes changes nothing')
    .option('--json', 'print one JSON object: {policy, diagnostics} or {error, diagnostics}')
    .addHelpText(
      'after',
      `
Example:
  sudo headgate reload

Rules, defaults, sets, queues, rates and taps change in place; links, devices and trees do not (stop it, start it).
Exit status: 0 the new policy is in force; 1 the old one stays: mistakes, or what cannot change in place; 2 to 6: headgate --help`,
    )
    .action(async (options: { json?: boolean }) => {
      const { requestReload } = await import('../service/index.ts');
      const { texts, ...result } = await requestReload();
      if (options.json) printJson(result);
      else noteFindings({ diagnostics: result.diagnostics, texts: new Map(Object.entries(texts)) });
      if ('policy' in result) {
        if (!options.json) print(`${result.policy}: was read anew, and is in force`);
        return;
      }
      const error = new HeadgateError(result.error.code, result.error.fields);
      process.exitCode = error.exit;
      if (!options.json)
        note(`headgate: ${error.message}\n  ${error.hint}\n  The policy that ran before is still in force.`);
    });
}
