import { type Command, Option } from 'commander';
import { formatDuration } from '../language/index.ts';
import { formatRate, formatSizeInShort } from '../model/index.ts';
import { ARROWS } from '../monitor/index.ts';
import { FLOW_ORDERS, MOST_LISTED, requestFlows } from '../service/ask.ts';
import type { FlowList, ListedFlow } from '../service/index.ts';
import { note, print, printJson, table } from './output.ts';

interface FlowsOptions {
  where?: string;
  sort: string;
  limit: string;
  json?: boolean;
}

export function addFlowsCommand(program: Command): void {
  program
    .command('flows')
    .description('list the flows that there are: who opened each, its queue and rule, what it carries')
    .option('--where <condition>', 'those alone of which this holds: a condition as rules have it')
    .addOption(new Option('--sort <by>', 'the most first, names from A').choices(FLOW_ORDERS).default('bytes'))
    .option('--limit <n>', `so many at most, 1 to ${MOST_LISTED}`, '50')
    .option('--json', 'print one JSON object: {total, matched, flows: [...], unknown}')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate flows
  sudo headgate flows --where 'origin remote and rate.out > 1mbit' --sort rate
  sudo headgate flows --where 'remote.port 443 and bytes > 10MB' --json

What is said by counters needs net.netfilter.nf_conntrack_acct=1; rates are read over a second. \`for\` has no meaning here.
For root, and members of the group headgate (docs/systemd).
Exit status: 0 listed; 2 the condition has a mistake; 3 neither; 6 headgate is not running`,
    )
    .action(async ({ where, sort, limit, json }: FlowsOptions) => {
      const parameters = new URLSearchParams({ sort, limit, ...(where !== undefined && { where }) });
      const list = await requestFlows(parameters);
      if (json) printJson(list);
      else show(list);
    });
}

const HEAD = ['proto', 'local', '', 'remote', 'queue', 'rule', 'age', 'in', 'out', 'in/s', 'out/s'];

function show({ total, matched, flows, unknown }: FlowList): void {
  if (flows.length > 0) print(table(HEAD, flows.map(rowOf), new Set([6, 7, 8, 9, 10])));
  note(`${matched} of ${total} flows${matched > flows.length ? `, the first ${flows.length}` : ''}`);
  if (unknown.length > 0)
    note(
      `headgate: warning: not known of every flow: ${unknown.join(', ')}; where it is not, those comparisons are false`,
    );
}

const rowOf = ({ protocol, local, remote, origin, queue, rule, age, bytes, rate }: ListedFlow): string[] => [
  ...[protocol, local, ARROWS[origin], remote, queue, rule ?? '-'],
  age === undefined ? '-' : formatDuration(Math.round(age / 1000) * 1000),
  ...(bytes ? [formatSizeInShort(bytes.in), formatSizeInShort(bytes.out)] : ['-', '-']),
  ...(rate ? [formatRate(Math.round(rate.in)), formatRate(Math.round(rate.out))] : ['-', '-']),
];
