import { join } from 'node:path';
import { getText, readInclude } from '../kernel/files.ts';
import { formatDiagnostic, type ParsedPolicy, type Policy, parsePolicy } from '../language/reading.ts';
import { HeadgateError } from '../model/index.ts';
import { note, printJson, wantsColor } from './output.ts';

/** The policy that runs when no file is named. */
export const DEFAULT_POLICY = join(import.meta.dirname, '../../rules/favour-local.gate');

/** Reads a policy with what it includes. @throws HeadgateError HG_FILE */
export const readPolicy = async (file: string): Promise<ParsedPolicy> =>
  parsePolicy(await getText(file), file, { include: readInclude });

/** Writes the findings for a person, each with its line of the source. */
export function noteFindings({ diagnostics, texts }: ParsedPolicy): void {
  for (const d of diagnostics)
    note(formatDiagnostic(d, texts.get(d.file) ?? '', { color: wantsColor(process.stderr) }));
}

/**
 * Reads and checks a policy; prints what there is to say about it.
 *
 * @throws HeadgateError HG_FILE; HG_POLICY where it has errors
 */
export async function loadPolicy(file: string, json = false): Promise<Policy> {
  const parsed = await showPolicy(file, json);
  return parsed.policy ?? refuse(file, parsed);
}

/**
 * The same for a policy that is looked at and not run: where all that is wrong are `expect` lines that do not hold, it
 * is good enough, and that is said.
 *
 * @throws HeadgateError HG_FILE; HG_POLICY where it has other errors
 */
export async function loadPolicyToLookAt(file: string, json = false): Promise<Policy> {
  const parsed = await showPolicy(file, json);
  if (parsed.checked && !parsed.policy)
    note(`headgate: warning: ${file} would not run: it does not do what it expects. It is looked at all the same.`);
  return parsed.checked ?? refuse(file, parsed);
}

async function showPolicy(file: string, json: boolean): Promise<ParsedPolicy> {
  const parsed = await readPolicy(file);
  if (json) for (const d of parsed.diagnostics) printJson({ kind: 'diagnostic', ...d });
  else noteFindings(parsed);
  return parsed;
}

function refuse(file: string, parsed: ParsedPolicy): never {
  const errors = parsed.diagnostics.filter((d) => d.severity === 'error').length;
  throw new HeadgateError('HG_POLICY', { file, count: errors === 1 ? '1 error' : `${errors} errors` });
}
