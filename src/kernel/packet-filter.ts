import { HeadgateError } from '../model/index.ts';
import { execute } from './command.ts';

/**
 * Has tcpdump compile a filter for what it would read, and read nothing: `at` is the options that say where and in which form.
 *
 * @throws HeadgateError HG_USAGE of `command` with what tcpdump has against it; HG_NO_TOOL
 */
export async function checkPacketFilter(
  filter: readonly string[],
  at: readonly string[],
  command: string,
): Promise<void> {
  if (filter.length === 0) return;
  const { status, stderr } = await execute(['tcpdump', ...at, '-d', '--', ...filter]);
  if (status === 0) return;
  const said = stderr.trim().split('\n').at(-1)!.replace('tcpdump: ', '') || `tcpdump ended with ${status}`;
  throw new HeadgateError('HG_USAGE', { problem: `filter "${filter.join(' ')}": ${said}`, command });
}
