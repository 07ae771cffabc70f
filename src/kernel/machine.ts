import { constants, existsSync } from 'node:fs';
import { access, mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Command, HeadgateError } from '../model/index.ts';
import { type CommandOptions, run, type Where } from './command.ts';
import { hasRight } from './rights.ts';

/** @throws HeadgateError HG_NOT_ROOT, also for a root that a container keeps from it */
export function ensureRoot(what: string): void {
  if (process.geteuid?.() !== 0) throw new HeadgateError('HG_NOT_ROOT', { what });
  if (!hasRight('NET_ADMIN')) throw new HeadgateError('HG_NOT_ROOT', { what: `${what} (CAP_NET_ADMIN is missing)` });
}

/** @throws HeadgateError HG_NO_BTF where the kernel does not describe its types, which the classifier needs to find `nf_conn.mark` */
export async function ensureBtf(): Promise<void> {
  await access('/sys/kernel/btf/vmlinux', constants.R_OK).catch((cause) => {
    throw new HeadgateError('HG_NO_BTF', {}, { cause });
  });
}

/** A number that names the caller's network namespace as long as it lives: its inode. */
export async function getNamespaceId(): Promise<string> {
  return /\d+/.exec(await readlink('/proc/self/ns/net'))![0];
}

/** Where what belongs to the running service lies: /run is empty after a boot, and root's alone to write. */
export const STATE_FOLDER = '/run/headgate';

/** What of a network namespace lies there: the lock and the socket of its service, the token of its web page, {@link addFiles}, the journal and the records. */
export type StateKind = 'lock' | 'sock' | 'token' | 'd' | 'plan' | 'journal' | RecordKind;

/** What is applied; the policy that nobody has confirmed, and what ran before it. */
export type RecordKind = 'applied' | 'trial';

/** Path of what belongs to a network namespace, by its number: the caller's, where none is given. */
export const getStatePath = async (kind: StateKind, namespace?: string): Promise<string> =>
  join(STATE_FOLDER, `${namespace ?? (await getNamespaceId())}.${kind}`);

/** Of the running service, or of a plan as long as it is made. */
type FilesFor = Extract<StateKind, 'd' | 'plan'>;

/** The folder: each plan has its own, since two may be made at once. */
const folderOf = async (of: FilesFor): Promise<string> =>
  of === 'plan' ? `${await getStatePath(of)}.${process.pid}` : getStatePath(of);

/** Puts files that tc has to read into the folder of this network namespace; returns their paths by name. */
export async function addFiles(
  files: Readonly<Record<string, Uint8Array>>,
  of: FilesFor = 'd',
): Promise<Record<string, string>> {
  const folder = await folderOf(of);
  return inStateFolder(async () => {
    await mkdir(folder, { recursive: true, mode: 0o755 });
    const paths: Record<string, string> = {};
    for (const [name, content] of Object.entries(files)) {
      paths[name] = join(folder, name);
      await writeFile(paths[name], content, { mode: 0o600 });
    }
    return paths;
  });
}

/** Removes those files, or with their folder all that are there; none is no error. */
export async function delFiles(paths?: readonly string[], of: FilesFor = 'd'): Promise<void> {
  for (const path of paths ?? [await folderOf(of)]) await rm(path, { recursive: true, force: true });
}

/** Removes the folders of plans whose process is no more. */
export async function delOldPlans(): Promise<void> {
  const begin = `${basename(await getStatePath('plan'))}.`;
  for (const name of await readdir(STATE_FOLDER).catch(() => []))
    if (name.startsWith(begin) && !existsSync(`/proc/${name.slice(begin.length)}`))
      await rm(join(STATE_FOLDER, name), { recursive: true, force: true });
}

/** Writes into {@link STATE_FOLDER}, which is made where it is not there. @throws HeadgateError HG_NO_PLACE where `write` cannot */
export async function inStateFolder<T>(write: () => Promise<T>): Promise<T> {
  try {
    await mkdir(STATE_FOLDER, { recursive: true, mode: 0o755 });
    return await write();
  } catch (error) {
    throw noPlace(error);
  }
}

/** What a failure to write below {@link STATE_FOLDER} is called. */
export function noPlace(error: unknown): HeadgateError {
  if (error instanceof HeadgateError) return error;
  const cause = error as NodeJS.ErrnoException;
  return new HeadgateError('HG_NO_PLACE', { folder: STATE_FOLDER, problem: cause.message }, { cause });
}

/** Reads a file that was built with Headgate. @throws HeadgateError HG_NO_SHIM */
export const getFile = (path: string): Promise<Uint8Array> =>
  readFile(path).catch((cause: Error) => {
    throw new HeadgateError('HG_NO_SHIM', { problem: cause.message }, { cause });
  });

export const runCommand = (command: Command, where: Where = {}): Promise<string> =>
  run(command.argv, { ...where, input: command.input } satisfies CommandOptions);
