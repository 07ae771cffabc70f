import { open } from 'node:fs/promises';
import { HeadgateError } from '../model/index.ts';
import { fileProblem } from './file-problem.ts';
import { tryLock } from './shim/index.ts';

/** A file to which whole lines are added, and nothing else happens to it. */
export interface LineFile {
  /** Bytes that it has. */
  readonly size: number;
  /** Resolves when the kernel has them: they are there after kill -9. @throws HeadgateError HG_WRITE */
  add(lines: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a file to add lines to it, and locks it (flock(2)); makes it where it is not there, and refuses one that another run has open, or that begins with something else than `start`.
 * What a killed run left half written at its end becomes a line of its own.
 *
 * @throws HeadgateError HG_WRITE
 */
export async function openLines(file: string, start: string): Promise<LineFile> {
  const failed = (cause: unknown): never => {
    const { code } = cause as NodeJS.ErrnoException;
    const problem = code === 'ENOENT' ? 'its folder does not exist' : fileProblem(cause);
    throw new HeadgateError('HG_WRITE', { file, problem }, { cause });
  };
  const handle = await open(file, 'a+', 0o600).catch(failed);
  const refuse = async (problem: string) => {
    await handle.close();
    failed(new Error(problem));
  };
  const problem = problemOfLock(handle.fd);
  if (problem) await refuse(problem);
  const status = await handle.stat();
  // One that nobody reads would be waited for without end.
  if (status.isFIFO()) await refuse('it is a FIFO');
  let { size } = status;
  const add = async (text: string) => {
    await handle.appendFile(text).catch(async (cause) => {
      // Some of it may be there.
      ({ size } = await handle.stat());
      failed(cause);
    });
    size += Buffer.byteLength(text);
  };
  if (size > 0) {
    const { buffer: first } = await handle.read(Buffer.alloc(start.length), 0, start.length, 0).catch(failed);
    if (first.toString() !== start) await refuse(`it does not begin with ${start}, as one of ours does`);
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1).catch(failed);
    if (buffer[0] !== 0x0a) await add('\n');
  }
  return {
    get size() {
      return size;
    },
    add: (lines) => (lines.length === 0 ? Promise.resolve() : add(lines.map((line) => `${line}\n`).join(''))),
    close: () => handle.close(),
  };
}

/** Undefined: it is locked. */
function problemOfLock(fd: number): string | undefined {
  try {
    return tryLock(fd) ? undefined : 'another run writes to it';
  } catch (error) {
    // NFS without its lock daemon, some of FUSE and 9p.
    if (!(error instanceof HeadgateError) || error.code !== 'HG_KERNEL') throw error;
    return `it cannot be locked there: ${error.message}`;
  }
}
