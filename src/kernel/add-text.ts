import { writeFile } from 'node:fs/promises';
import { HeadgateError } from '../model/index.ts';
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
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw new HeadgateError('HG_WRITE', { file, problem: message }, { cause });
    if (!replace) throw new HeadgateError('HG_FILE_EXISTS', { file }, { cause });
    await replaceText(file, text);
  }
}
