import type { Command } from '../model/index.ts';
import { removedClsact } from './link.ts';
import { HOOK_CHAIN } from './names.ts';
import type { Operation } from './operation.ts';

/** A file that the commands read, in base64 of what gzip(1) made of it. */
export interface ScriptFile {
  readonly name: string;
  readonly content: string;
}

/** Stands in commands for the folder of the script's files. */
export const SCRIPT_FOLDER = '$folder';

/** One for each network namespace, empty after a boot, as the kernel is. */
const FOLDER = 'folder=/run/headgate-script-$(readlink /proc/self/ns/net | tr -dc 0-9)';

/**
 * A POSIX shell script that runs the operations, by itself and `up`; one that fails has all before it undone. `down` runs
 * the inverses of what was done, the last first.
 *
 * @param about lines for the comment at its head
 * @param files written to {@link SCRIPT_FOLDER} before
 * @param withoutNat it refuses where there are chains of type nat
 */
export function formatScript(
  about: readonly string[],
  operations: readonly Operation[],
  files: readonly ScriptFile[] = [],
  withoutNat = false,
): string {
  const lines = [
    '#!/bin/sh',
    ...about.map((line) => `# ${line}`),
    'set -e',
    '# Holds what tc reads, and what was done, for `down`.',
    FOLDER,
    ...operations.flatMap(({ undo }, i) => (undo ? ['', `undo_${i + 1}() {`, ...formatUndo(undo), '}'] : [])),
    '',
    '# What was done, the last first.',
    'did() {',
    '\tdone="$1 $done"',
    '\techo "$done" >$folder/done',
    '}',
    '',
    'back() {',
    '\tset +e',
    '\tfor one in $done; do $one; done',
    '\trm -r $folder',
    '}',
    '',
    ...REFUSE_HEADGATE,
    '',
    'up() {',
    '\talone',
    ...(withoutNat ? REFUSE_NAT : []),
    '\tmkdir $folder || refuse "a script was run here before: sh $0 down takes away what is left of it, and this folder"',
    '\ttrap back EXIT',
    ...files.flatMap(formatFile),
    ...operations.flatMap(({ about, command, undo }, i) => {
      const did = undo ? [`\tdid undo_${i + 1}`] : [];
      // Of many commands some may have been done when one fails.
      return ['', `\t# ${about}`, ...(isBatch(command) ? [...did, ...format(command)] : [...format(command), ...did])];
    }),
    '',
    '\ttrap - EXIT',
    '}',
    '',
    `case \${1:-up} in`,
    'up) up ;;',
    'down)',
    '\talone',
    '\tdone=$(cat $folder/done)',
    '\tback',
    '\t;;',
    '*)',
    '\techo "usage: $0 [up|down]" >&2',
    '\texit 2',
    '\t;;',
    'esac',
  ];
  return `${lines.join('\n')}\n`;
}

const REFUSE_HEADGATE = [
  'refuse() {',
  '\techo "$1" >&2',
  '\texit 4',
  '}',
  '',
  '# A running headgate has this name in the network namespace.',
  'alone() {',
  "\t! grep -q ' @headgate@*$' /proc/net/unix || refuse 'headgate runs here: headgate down'",
  '}',
];

const REFUSE_NAT = [
  '\t# Entries that are made on arrival (ct commit) get no translation.',
  "\tif nft list chains | grep 'type nat hook' >&2 || grep -sx nat /proc/net/ip_tables_names /proc/net/ip6_tables_names >&2; then",
  "\t\trefuse 'conntrack create: there is NAT here'",
  '\tfi',
];

const isBatch = ({ argv }: Command): boolean => argv.includes('-batch');

const END = 'HEADGATE';

/** The command with its input as a here-document. */
function format({ argv, input }: Command): string[] {
  const line = `\t${argv.map(quote).join(' ')}`;
  if (input === undefined) return [line];
  // In what tc reads by lines, too, the folder of the files has to be put in by the shell.
  const names = input.includes(SCRIPT_FOLDER);
  const text = names ? input.replace(/[\\$`]/g, '\\$&').replaceAll(`\\${SCRIPT_FOLDER}`, () => SCRIPT_FOLDER) : input;
  return [`${line} <<${names ? END : `'${END}'`}`, ...text.trimEnd().split('\n'), END];
}

/** A clsact goes only where it is ours, and nobody has put filters of their own there since. */
function formatUndo(undo: Command): string[] {
  const device = removedClsact(undo);
  if (device === undefined) return format(undo);
  const on = quote(device);
  const show = (way: string) => `$(tc filter show dev ${on} ${way})`;
  return [
    `\ttc chain show dev ${on} ingress | grep -qw 'chain ${HOOK_CHAIN}' || return`,
    `\t[ -n "${show('ingress')}${show('egress')}" ] ||`,
    ...format(undo),
  ];
}

const formatFile = ({ name, content }: ScriptFile): string[] => [
  '',
  `\tbase64 -d <<'${END}' | gzip -d >$folder/${quote(name)}`,
  ...(content.match(/.{1,120}/g) ?? []),
  END,
];

const quote = (word: string): string =>
  word.startsWith(SCRIPT_FOLDER) || /^[\w.,:/=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
