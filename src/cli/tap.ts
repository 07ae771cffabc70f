import { once } from 'node:events';
import type { Command } from 'commander';
import { checkPacketFilter, ensureRoot, listDevices, noTool, run, start } from '../kernel/index.ts';
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
Exit status: 0 it was stopped, or the tap went; 2 no filter; 3 there is no such tap of ours, or no tcpdump; 5 tcpdump failed`,
    )
    .action(async (name: string, filter: string[]) => {
      ensureRoot('reading packets');
      const taps = await listTaps();
      if (!taps.includes(name)) throw new HeadgateError('HG_NO_TAP', { name, taps: taps.join(', ') || 'none' });
      await checkPacketFilter(filter, ['-i', name], 'tap');
      await capture(name, filter);
    });
}

const listTaps = async (): Promise<string[]> =>
  (await listDevices()).flatMap((d) => (d.kind === 'ifb' && d.alias === TAP_ALIAS ? [d.name] : []));

/** Its link-local address: none of a packet that a rule has copied. */
async function listOwnAddresses(tap: string): Promise<string[]> {
  const [device] = JSON.parse(await run(['ip', '-6', '-json', 'address', 'show', 'dev', tap])) as [
    { addr_info?: { local: string }[] }?,
  ];
  return (device?.addr_info ?? []).map(({ local }) => local);
}

/** @throws HeadgateError HG_NO_TOOL, or HG_KERNEL where tcpdump fails while the tap is there */
async function capture(tap: string, filter: readonly string[]): Promise<void> {
  // Every packet at once, whoever reads. Not as another user, who might not be let write to where the pipe leads.
  const form = process.stdout.isTTY ? ['-n', '-l'] : ['-U', '-w', '-'];
  // The tap asks for routers, as every device does.
  const own = (await listOwnAddresses(tap)).map((address) => `not src host ${address}`);
  const wanted = filter.length > 0 ? [`(${filter.join(' ')})`] : [];
  const argv = ['tcpdump', '-Z', 'root', '-i', tap, ...form, '--', [...own, ...wanted].join(' and ')] as const;
  const child = start(argv, { stdio: 'inherit' });
  let stopped = false;
  const stop = () => {
    stopped = true;
    child.kill('SIGINT');
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const [status] = await once(child, 'close').catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? noTool('tcpdump', error) : error;
  });
  if (status === 0 || stopped || !(await listTaps()).includes(tap)) return;
  throw new HeadgateError('HG_KERNEL', { command: argv.join(' '), problem: `it ended with status ${status}` });
}
