import type { Argv, Command } from '../model/index.ts';

/** Many commands for one process. It stops at the first that fails; what ran before stays. */
export function batch(tool: 'tc' | 'ip', commands: readonly (readonly string[])[]): Command {
  const argv: Argv = [tool, '-batch', '-'];
  return { argv, input: lines(commands) };
}

/** The same, but all of them run; it fails where one did. For removals. */
export const batchAll = (commands: readonly (readonly string[])[]): Command => ({
  argv: ['tc', '-force', '-batch', '-'],
  input: lines(commands),
});

export const tc = (...args: string[]): Command => ({ argv: ['tc', ...args] });

const lines = (commands: readonly (readonly string[])[]): string => `${commands.map((c) => c.join(' ')).join('\n')}\n`;
