import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/** Bytes of an included file that are read. */
const MAX_BYTES = 16 << 20;

/**
 * Reads a file that a policy includes, or says why it cannot. Regular files alone: a pipe could make it wait for ever.
 * Synchronous, for it is asked in the middle of parsing.
 */
export function readInclude(file: string): { readonly text: string } | { readonly problem: string } {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) return { problem: stat.isDirectory() ? 'it is a folder' : 'it is no regular file' };
    if (stat.size > MAX_BYTES) return { problem: `it has more than ${MAX_BYTES >> 20} MiB` };
    return { text: readFileSync(descriptor, 'utf8') };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { problem: code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'permission denied' : message };
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
