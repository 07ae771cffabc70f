import { join } from 'node:path';
import { getText } from '../kernel/index.ts';
import { formatDiagnostic, type Policy, parsePolicy } from '../language/index.ts';
import { HeadgateError } from '../model/index.ts';
import { note, printJson, wantsColor } from './output.ts';

/** The policy that runs when no file is named. */
export const DEFAULT_POLICY = join(import.meta.dirname, '../../rules/favour-local.gate');

/**
 * Reads and checks a policy; prints what there is to say about it.
 *
 * @throws HeadgateError HG_FILE; HG_POLICY where it has errors
 */
export async function loadPolicy(file: string, json = false): Promise<Policy> {
  const text = await getText(file);
  const { policy, diagnostics } = parsePolicy(text, file);
  for (const d of diagnostics) {
    if (json) printJson({ kind: 'diagnostic', ...d });
    else note(formatDiagnostic(d, text, { color: wantsColor(process.stderr) }));
  }
  if (policy) return policy;
  const errors = diagnostics.filter((d) => d.severity === 'error').length;
  throw new HeadgateError('HG_POLICY', { file, count: errors === 1 ? '1 error' : `${errors} errors` });
}
