import { type Command, Option } from 'commander';
import { overrideLink, type ParsedPolicy, type Policy } from '../language/index.ts';
import { HeadgateError } from '../model/index.ts';
import { formatItem, type MonitorItem } from '../monitor/index.ts';
import { DATAPATHS, type DatapathName } from '../shape/index.ts';
import { rateOption } from './options.ts';
import { ignoreClosedOutput, note, print, printJson } from './output.ts';
import { DEFAULT_POLICY, loadPolicy, readPolicy, tellFindings } from './policy-file.ts';

interface UpOptions {
  device?: string;
  download?: string;
  upload?: string;
  keep?: boolean;
  json?: boolean;
  datapath?: DatapathName;
}

export function addUpCommand(program: Command): void {
  program
    .command('up')
    .description('apply a policy and stay, classifying; Ctrl-C or SIGTERM takes everything down without a trace')
    .argument('[file]', 'policy; without one, rules/favour-local.gate')
    .option('--device <device>', 'network device of the link, in place of what the policy says')
    .option('--download <rate>', 'rate of what arrives, such as 90mbit: about 90 % of what the line carries')
    .option('--upload <rate>', 'rate of what leaves')
    .addOption(
      new Option(
        '--datapath <name>',
        'how packets find their class: docs/architecture.md (default: the best that headgate doctor finds)',
      ).choices(DATAPATHS),
    )
    .option(
      '--keep',
      'leave queues and marks in the kernel at the end, unwatched: docs/limits.md; `headgate down` removes them',
    )
    .option('--json', 'print one JSON object a line: ready, links, overruns, resyncs (flows: headgate events)')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate up --device eth0 --download 90mbit --upload 18mbit
  sudo headgate up my.gate

Rates: bit, kbit, mbit, gbit a second; bps, kbps, mbps are bytes, as in tc(8).
SIGHUP has the file read anew, as headgate reload does; one with mistakes changes nothing. When a terminal closes, it stops.
Exit status: 0 taken down as asked; 1 mistakes in the policy; 2 to 5: headgate --help`,
    )
    .action(async (file: string | undefined, options: UpOptions) => {
      const json = options.json === true;
      const override = {
        device: options.device,
        download: rateOption('up', '--download', options.download),
        upload: rateOption('up', '--upload', options.upload),
      };
      const policy = overrideLink(await loadPolicy(file ?? DEFAULT_POLICY, json, 'machine'), override);
      const reload = async (): Promise<ParsedPolicy> => {
        if (file === '-') throw new HeadgateError('HG_RELOAD', { reason: 'it came from standard input' });
        const parsed = await readPolicy(file ?? DEFAULT_POLICY, 'machine');
        tellFindings(parsed, json);
        return { ...parsed, policy: parsed.policy && overrideLink(parsed.policy, override) };
      };
      // Whoever names a policy may mean to look only; one for every box shapes nothing until it is told the rates.
      if (file === undefined) ensureRate(policy);
      // The service brings rxjs and the shim: 100 ms that no other command should pay.
      const { startService } = await import('../service/index.ts');
      ignoreClosedOutput();
      const stopped = stopSignal();
      const show = (item: MonitorItem) => {
        if (item.kind.startsWith('flow.')) return;
        if (json) printJson(item);
        else print(formatItem(item));
      };
      const service = await startService(policy, reload, show, { datapath: options.datapath });
      process.on('SIGHUP', () => {
        if (!onTerminal) void service.reload();
      });
      if (!json) note('Ctrl-C takes it down; headgate status and headgate events show what it does');
      const failure = await stopped;
      await service.stop({ keep: options.keep === true });
      if (failure) throw failure;
    });
}

/** @throws HeadgateError HG_LINK_INCOMPLETE where no link has a rate */
function ensureRate({ links }: Policy): void {
  if (links.every(({ download, upload }) => download === undefined && upload === undefined))
    throw new HeadgateError('HG_LINK_INCOMPLETE', {
      link: links.map(({ name }) => name).join(', '),
      missing: 'rate, neither download nor upload',
    });
}

/** Then SIGHUP says that it was closed; to a service it says that the policy is to be read anew. */
const onTerminal = process.stdin.isTTY || process.stdout.isTTY;

/**
 * Resolves at the first signal to stop, and with the error at one that nobody caught: whatever ends us, the way down is
 * the same. Further ones are ignored: a teardown cut short would be worse.
 */
function stopSignal(): Promise<Error | undefined> {
  return new Promise((resolve) => {
    process.on('SIGHUP', () => onTerminal && resolve(undefined));
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve(undefined));
    process.on('uncaughtException', resolve);
    process.on('unhandledRejection', (reason) => resolve(reason instanceof Error ? reason : new Error(String(reason))));
  });
}
