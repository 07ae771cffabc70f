import { once } from 'node:events';
import type { Command } from 'commander';
import { ensureRoot, listDevices, start } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import { TAP_ALIAS } from '../shape/index.ts';

export function addTapCommand(program: Command): void {
  program
    .command('tap')
    .description('watch the packets that rules copy to a tap (mirror to NAME): lines on a terminal, pcap in a pipe')
    .argument('<name>', 'the tap, as the policy names it')
    .argument('[filter...]', 'which packets, in the words of pcap-filter(7)')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate tap spy
  sudo headgate tap spy udp port 53
  sudo headgate tap spy | wireshark -k -i -

Runs tcpdump until Ctrl-C, or until the tap goes with headgate.
Exit status: 0 it was stopped, or the tap went; 3 there is no such tap of ours, or no tcpdump; 5 tcpdump failed`,
    )
    .action(async (name: string, filter: string[]) => {
      ensureRoot('reading packets');
      const taps = await listTaps();
      if (!taps.includes(name)) throw new HeadgateError('HG_NO_TAP', { name, taps: taps.join(', ') || 'none' });
      await capture(name, filter);
    });
}

const listTaps = async (): Promise<string[]> =>
  (await listDevices()).flatMap((d) => (d.kind === 'ifb' && d.alias === TAP_ALIAS ? [d.name] : []));

/** @throws HeadgateError HG_NO_TOOL, or HG_KERNEL where tcpdump fails while the tap is there */
async function capture(tap: string, filter: readonly string[]): Promise<void> {
  // Every packet at once, whoever reads. Not as another user, who might not be let write to where the pipe leads.
  const form = process.stdout.isTTY ? ['-n', '-l'] : ['-U', '-w', '-'];
  const argv = ['tcpdump', '-Z', 'root', '-i', tap, ...form, '--', ...filter] as const;
  const child = start(argv, { stdio: 'inherit' });
  let stopped = false;
  const stop = () => {
    stopped = true;
    child.kill('SIGINT');
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const [status] = await once(child, 'close').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new HeadgateError('HG_NO_TOOL', { tool: 'tcpdump', package: 'tcpdump' });
    throw error;
  });
  if (status === 0 || stopped || !(await listTaps()).includes(tap)) return;
  throw new HeadgateError('HG_KERNEL', { command: argv.join(' '), problem: `it ended with status ${status}` });
}
