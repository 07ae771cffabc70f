import type { Command } from 'commander';
import { explainFlow, formatDiagnostic, formatExplanation, parseFlow, plainExplanation } from '../language/index.ts';
import { HeadgateError } from '../model/index.ts';
import { showExplained } from './explained.ts';
import { note, print, printJson, wantsColor } from './output.ts';
import { loadPolicyToLookAt } from './policy-file.ts';

interface ExplainOptions {
  flow?: string;
  live?: string;
  json?: boolean;
}

export function addExplainCommand(program: Command): void {
  program
    .command('explain')
    .description('say where a flow goes by a policy and why: every rule in order, with what decided it')
    .argument('[file]', 'policy; - reads standard input')
    .option('--flow <flow>', 'a flow as `expect` has it; what is not said of it is not known')
    .option('--live <flow>', 'in place of file and --flow: a flow of the running headgate, by its two ends')
    .option('--json', 'print one JSON object: {queue, rule, rules: [{name, verdict, because, change, needs, behind}]}')
    .addHelpText(
      'after',
      `
Examples:
  headgate explain my.gate --flow 'tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local bytes.in 60MB age 40s'
  headgate explain --live 'tcp 10.0.0.5 -> 1.1.1.1:443'

--live asks the service what it knows of that flow, which rule holds it, and its queue; ports may be left out, and either end
may come first. With --json it prints an array. It is for root, and members of the group headgate (docs/systemd).
A policy whose only errors are expect lines that do not hold is explained, too.
Exit status: 0 it is decided; 1 other mistakes in the policy, or one in --flow, or no such flow runs; 2 the file cannot be read, or what --live has is no flow;
3 --live, and neither root nor in the group; 6 headgate is not running`,
    )
    .action(async (file: string | undefined, { flow, live, json }: ExplainOptions) => {
      if (live !== undefined && file === undefined && flow === undefined) return explainLive(live, json === true);
      if (file === undefined || flow === undefined || live !== undefined)
        throw new HeadgateError('HG_USAGE', { command: 'explain', problem: 'give a file and --flow, or --live alone' });
      const policy = await loadPolicyToLookAt(file, json === true);
      const { facts, diagnostics } = parseFlow(flow, '--flow', policy);
      for (const d of diagnostics) {
        if (json) printJson({ kind: 'diagnostic', ...d });
        else note(formatDiagnostic(d, flow, { color: wantsColor(process.stderr) }));
      }
      if (!facts) {
        process.exitCode = 1;
        return;
      }
      const explanation = explainFlow(policy, facts);
      if (json) printJson(plainExplanation(explanation));
      else print(formatExplanation(explanation));
    });
}

async function explainLive(flow: string, json: boolean): Promise<void> {
  const { requestExplanation } = await import('../service/ask.ts');
  showExplained(await requestExplanation(flow), json);
}
