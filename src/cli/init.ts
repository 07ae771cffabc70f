import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { addText } from '../kernel/files.ts';
import { survey } from '../kernel/index.ts';
import { formatPolicy, MAX_SEED_PORTS, type PortRange, parsePolicy, writePolicy } from '../language/index.ts';
import {
  formatPrefix,
  formatRate,
  HeadgateError,
  maskAddress,
  type Prefix,
  parsePrefix,
  parseRate,
  type Rate,
  sameAddress,
} from '../model/index.ts';
import { type BoxWishes, canBeWritten, joinRanges, planBox } from './box-plan.ts';
import { noteBytes } from './options.ts';
import { note, print, printJson } from './output.ts';

/** Where a policy goes that nobody names a file for. */
const DEFAULT_FILE = 'headgate.gate';

interface InitOptions {
  device?: string;
  download?: string;
  upload?: string;
  lan?: string;
  seedPorts?: string;
  sshPorts?: string;
  force?: boolean;
  yes?: boolean;
  json?: boolean;
}

export function addInitCommand(program: Command): void {
  program
    .command('init')
    .description('look at this box and write a commented policy for it, to start from')
    .argument('[file]', `where to; - prints it`, DEFAULT_FILE)
    .option('--device <device>', 'network device of the link; without it, where the default route leads')
    .option(
      '--download <rate>',
      'rate of what arrives, such as 95mbit; without it, 95 % of the speed of the card, where it is known',
    )
    .option('--upload <rate>', 'rate of what leaves')
    .option(
      '--lan <prefixes>',
      'networks behind this box, separated by commas; without it, those of a router are found; none: ""',
    )
    .option('--seed-ports <ports>', 'where a torrent client listens, such as 6881-6889,51413; none: ""')
    .option('--ssh-ports <ports>', 'where you log in from outside; none: ""')
    .option('--yes', 'ask nothing, also on a terminal')
    .option('--force', 'replace the file where it exists')
    .option('--json', 'print one JSON object: {file, device, download, upload, lan, seedPorts, sshPorts}; ask nothing')
    .addHelpText(
      'after',
      `
Examples:
  headgate init
  headgate init my.gate --download 95mbit --upload 19mbit --force
  headgate init - --yes | less

Reads routes, addresses and listening sockets, and changes nothing but the file. As root it sees whose sockets they are.
On a terminal it asks for what no option says; what it found is the answer to a mere Enter.
Exit status: 0 written; 2 wrong usage, or the file cannot be written; 3 a tool is missing; 4 the file exists`,
    )
    .action(async (file: string, options: InitOptions) => {
      const box = await survey();
      let wishes = readWishes(options);
      const interactive = process.stdin.isTTY && process.stderr.isTTY && !options.yes && !options.json;
      if (interactive) wishes = await ask(wishes, planBox(box, wishes));
      const plan = planBox(box, wishes);
      const devices = box.devices.map(({ name }) => name);
      if (plan.device !== undefined && !devices.includes(plan.device))
        note(`warning: there is no device ${plan.device} here; there are: ${devices.join(', ') || 'none'}`);
      const text = layOut(writePolicy(plan), file);
      if (file === '-' && !options.json) process.stdout.write(text);
      else if (file !== '-') await addText(file, text, options.force === true);
      if (options.json)
        printJson({
          file,
          device: plan.device,
          download: plan.download,
          upload: plan.upload,
          lan: plan.lan.map(formatPrefix),
          seedPorts: plan.seedPorts.map(formatRange),
          sshPorts: plan.adminPorts,
        });
      else if (file !== '-') {
        print(`${file} written`);
        for (const line of nextSteps(
          file,
          plan.device === undefined,
          plan.download === undefined && plan.upload === undefined,
        ))
          note(line);
      }
    });
}

function nextSteps(file: string, noDevice: boolean, noRate: boolean): string[] {
  const options = [...(noDevice ? ['--device eth0'] : []), ...(noRate ? ['--download 95mbit --upload 19mbit'] : [])];
  return [
    ...(noRate ? ['It has no rates: nothing is shaped until you write them into it, or give them below.'] : []),
    'Next:',
    `  headgate check ${file}`,
    `  sudo ${['headgate up', file, ...options].join(' ')}`,
  ];
}

/** The policy as headgate fmt lays it out. @throws HeadgateError HG_USAGE where what was asked for makes no good policy */
function layOut(written: string, file: string): string {
  const text = formatPolicy(written, file).text ?? written;
  const finding = parsePolicy(text, file).diagnostics[0];
  if (!finding) return text;
  throw usage(`that makes no good policy: ${finding.message}`);
}

function readWishes(options: InitOptions): BoxWishes {
  const { device, download, upload, lan, seedPorts, sshPorts } = options;
  return {
    device: device === undefined ? undefined : readDevice(device),
    download: download === undefined ? undefined : readRate('--download', download),
    upload: upload === undefined ? undefined : readRate('--upload', upload),
    lan: lan === undefined ? undefined : readPrefixes('--lan', lan),
    seedPorts: seedPorts === undefined ? undefined : readPorts('--seed-ports', seedPorts),
    adminPorts: sshPorts === undefined ? undefined : readPorts('--ssh-ports', sshPorts).flatMap(portsOf),
  };
}

function readDevice(text: string): string | undefined {
  if (text !== '' && !canBeWritten(text)) throw usage(`${text}: no device can be called that`);
  return text || undefined;
}

const portsOf = ({ first, last }: PortRange): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i);

function readRate(what: string, text: string): Rate {
  const rate = parseRate(text);
  if (rate === undefined) throw usage(`${what} ${text}: that is no rate. Write a number and a unit, such as 95mbit`);
  noteBytes(what, text, rate);
  return rate;
}

const words = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);

function readPrefixes(what: string, text: string): Prefix[] {
  return words(text).map((word) => {
    const prefix = parsePrefix(word);
    if (!prefix) throw usage(`${what} ${word}: that is no prefix. Write one as 192.168.1.0/24`);
    const address = maskAddress(prefix.address, prefix.length);
    const meant = formatPrefix({ address, length: prefix.length });
    if (!sameAddress(address, prefix.address))
      throw usage(`${what} ${word}: it has bits set behind its length; write ${meant}`);
    return prefix;
  });
}

function readPorts(what: string, text: string): PortRange[] {
  const ranges = words(text).map((word) => {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(word);
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
    if (!match || first > last || first < 1 || last > 65535)
      throw usage(`${what} ${word}: these are no ports. Write numbers from 1 to 65535, and ranges as 6881-6889`);
    return { first, last };
  });
  const count = joinRanges(ranges).reduce((sum, { first, last }) => sum + last - first + 1, 0);
  if (count > MAX_SEED_PORTS) throw usage(`${what} ${text}: ${count} ports; at most ${MAX_SEED_PORTS}`);
  return ranges;
}

/** Asks for what no option said. What was found is the answer to Enter; what cannot be read is asked again. */
async function ask(wishes: BoxWishes, found: ReturnType<typeof planBox>): Promise<BoxWishes> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-C or Ctrl-D: without this the question would stay open for ever.
  const gone = new Promise<never>((_, reject) => terminal.once('close', () => reject(usage('nothing was written'))));
  gone.catch(() => {});
  const question = async <T>(about: string, preset: string, read: (answer: string) => T): Promise<T> => {
    for (;;) {
      const asked = terminal.question(`${about}${preset && ` [${preset}]`}: `);
      const answer = (await Promise.race([asked, gone])).trim() || preset;
      try {
        return read(answer);
      } catch (error) {
        if (!(error instanceof HeadgateError)) throw error;
        note(`  ${error.message.trim()}`);
      }
    }
  };
  const rate = (name: string, preset: Rate | undefined) =>
    question(
      `Rate of what ${name}, 95 % of what the line carries`,
      preset === undefined ? '' : formatRate(preset),
      (answer) => (answer === '' ? undefined : readRate('', answer)),
    );
  try {
    const device = wishes.device ?? (await question('Device of the link', found.device ?? '', readDevice));
    const download = wishes.download ?? (await rate('arrives', found.download));
    const upload = wishes.upload ?? (await rate('leaves', found.upload));
    const ports = found.seedPorts.map(formatRange).join(',');
    const seedPorts =
      wishes.seedPorts ?? (await question('Ports that a torrent client listens on', ports, (a) => readPorts('', a)));
    return { ...wishes, device, download, upload, seedPorts };
  } finally {
    terminal.close();
  }
}

const formatRange = ({ first, last }: PortRange): string => (first === last ? `${first}` : `${first}-${last}`);
const usage = (problem: string): HeadgateError => new HeadgateError('HG_USAGE', { command: 'init', problem });
