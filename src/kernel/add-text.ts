import { writeFile } from 'node:fs/promises';
import { HeadgateError } from '../model/index.ts';
import { fileProblem } from './file-problem.ts';
import { replaceText } from './replace-text.ts';

/**
 * Writes a text to a new file, or, where `replace` says so, in the place of one that exists, whole or not at all.
 *
 * @throws HeadgateError HG_FILE_EXISTS, HG_WRITE; then nothing has changed
 */
export async function addText(file: string, text: string, replace: boolean): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx' });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const problem = code === 'ENOENT' ? 'its folder does not exist' : fileProblem(cause);
    if (code !== 'EEXIST') throw new HeadgateError('HG_WRITE', { file, problem }, { cause });
    if (!replace) throw new HeadgateError('HG_FILE_EXISTS', { file }, { cause });
    await replaceText(file, text);
  }
}
