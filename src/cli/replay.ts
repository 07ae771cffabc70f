import type { Command } from 'commander';
import { readLines } from '../kernel/files.ts';
import { formatSizeInShort, HeadgateError, type Prefix, parsePrefix } from '../model/index.ts';
import { type Comparison, compare, readRecording } from '../replay/index.ts';
import { note, print, printJson, table } from './output.ts';
import { loadPolicyToLookAt } from './policy-file.ts';

interface ReplayOptions {
  policy: string;
  against?: string;
  inside?: readonly string[];
  json?: boolean;
}

/** RFC 1918, RFC 4193, and what links have among themselves. */
const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fe80::/10'];

export function addReplayCommand(program: Command): void {
  program
    .command('replay')
    .description('have a policy decide recorded flows, and say what would change; needs no root and no kernel')
    .argument('<file>', 'of headgate record, conntrack -E -o xml,timestamp,id, or conntrack -L; - reads standard input')
    .requiredOption('--policy <file>', 'what decides')
    .option('--against <file>', 'what is compared with (default: what ran while it was recorded)')
    .option(
      '--inside <prefix...>',
      'for what conntrack printed, which does not tell: addresses on this side (default: the private ones)',
    )
    .option(
      '--json',
      'print one JSON object: {flows, runs, queues, rules, moves, changes, unknown, uncounted, unbegun, losses, torn}',
    )
    .addHelpText(
      'after',
      `
Examples:
  headgate replay today.hgr --policy new.gate
  headgate replay today.hgr --policy new.gate --against old.gate --json
  sudo conntrack -L | headgate replay - --policy my.gate --inside 192.168.1.0/24

The same input gives the same output, byte for byte. What a flow carried is taken to have come evenly.
Exit status: 0 it is decided; 1 mistakes in a policy; 2 a file cannot be read, or is no recording`,
    )
    .action(async (file: string, { policy, against, inside = PRIVATE, json }: ReplayOptions) => {
      if ([file, policy, against].filter((one) => one === '-').length > 1)
        throw new HeadgateError('HG_USAGE', { command: 'replay', problem: 'only one file can be standard input (-)' });
      const policies = {
        new: await loadPolicyToLookAt(policy),
        old: against === undefined ? undefined : await loadPolicyToLookAt(against),
      };
      const recording = await readRecording(readLines(file), inside.map(readPrefix), file);
      const comparison = compare(recording, policies.new, policies.old);
      if (json) printJson(comparison);
      else show(comparison, against ?? 'what ran');
    });
}

/** @throws HeadgateError HG_USAGE */
function readPrefix(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (!prefix) throw new HeadgateError('HG_USAGE', { command: 'replay', problem: `--inside ${text}: write a prefix` });
  return prefix;
}

const RIGHT = new Set([1, 2, 3, 4]);

function show(comparison: Comparison, before: string): void {
  const { flows, runs, queues, rules, moves, changes } = comparison;
  const sum = (one: { flows: number; bytes: number } | undefined) =>
    one ? [String(one.flows), formatSizeInShort(one.bytes)] : ['-', '-'];
  print(
    table(
      ['queue', 'flows before', 'bytes', 'flows after', 'bytes'],
      queues.map((one) => [one.queue, ...sum(one.before), ...sum(one.after)]),
      RIGHT,
    ),
  );
  if (rules.length > 0)
    print(
      `\n${table(
        ['rule', 'before', 'after'],
        rules.map((one) => [one.rule, String(one.before ?? '-'), String(one.after)]),
        RIGHT,
      )}`,
    );
  print('');
  for (const { from, to, flows: count, yours, bytes } of moves)
    print(
      `${count} ${count === 1 ? 'flow moves' : 'flows move'} from ${from} to ${to}, ${yours} of them yours (${formatSizeInShort(bytes)})`,
    );
  if (queues.some((one) => one.before) && moves.length === 0) print(`no flow moves, of ${flows}, against ${before}`);
  if (changes > 0) print(`${changes} times a flow went from one rule to another`);
  if (runs > 1)
    note(
      `${runs} runs of record are in it: a flow that went on from one to the next counts in each, with what it carried there`,
    );
  for (const warning of listWarnings(comparison)) note(`headgate: warning: ${warning}`);
}

/** What it cannot know. */
function* listWarnings({ flows, unknown, uncounted, unbegun, losses, torn }: Comparison): Generator<string> {
  if (unknown.length > 0) yield `a recording does not tell ${unknown.join(', ')}: those comparisons are false`;
  if (uncounted > 0)
    yield `of ${uncounted} of ${flows} flows nobody told what they carried (they went on at its end, or the kernel does not count): 0 bytes here, and comparisons with bytes, packets, rates are false`;
  if (unbegun > 0) yield `of ${unbegun} of ${flows} flows nobody told the beginning: how old they were is not known`;
  if (losses > 0) yield `${losses} gaps in the recording: flows may be missing`;
  if (torn > 0) yield `${torn} lines could not be read`;
}
