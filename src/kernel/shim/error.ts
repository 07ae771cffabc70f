import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { HeadgateError } from '../../model/index.ts';
import { ERROR, LITTLE_ENDIAN } from './layout.ts';

const { what, text } = ERROR.fields;

const cString = (bytes: Buffer, offset: number, length: number): string =>
  bytes.toString('utf8', offset, offset + length).replace(/\0.*$/s, '');

/** The errno's name and words: `ENOENT: no such file or directory`. */
export function describeErrno(errno: number): string {
  const known = getSystemErrorMap().get(-errno);
  if (known) return `${known[0]}: ${known[1]}`;
  const [name] = Object.entries(constants.errno).find(([, value]) => value === errno) ?? [`errno ${errno}`];
  return name;
}

/** HG_NOT_ROOT for EPERM and EACCES, HG_KERNEL for everything else. `doing` says what was tried, as a gerund. */
export function kernelError(doing: string, errno: number, call: string, words = ''): HeadgateError {
  const cause = Object.assign(new Error(`${call}: ${describeErrno(errno)}`), { errno, syscall: call });
  if (errno === constants.errno.EPERM || errno === constants.errno.EACCES)
    return new HeadgateError('HG_NOT_ROOT', { what: doing, errno }, { cause });
  const problem = [`${call}: ${describeErrno(errno)}`, words].filter(Boolean).join('; ');
  return new HeadgateError('HG_KERNEL', { command: doing, problem, errno }, { cause });
}

/** Calls a function of the shim that fills a struct hg_error when it returns null or a negative number. */
export function call<T>(doing: string, f: (error: Buffer) => T | null): T {
  const error = Buffer.alloc(ERROR.size);
  const result = f(error);
  if (result !== null && !(typeof result === 'number' && result < 0)) return result;
  throw kernelError(
    doing,
    new DataView(error.buffer, error.byteOffset).getInt32(ERROR.fields.code.offset, LITTLE_ENDIAN),
    cString(error, what.offset, what.length),
    cString(error, text.offset, text.length),
  );
}
