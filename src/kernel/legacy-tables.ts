import { readFile } from 'node:fs/promises';
import { run, type Where } from './command.ts';

/** Names of the tables of the older iptables that are in use. Asking the tool, or reading a table, would make it, or load modules. */
export async function listLegacyTables(tool: 'iptables' | 'ip6tables', { netns }: Where = {}): Promise<string[]> {
  const file = `/proc/thread-self/net/${tool === 'iptables' ? 'ip' : 'ip6'}_tables_names`;
  const text = await (netns === undefined ? readFile(file, 'utf8') : run(['cat', file], { netns })).catch(() => '');
  return text.split('\n').filter((name) => name !== '');
}
