import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { HeadgateError } from '../model/index.ts';
import { fileProblem } from './file-problem.ts';

/** Lines of a text that comes in pieces. Throws what the source does, which the iterator of node:readline waits through for ever. */
export async function* linesOf(input: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of input) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== '') yield rest;
}

/** Lines of a file of any size, or of standard input (`-`). @throws HeadgateError HG_FILE */
export async function* readLines(file: string): AsyncGenerator<string> {
  const input = file === '-' ? process.stdin : createReadStream(file);
  try {
    yield* linesOf(input.setEncoding('utf8'));
  } catch (cause) {
    throw new HeadgateError('HG_FILE', { file, problem: fileProblem(cause) }, { cause });
  }
}

/** A file to which whole lines are added, and nothing else happens to it. */
export interface LineFile {
  /** Bytes that it has. */
  readonly size: number;
  /** Resolves when the kernel has them: they are there after kill -9. @throws HeadgateError HG_WRITE */
  add(lines: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a file to add lines to it; makes it where it is not there, and refuses one that begins with something else than `start`. What a killed run left half written at its end becomes a
 * line of its own.
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
  let { size } = await handle.stat();
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
    if (first.toString() !== start) {
      await handle.close();
      failed(new Error(`it does not begin with ${start}, as one of ours does`));
    }
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
