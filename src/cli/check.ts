import { type Command, Option } from 'commander';
import { type Diagnostic, formatSarif, type ParsedPolicy, type Rule } from '../language/reading.ts';
import { print, printJson, report } from './output.ts';
import { noteFindings, readPolicy } from './policy-file.ts';
import { VERSION } from './version.ts';

interface CheckOptions {
  json?: boolean;
  sarif?: boolean;
  machine: boolean;
}

interface Found {
  readonly file: string;
  readonly ok: boolean;
  /** Of a file without errors: each rule's tier, and for a live one the words that make it so. */
  readonly rules: readonly Pick<Rule, 'name' | 'line' | 'tier'>[];
  readonly diagnostics: readonly Diagnostic[];
}

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .description('read policies and say what is wrong with them, all of it at once; nothing is changed')
    .argument('<file...>', 'policies, such as rules/favour-local.gate; - reads standard input')
    .option('--json', 'print one JSON object: {ok, files: [{file, ok, rules}], diagnostics}')
    .addOption(
      new Option('--sarif', 'print the findings as SARIF 2.1.0, as code hosts take them; of the file alone').conflicts(
        'json',
      ),
    )
    .option('--no-machine', 'look at the file alone, not at what this machine can serve: for a policy of another box')
    .addHelpText(
      'after',
      `
Examples:
  headgate check my.gate
  headgate check --sarif rules/*.gate >headgate.sarif

Exit status: 0 no errors (warnings may be), 1 errors, 2 wrong usage, or a file cannot be read`,
    )
    .action(async (files: readonly string[], options: CheckOptions) => {
      const quiet = options.json === true || options.sarif === true;
      const found: Found[] = [];
      for (const file of files) {
        try {
          const parsed = await readPolicy(file, options.machine && !options.sarif ? 'machine' : undefined);
          found.push({
            file,
            ok: parsed.policy !== undefined,
            rules: parsed.policy?.rules.map(({ name, line, tier }) => ({ name, line, tier })) ?? [],
            diagnostics: parsed.diagnostics,
          });
          if (!quiet) show(file, parsed);
        } catch (error) {
          process.exitCode = report(error, options.json === true);
        }
      }
      const ok = found.length === files.length && found.every((one) => one.ok);
      const diagnostics = found.flatMap((one) => one.diagnostics);
      if (options.sarif) printJson(formatSarif(files, diagnostics, VERSION));
      else if (options.json)
        printJson({ ok, files: found.map(({ file, ok, rules }) => ({ file, ok, rules })), diagnostics });
      if (!ok) process.exitCode ??= 1;
    });
}

/** The findings for the person, and what became of the file for the pipe. */
function show(file: string, parsed: ParsedPolicy): void {
  noteFindings(parsed);
  const { policy, diagnostics } = parsed;
  const errors = diagnostics.filter((d) => d.severity === 'error').length;
  const counts = [count(errors, 'error'), count(diagnostics.length - errors, 'warning')];
  const findings = counts.filter((text) => !text.startsWith('0 ')).join(', ');
  const live = policy?.rules.flatMap(({ name, tier }) => (tier.kind === 'live' ? [{ name, tier }] : [])) ?? [];
  const tiers = live.length > 0 ? `: ${(policy?.rules.length ?? 0) - live.length} kernel, ${live.length} live` : '';
  const contents = policy && [
    count(policy.links.length, 'link'),
    count(policy.queues.length, 'queue'),
    count(policy.rules.length, 'rule') + tiers,
  ];
  const result = contents ? ['ok', findings].filter(Boolean).join(', ') : findings;
  print(`${file}: ${result}${contents ? ` (${contents.join(', ')})` : ''}`);
  for (const { name, tier } of live) print(`  rule ${name} is live, for it looks at ${tier.because.join(', ')}`);
}

const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;
