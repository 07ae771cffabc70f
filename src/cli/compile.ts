import { type Command, Option } from 'commander';
import { overrideLink, type Policy } from '../language/index.ts';
import { DEFAULT_MARK_FIELD, HeadgateError, plain } from '../model/index.ts';
import { compileRules, formatTable } from '../shape/index.ts';
import { note, print } from './output.ts';
import { loadPolicy, loadPolicyToLookAt } from './policy-file.ts';

interface CompileOptions {
  to: 'nft' | 'json';
  device?: string;
}

export function addCompileCommand(program: Command): void {
  program
    .command('compile')
    .description('print what a policy becomes: its kernel rules as an nft table, or all of it as data')
    .argument('<file>', 'policy; - reads standard input')
    .addOption(
      new Option(
        '--to <form>',
        'nft: the table inet headgate, for nft -f; json: the checked policy, with tiers and needs',
      )
        .choices(['nft', 'json'])
        .makeOptionMandatory(),
    )
    .option('--device <device>', 'network device of the link, in place of what the policy says')
    .addHelpText(
      'after',
      `
Examples:
  headgate compile my.gate --to nft --device eth0
  headgate compile my.gate --to json | jq '.rules[] | {name, tier}'

As JSON, also a policy whose only errors are expect lines that do not hold.
Exit status: 0 printed; 1 mistakes in the policy; 2 the file cannot be read, or wrong usage`,
    )
    .action(async (file: string, { to, device }: CompileOptions) => {
      const load = to === 'json' ? loadPolicyToLookAt : loadPolicy;
      const policy = overrideLink(await load(file), { device });
      if (to === 'json') print(JSON.stringify(plain(policy), undefined, 2));
      else printTable(policy);
    });
}

/** @throws HeadgateError HG_LINK_INCOMPLETE where a link has no device */
function printTable(policy: Policy): void {
  const devices = policy.links.map(({ name, device }) => {
    if (device === undefined) throw new HeadgateError('HG_LINK_INCOMPLETE', { link: name, missing: 'device' });
    return device;
  });
  const field = policy.marks ?? DEFAULT_MARK_FIELD;
  const rules = compileRules(policy, field);
  for (const { rule, why } of rules.left) note(`rule ${rule.name} is left to the pipeline: ${why}`);
  process.stdout.write(formatTable(rules, devices, field));
}
