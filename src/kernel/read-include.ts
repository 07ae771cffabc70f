import { closeSync, constants, fstatSync, openSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileProblem } from './file-problem.ts';
import { MAX_FILE_BYTES, TOO_LONG } from './get-text.ts';

/**
 * Reads a file that the policy `from` includes, or says why it cannot: a symbolic link may lead nowhere but to that
 * policy's folder or further down, or opening a stranger's policy would show files of ours. Regular files alone: a pipe could make it wait for ever.
 * Synchronous, for it is asked in the middle of parsing.
 */
export function readInclude(file: string, from: string): { readonly text: string } | { readonly problem: string } {
  let descriptor: number | undefined;
  try {
    const real = realpathSync(file);
    if (!real.startsWith(join(realpathSync(dirname(from)), '/'))) return { problem: 'it lies outside, behind a link' };
    descriptor = openSync(real, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) return { problem: stat.isDirectory() ? 'it is a folder' : 'it is no regular file' };
    if (stat.size > MAX_FILE_BYTES) return { problem: TOO_LONG };
    return { text: readFileSync(descriptor, 'utf8') };
  } catch (error) {
    return { problem: fileProblem(error) };
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
