import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ParsedPolicy, Policy } from '../language/index.ts';
import { HeadgateError, type Loopback, parseLoopback } from '../model/index.ts';
import type { MonitorItem } from '../monitor/index.ts';
import { DATAPATHS, type DatapathName } from '../shape/index.ts';
import { openLog } from './log.ts';
import { confirmOption, DEFAULT_POLICY, deadlineOption, rateOption } from './options.ts';
import { ignoreClosedOutput, note } from './output.ts';

interface UpOptions {
  device?: string;
  download?: string;
  upload?: string;
  keep?: boolean;
  json?: boolean;
  confirm?: string;
  datapath?: DatapathName;
  deadline?: string;
  web?: string;
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
      'leave queues and marks in the kernel at the end, and a guard beside them: docs/limits.md; `headgate down` removes them',
    )
    .option('--confirm <time>', 'take everything back unless `headgate confirm` comes within this time, such as 60s')
    .option(
      '--deadline <time>',
      'datapaths bpf and map: let packets pass untouched once headgate was not heard of for so long (default: 60s; with --keep: never)',
    )
    .option('--web <address>', 'serve a page to look at it, on 127.0.0.1:PORT or [::1]:PORT alone: docs/monitoring.md')
    .option('--json', 'print one JSON object a line: ready, links, overruns, resyncs (flows: headgate events)')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate up --device eth0 --download 90mbit --upload 18mbit
  sudo headgate up my.gate
  sudo headgate up my.gate --confirm 60s      from afar: it goes by itself if you are cut off

Rates: bit, kbit, mbit, gbit a second; bps, kbps, mbps are bytes, as in tc(8).
SIGHUP has the file read anew, as headgate reload does; one with mistakes changes nothing. When a terminal closes, it stops.
Once started it has no more of root's rights than it needs. Under systemd: docs/systemd.
Exit status: 0 taken down as asked; 1 mistakes in the policy, or not confirmed in time; 2 to 5: headgate --help`,
    )
    .action(async (file: string | undefined, options: UpOptions) => {
      const log = await openLog(options.json === true);
      await run(file, options, log.show).catch(log.fail);
    });
}

async function run(file: string | undefined, options: UpOptions, show: (item: MonitorItem) => void): Promise<void> {
  const json = options.json === true;
  const override = {
    device: options.device,
    download: rateOption('up', '--download', options.download),
    upload: rateOption('up', '--upload', options.upload),
  };
  const confirm = confirmOption('up', options.confirm);
  const asked = deadlineOption('up', options.deadline);
  const web = webOption(options.web);
  const path = file ?? DEFAULT_POLICY;
  // Whoever is not root is told so later, when there is nothing else to say.
  if (process.geteuid?.() === 0) {
    const { shedPrivileges } = await import('../service/privileges.ts');
    await shedPrivileges(options.datapath, path === '-' ? [] : [resolve(path)]);
  }
  // What it takes to read a policy, and the service, are for who is through with that: the program that starts itself anew needs neither.
  const [
    { DEFAULT_DEADLINE_MS, feedWatchdog, startService, tellManager, tellStopping },
    { loadWithTexts, overrideLink, readPolicy, tellFindings },
  ] = await Promise.all([import('../service/index.ts'), import('./policy-file.ts')]);
  const { texts, ...read } = await loadWithTexts(path, json, 'machine');
  const policy = overrideLink(read.policy, override);
  const reload = async (): Promise<ParsedPolicy> => {
    if (path === '-') throw new HeadgateError('HG_RELOAD', { reason: 'it came from standard input' });
    const parsed = await readPolicy(path, 'machine');
    tellFindings(parsed, json);
    return { ...parsed, policy: parsed.policy && overrideLink(parsed.policy, override) };
  };
  // Whoever names a policy may mean to look only; one for every box shapes nothing until it is told the rates.
  if (file === undefined) ensureRate(policy);
  ignoreClosedOutput();
  const stopped = stopSignal();
  const onItem = (item: MonitorItem) => {
    show(item);
    tellManager(item);
  };
  const deadline = asked ?? (options.keep ? undefined : DEFAULT_DEADLINE_MS);
  const { datapath } = options;
  const service = await startService(policy, reload, onItem, { datapath, confirm, deadline, web, texts });
  process.on('SIGHUP', () => {
    if (!onTerminal) void service.reload();
  });
  const stopFeeding = feedWatchdog(service);
  // A log that others read is no place for the key.
  if (service.web && !json)
    note(`the page: ${onTerminal ? service.web : `${service.web.replace(/#.*/, '')}  (headgate web prints its key)`}`);
  if (!json && onTerminal) note('Ctrl-C takes it down; headgate status and headgate events show what it does');
  const expired = service.unconfirmed.then(() => 'unconfirmed' as const);
  const ending = await Promise.race([stopped, expired]);
  stopFeeding();
  tellStopping();
  // What was not confirmed is not to be left, either.
  await service.stop({ keep: options.keep === true && ending !== 'unconfirmed' });
  if (ending === 'unconfirmed') throw new HeadgateError('HG_UNCONFIRMED', { seconds: confirm! / 1000 });
  if (ending) throw ending;
}

/** @throws HeadgateError HG_WEB_ADDRESS */
function webOption(text: string | undefined): Loopback | undefined {
  if (text === undefined) return undefined;
  const at = parseLoopback(text);
  if (typeof at === 'string') throw new HeadgateError('HG_WEB_ADDRESS', { address: text, problem: at });
  return at;
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
