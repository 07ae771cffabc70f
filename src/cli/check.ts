import type { Command } from 'commander';
import { getText } from '../kernel/index.ts';
import { formatDiagnostic, parsePolicy } from '../language/index.ts';
import { note, print, printJson, wantsColor } from './output.ts';

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .description('read a policy and say what is wrong with it, all of it at once; the kernel is not touched')
    .argument('<file>', 'policy, such as rules/favour-local.gate; - reads standard input')
    .option('--json', 'print one JSON object: {file, ok, diagnostics}')
    .addHelpText(
      'after',
      '\nExample:\n  headgate check rules/favour-local.gate\n\nExit status: 0 no errors, 1 errors, 2 the file cannot be read',
    )
    .action(async (file: string, options: { json?: boolean }) => {
      const text = await getText(file);
      const { policy, diagnostics } = parsePolicy(text, file);
      if (options.json) printJson({ file, ok: policy !== undefined, diagnostics });
      else {
        for (const d of diagnostics) note(formatDiagnostic(d, text, { color: wantsColor(process.stderr) }));
        const count = (severity: string, word: string) => {
          const n = diagnostics.filter((d) => d.severity === severity).length;
          return n === 0 ? [] : [`${n} ${word}${n === 1 ? '' : 's'}`];
        };
        const found = [...count('error', 'error'), ...count('warning', 'warning')].join(', ');
        if (policy)
          print(
            `${file}: ok${found ? `, ${found}` : ''} (${policy.links.length} link${policy.links.length === 1 ? '' : 's'}, ${policy.queues.length} queues, ${policy.rules.length} rules)`,
          );
        else print(`${file}: ${found}`);
      }
      if (!policy) process.exitCode = 1;
    });
}
