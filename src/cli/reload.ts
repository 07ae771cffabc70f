import type { Command } from 'commander';
import { HeadgateError } from '../model/index.ts';
import { requestReload } from '../service/ask.ts';
import { confirmNotice, confirmOption } from './options.ts';
import { errorJson, note, print, printJson } from './output.ts';
import { noteFindings } from './policy-file.ts';

export function addReloadCommand(program: Command): void {
  program
    .command('reload')
    .description('have the running headgate read its policy anew; one with mistakes changes nothing')
    .option(
      '--confirm <time>',
      'the policy before comes back unless `headgate confirm` comes within this time, such as 60s',
    )
    .option('--json', 'print one JSON object: {policy, diagnostics, confirm, open} or {error, diagnostics}')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate reload
  sudo headgate reload --confirm 60s         from afar: it comes back by itself if you are cut off

Everything may change but the datapath and the bits of the mark; headgate plan says what that touches.
Exit status: 0 the new policy is in force; 1 the old one stays: mistakes, or other marks; 2 to 6: headgate --help`,
    )
    .action(async (options: { json?: boolean; confirm?: string }) => {
      const { texts, ...result } = await requestReload(confirmOption('reload', options.confirm));
      if (!options.json) noteFindings({ diagnostics: result.diagnostics, texts: new Map(Object.entries(texts)) });
      if ('policy' in result) {
        const waits = result.confirm ? `; ${confirmNotice(result.confirm.until)}, or the one before comes back` : '';
        if (options.json) printJson(result);
        else print(`${result.policy}: was read anew, and is in force${waits}`);
        const open = result.open?.join(', ');
        if (open)
          note(`headgate: what arrives passes unshaped on ${open}: headgate status and headgate events say more`);
        return;
      }
      const error = new HeadgateError(result.error.code, result.error.fields);
      process.exitCode = error.exit;
      // With the findings it is an answer, and goes to standard output.
      if (options.json) printJson({ ...result, error: errorJson(error) });
      else note(`headgate: ${error.message}\n  ${error.hint}\n  What was in force before still is.`);
    });
}
