// Faults at the doors of the kernel: tc, ip and nft as they are, until the one call that is to go wrong. Nothing in Headgate knows.

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * `dies before`, `dies after`: headgate is killed with kill -9 when it was about to change something, or had done it.
 * `fails`: the kernel refuses; `refuses`: from then on it always does. `hangs`: it does not answer.
 *
 * Of a batch each line is one that `fails`. Nobody dies within one: tc has all lines by then, and goes on to their end.
 */
export type Fault = 'dies before' | 'dies after' | 'fails' | 'refuses' | 'hangs';

/** What the kernel says where memory is short: ENOBUFS, as tc and ip write it. */
export const REFUSAL = 'No buffer space available';

/** Puts a script in a tool's place, in a folder for the front of PATH; the PATH, for env(1). */
export async function standIn(folder: string, tool: string, script: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, tool), script, { mode: 0o755 });
  return `PATH=${folder}:${process.env.PATH}`;
}

/** A folder for the front of PATH. */
export class Faults {
  readonly folder: string;
  /** The PATH for the headgate that is to suffer. */
  readonly path: string;

  private constructor(folder: string, path: string) {
    this.folder = folder;
    this.path = path;
  }

  static async build(folder: string): Promise<Faults> {
    const own = join(folder, 'faults');
    const [path] = await Promise.all(['tc', 'ip', 'nft'].map((tool) => standIn(own, tool, wrapper(tool, own))));
    return new Faults(own, path!);
  }

  /** Nothing goes wrong any more. */
  clear(): Promise<void> {
    return rm(join(this.folder, 'fault'), { force: true });
  }

  /** The command that went wrong; undefined: none has. */
  async hit(): Promise<string | undefined> {
    return readFile(join(this.folder, 'hit'), 'utf8').then(
      (text) => text.trim(),
      () => undefined,
    );
  }

  /**
   * From now on the `n`th command that changes something (from 1) goes wrong, once, or with `refuses` until it is cleared; where
   * there are words, and with `hangs`, the `n`th that has the words in it, whether it changes something or reads.
   */
  async set(fault: Fault, n: number, words = ''): Promise<void> {
    for (const name of ['count', 'hit']) await rm(join(this.folder, name), { force: true });
    await writeFile(join(this.folder, 'fault'), `${fault}\n${n}\n${words}\n`);
  }
}

const wrapper = (tool: string, folder: string): string => `#!/bin/sh
real=/usr/sbin/${tool}
batch=
[ -e ${folder}/fault ] || exec $real "$@"
{ read -r fault; read -r at; read -r words; } <${folder}/fault
case "$fault$words  $* " in
hangs*) ;;
"$fault "*" show "*|"$fault "*" list "*) exec $real "$@" ;;
esac
# What is tried out in a namespace of its own is no step.
[ "$(readlink /proc/self/ns/net)" = "$(readlink /proc/$PPID/ns/net)" ] || exec $real "$@"
case "${tool} $*" in *"$words"*) ;; *) exec $real "$@" ;; esac
lines=1
case "$fault$words $*" in
"fails "*-batch*) batch=${folder}/batch; cat >$batch; exec <$batch; lines=$(wc -l <$batch) ;;
esac
before=$(cat ${folder}/count 2>/dev/null || echo 0)
echo $((before + lines)) >${folder}/count
[ "$at" -le $((before + lines)) ] || exec $real "$@"
[ $fault = refuses ] || rm ${folder}/fault
line=$((at - before))
echo "${tool} $*" >${folder}/hit
case $fault in
"dies before") kill -9 $PPID ;;
"dies after") $real "$@"; kill -9 $PPID ;;
hangs) exec sleep 600 ;;
fails | refuses)
  case "\${batch:+by line} $*" in
  "by line -force"*) sed "$line"d | $real "$@" ;;
  "by line "*) head -n $((line - 1)) | $real "$@" ;;
  *) cat >/dev/null ;;
  esac
  echo "RTNETLINK answers: ${REFUSAL}" >&2
  [ -z "$batch" ] || { echo "Command failed -:$line" >&2; exit 1; }
  exit 2
  ;;
esac
`;
