import type { Command } from 'commander';
import { getText, replaceText } from '../kernel/files.ts';
import { type Diagnostic, diffLines, formatDiagnostic, formatDiff, formatPolicy } from '../language/index.ts';
import { note, print, printJson, report, wantsColor } from './output.ts';

interface FmtOptions {
  check?: boolean;
  json?: boolean;
}

interface Result {
  readonly file: string;
  /** It is not as it should be: it was written, or with --check would be. */
  readonly changed: boolean;
  readonly diagnostics: readonly Diagnostic[];
}

export function addFmtCommand(program: Command): void {
  program
    .command('fmt')
    .description(
      'lay policies out: columns, line lengths, empty lines; comments, line ends (LF or CR LF) and meaning stay as they are',
    )
    .argument('<file...>', 'policies, written in place where they change; - reads standard input and prints')
    .option('--check', 'write nothing: print what would change, and exit 1 where something would')
    .option('--json', 'print one JSON object: {ok, files: [{file, changed, diagnostics}]}')
    .addHelpText(
      'after',
      `
Examples:
  headgate fmt my.gate
  headgate fmt --check rules/*.gate       in CI
  headgate fmt - <my.gate >tidy.gate

A file with mistakes of form is left as it is, and its mistakes are shown. Files are replaced whole or not at all.
Exit status: 0 all is laid out; 1 mistakes of form, or with --check something to change; 2 a file cannot be read or written`,
    )
    .action(async (files: readonly string[], options: FmtOptions) => {
      const results: Result[] = [];
      for (const file of files) {
        try {
          results.push(await formatFile(file, options));
        } catch (error) {
          process.exitCode = report(error, options.json === true);
        }
      }
      const ok = results.every(({ changed, diagnostics }) => diagnostics.length === 0 && !(options.check && changed));
      if (options.json) printJson({ ok: ok && results.length === files.length, files: results });
      if (!ok) process.exitCode ??= 1;
    });
}

/** @throws HeadgateError HG_FILE, HG_WRITE */
async function formatFile(file: string, { check, json }: FmtOptions): Promise<Result> {
  const before = await getText(file);
  const { text, diagnostics } = formatPolicy(before, file);
  if (!json) for (const d of diagnostics) note(formatDiagnostic(d, before, { color: wantsColor(process.stderr) }));
  const changed = text !== undefined && text !== before;
  if (text !== undefined && file === '-' && !check && !json) process.stdout.write(text);
  else if (changed && check && !json) print(formatDiff(file, diffLines(before, text)));
  else if (changed && !check && file !== '-') {
    await replaceText(file, text);
    if (!json) note(`${file}: laid out`);
  }
  return { file, changed, diagnostics };
}
