import type { Argv, Command } from '../model/index.ts';

export const tc = (...args: string[]): Command => ({ argv: ['tc', ...args] });

/** Many commands for one process. It stops at the first that fails, unless told to go on; the operation's undo removes what was done. */
export function batch(tool: 'tc' | 'ip', commands: readonly (readonly string[])[], failed?: 'go on'): Command {
  const argv: Argv = failed ? [tool, '-force', '-batch', '-'] : [tool, '-batch', '-'];
  return { argv, input: `${commands.map((c) => c.join(' ')).join('\n')}\n` };
}
