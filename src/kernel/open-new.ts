import { type FileHandle, open } from 'node:fs/promises';
import { HeadgateError } from '../model/index.ts';
import { fileProblem } from './file-problem.ts';

/** Opens a new file to write to, that its owner alone may read; where `replace` says so, one that is there from its start. @throws HeadgateError HG_FILE_EXISTS, HG_WRITE */
export const openNew = (file: string, replace = false): Promise<FileHandle> =>
  open(file, replace ? 'w' : 'wx', 0o600).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EEXIST') throw new HeadgateError('HG_FILE_EXISTS', { file }, { cause });
    throw new HeadgateError('HG_WRITE', { file, problem: fileProblem(cause) }, { cause });
  });
