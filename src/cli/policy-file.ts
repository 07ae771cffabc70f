import { getMachineFacts, getText, listStrangers, readInclude } from '../kernel/files.ts';
import {
  countErrors,
  formatDiagnostic,
  type ParsedPolicy,
  type Policy,
  parsePolicy,
  usersNamedBy,
} from '../language/reading.ts';
import { HeadgateError } from '../model/index.ts';
import { note, printJson, wantsColor } from './output.ts';

export { overrideLink } from '../language/index.ts';

/** Reads a policy with what it includes; `machine`: for this one, so that what it cannot serve is said. @throws HeadgateError HG_FILE */
export async function readPolicy(file: string, where?: 'machine'): Promise<ParsedPolicy> {
  const text = await getText(file);
  const machine = where && (await getMachineFacts());
  const parsed = parsePolicy(text, file, { include: readInclude, machine });
  const users = machine && parsed.checked ? usersNamedBy(parsed.checked) : [];
  if (users.length === 0) return parsed;
  const strangers = await listStrangers(users);
  return strangers.size === 0
    ? parsed
    : parsePolicy(text, file, { include: readInclude, machine: { ...machine, strangers } });
}

/** Writes the findings for a person, each with its line of the source. */
export function noteFindings({ diagnostics, texts }: Pick<ParsedPolicy, 'diagnostics' | 'texts'>): void {
  for (const d of diagnostics)
    note(formatDiagnostic(d, texts.get(d.file) ?? '', { color: wantsColor(process.stderr) }));
}

/** Says what was found in a policy: to the person, or as one JSON object a line. */
export function tellFindings(parsed: Pick<ParsedPolicy, 'diagnostics' | 'texts'>, json: boolean): void {
  if (json) for (const d of parsed.diagnostics) printJson({ kind: 'diagnostic', ...d });
  else noteFindings(parsed);
}

/**
 * Reads and checks a policy; prints what there is to say about it.
 *
 * @throws HeadgateError HG_FILE; HG_POLICY where it has errors
 */
export const loadPolicy = async (file: string): Promise<Policy> => (await loadWithTexts(file, false)).policy;

/** The same with the texts that it was read from. */
export async function loadWithTexts(
  file: string,
  json: boolean,
  where?: 'machine',
): Promise<Pick<ParsedPolicy, 'texts'> & { readonly policy: Policy }> {
  const parsed = await readPolicy(file, where);
  tellFindings(parsed, json);
  return { policy: parsed.policy ?? refuse(file, parsed), texts: parsed.texts };
}

/**
 * The same for a policy that is looked at and not run: where all that is wrong are `expect` lines that do not hold, it
 * is good enough, and that is said.
 *
 * @throws HeadgateError HG_FILE; HG_POLICY where it has other errors
 */
export async function loadPolicyToLookAt(file: string, json = false): Promise<Policy> {
  const parsed = await readPolicy(file);
  tellFindings(parsed, json);
  if (parsed.checked && !parsed.policy)
    note(`headgate: warning: ${file} would not run: it does not do what it expects. It is looked at all the same.`);
  return parsed.checked ?? refuse(file, parsed);
}

function refuse(file: string, { diagnostics }: ParsedPolicy): never {
  throw new HeadgateError('HG_POLICY', { file, count: countErrors(diagnostics) });
}
