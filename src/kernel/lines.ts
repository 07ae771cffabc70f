import { HeadgateError } from '../model/index.ts';
import { fileProblem } from './file-problem.ts';
import { openText } from './get-text.ts';

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

/** Lines of a file of any size, or of standard input: {@link openText}. @throws HeadgateError HG_FILE */
export async function* readLines(file: string): AsyncGenerator<string> {
  try {
    yield* linesOf((await openText(file)).setEncoding('utf8'));
  } catch (cause) {
    throw new HeadgateError('HG_FILE', { file, problem: fileProblem(cause) }, { cause });
  }
}
