import type { Command } from 'commander';
import { explainFlow, formatDiagnostic, formatExplanation, parseFlow } from '../language/index.ts';
import { note, print, printJson, wantsColor } from './output.ts';
import { plain } from './plain.ts';
import { loadPolicyToLookAt } from './policy-file.ts';

interface ExplainOptions {
  flow: string;
  json?: boolean;
}

export function addExplainCommand(program: Command): void {
  program
    .command('explain')
    .description('say where a flow goes by a policy and why: every rule in order, with what decided it')
    .argument('<file>', 'policy; - reads standard input')
    .requiredOption('--flow <flow>', 'a flow as `expect` has it; what is not said of it is not known')
    .option('--json', 'print one JSON object: {queue, rule, rules: [{name, verdict, because, change, needs, behind}]}')
    .addHelpText(
      'after',
      `
Example:
  headgate explain my.gate --flow 'tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local bytes.in 60MB age 40s'

A policy whose only errors are expect lines that do not hold is explained, too.
Exit status: 0 it is decided; 1 other mistakes in the policy, or one in the flow; 2 the file cannot be read`,
    )
    .action(async (file: string, { flow, json }: ExplainOptions) => {
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
      if (!json) {
        print(formatExplanation(explanation));
        return;
      }
      const { decision, rules } = explanation;
      printJson({
        queue: decision.queue,
        rule: decision.rule?.name ?? null,
        facts: plain(facts),
        rules: rules.map(({ rule, verdict, because, change, needs, behind }) => ({
          name: rule.name,
          file: rule.file,
          line: rule.line,
          queue: rule.queue ?? null,
          tier: rule.tier,
          verdict,
          because,
          change: change ?? null,
          needs: needs ?? null,
          behind: behind.map(({ name }) => name),
        })),
      });
    });
}
