import { constants, createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { HeadgateError } from '../model/index.ts';
import { fileProblem } from './file-problem.ts';

/** Bytes of a policy file that are read; a longer one is refused. */
export const MAX_FILE_BYTES = 16 << 20;
export const TOO_LONG = `it has more than ${MAX_FILE_BYTES >> 20} MiB`;

/** Reads a text file, or standard input, up to {@link MAX_FILE_BYTES}: {@link openText}. @throws HeadgateError HG_FILE */
export async function getText(file: string): Promise<string> {
  try {
    return await readAll(await openText(file, MAX_FILE_BYTES));
  } catch (cause) {
    throw new HeadgateError('HG_FILE', { file, problem: fileProblem(cause) }, { cause });
  }
}

/**
 * Opens a text file of at most so many bytes, or standard input where it is named `-`.
 *
 * Regular files alone, since a device may be endless, and a FIFO that nobody writes to silent for ever; but also what a
 * shell has opened: `<(...)`, which is `/dev/fd/N`, is read to its end, as standard input is.
 */
export async function openText(file: string, most = Number.POSITIVE_INFINITY): Promise<Readable> {
  if (file === '-' || file === '/dev/stdin') return process.stdin;
  const descriptor = openDescriptor(file);
  // Left open: it is the shell's, and only read from once.
  if (descriptor !== undefined) return createReadStream('', { fd: descriptor, autoClose: false });
  refuseOthers(await stat(file), most);
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    refuseOthers(await handle.stat(), most);
    return handle.createReadStream();
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function openDescriptor(file: string): number | undefined {
  const [, number] = /^\/(?:dev|proc\/self)\/fd\/(\d+)$/.exec(file) ?? [];
  return number === undefined ? undefined : Number(number);
}

interface Status {
  isFile(): boolean;
  isDirectory(): boolean;
  isFIFO(): boolean;
  readonly size: number;
}

function refuseOthers(status: Status, most: number): void {
  if (status.isDirectory()) throw new Error('it is a folder');
  if (status.isFIFO()) throw new Error('it is a FIFO; name - and redirect standard input to read from it');
  if (!status.isFile()) throw new Error('it is no regular file');
  if (status.size > most) throw new Error(TOO_LONG);
}

async function readAll(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_FILE_BYTES) throw new Error(TOO_LONG);
  }
  return Buffer.concat(chunks).toString();
}
