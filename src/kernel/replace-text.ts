import { open, realpath, rename, rm, stat } from 'node:fs/promises';
import { HeadgateError } from '../model/index.ts';
import { fileProblem } from './file-problem.ts';

/**
 * Puts a text in a file's place, whole or not at all: a new file is written beside it and renamed over it. Mode and
 * (as root) owner stay; where the name is a symbolic link, the file that it leads to is replaced.
 *
 * @throws HeadgateError HG_WRITE; then the file is as it was
 */
export async function replaceText(file: string, text: string): Promise<void> {
  let written: string | undefined;
  try {
    const path = await realpath(file);
    const status = await stat(path);
    // A device or pipe must not become a file.
    if (!status.isFile()) throw new Error('it is no regular file');
    const beside = `${path}.${crypto.randomUUID()}`;
    const handle = await open(beside, 'wx', 0o600);
    written = beside;
    try {
      await handle.writeFile(text);
      if (process.geteuid?.() === 0) await handle.chown(status.uid, status.gid);
      await handle.chmod(status.mode & 0o7777);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, path);
  } catch (cause) {
    if (written !== undefined) await rm(written, { force: true });
    throw new HeadgateError('HG_WRITE', { file, problem: fileProblem(cause) }, { cause });
  }
}
