import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { FileHandle } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { inMs, setPrograms } from '../apply/index.ts';
import {
  CAPTURE,
  CAPTURED_MAP,
  checkPacketFilter,
  ensureRoot,
  fileProblem,
  listFilters,
  noTool,
  openNew,
  start,
} from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import type { QueueStatus, Status } from '../service/index.ts';
import { formatHandle, UPLOAD_MAJOR } from '../shape/index.ts';
import { note, printJson } from './output.ts';
import { getStatusHere } from './status-here.ts';

interface Options {
  readonly link?: string;
  readonly download?: boolean;
  readonly upload?: boolean;
  readonly write?: string;
  readonly force?: boolean;
  readonly snaplen: string;
  readonly json?: boolean;
}

/** The kernel's own most (MAXIMUM_SNAPLEN of libpcap). */
const MOST_SNAPLEN = 262_144;

export function addCaptureCommand(program: Command): void {
  program
    .command('capture')
    .description('watch the packets that a queue sends: lines on a terminal, pcap in a pipe or a file')
    .argument('<queue>', 'its name, or the class as `headgate status --json` has it: 7fe0:1')
    .argument('[filter...]', 'which packets, in the words of pcap-filter(7)')
    .option('--link <name>', 'of this link alone')
    .option('--download', 'what arrives alone')
    .option('--upload', 'what leaves alone')
    .option('--write <file>', 'write pcap to a new file')
    .option('--force', 'with --write: to one that is there')
    .option('--snaplen <bytes>', 'so much of each packet at most', String(MOST_SNAPLEN))
    .option('--json', 'with --write: print one JSON object at the end')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate capture seed
  sudo headgate capture local --download udp port 53
  sudo headgate capture seed --write seed.pcap --snaplen 128
  sudo headgate capture seed | wireshark -k -i -

Packets are copied as they leave the queue, and go on as they would: what the queue drops is not seen. Only the priority that an
application set is lost meanwhile on the way up, so 802.1p of a VLAN device is 0. A reader who is
too slow loses copies, and is told how many. Ends at Ctrl-C, or when the queue's device goes, as when a reload makes the tree anew.
Exit status: 0 it was stopped, or the device went; 2 wrong usage, no filter, or what it writes to is full; 3 there is no such queue, or no tcpdump; 4 the file is there; 5 the capture failed`,
    )
    .action(async (queue: string, filter: string[], options: Options) => {
      ensureRoot('reading packets');
      if (options.write === '-')
        throw usage('without --write it writes to standard output; --write ./- is a file of that name');
      const snaplen = snaplenOf(options.snaplen);
      const places = placesOf(await getStatusHere(), queue, options);
      // The form that the capture writes.
      await checkPacketFilter(filter, ['-i', 'any', '-y', 'LINUX_SLL2'], 'capture');
      const file = options.write === undefined ? undefined : await openNew(options.write, options.force);
      const forget = await askClassifiers(places.map(({ device }) => device));
      const name = options.write ?? 'standard output';
      const ended = await capture(places, snaplen, filter, name, file).finally(forget);
      await file?.close();
      if (options.json && options.write !== undefined) printJson({ file: options.write, ...ended });
      else note(describe(ended, options.write, filter.length > 0));
    });
}

/** @throws HeadgateError HG_USAGE */
function snaplenOf(text: string): number {
  const bytes = /^\d+$/.test(text) ? Number(text) : 0;
  if (bytes >= 1 && bytes <= MOST_SNAPLEN) return bytes;
  throw usage(`--snaplen ${text}: write a number of bytes, at most ${MOST_SNAPLEN}`);
}

const usage = (problem: string): HeadgateError => new HeadgateError('HG_USAGE', { command: 'capture', problem });

/** Where the queue is: a device, and 8 digits of the class. */
interface Place {
  readonly device: string;
  readonly class: string;
}

/** Devices and classes of the queue. @throws HeadgateError HG_NO_QUEUE */
function placesOf({ links }: Status, name: string, { link, download, upload }: Options): Place[] {
  const both = !download && !upload;
  const looked = links.filter((one) => link === undefined || one.name === link || one.device === link);
  const queues = looked.flatMap((one) => [
    ...(download || both ? (one.download?.queues ?? []) : []),
    ...(upload || both ? (one.upload?.queues ?? []) : []),
  ]);
  const chosen = queues.filter((queue) => queue.name === name || queue.classid === name);
  if (chosen.length === 0) {
    const there = new Set(queues.map((queue) => queue.name ?? queue.classid));
    const where = `${download ? ', for what arrives' : upload ? ', for what leaves' : ''}${link === undefined ? '' : `, of a link ${link}`}`;
    throw new HeadgateError('HG_NO_QUEUE', { name, where, queues: [...there].join(', ') || 'none' });
  }
  // Links that share a tree have it each.
  return [...new Map(chosen.map((one) => [`${one.device} ${one.classid}`, placeOf(one)])).values()];
}

function placeOf({ device, classid }: QueueStatus): Place {
  const [major, minor] = classid.split(':');
  return { device, class: major!.padStart(4, '0') + minor!.padStart(4, '0') };
}

/** Ms for which the classifiers are asked, and after which they are asked again: one that was put in another's place is new to it. */
const ASKED_MS = 10_000;
const ASK_AGAIN_MS = 1000;

/**
 * Has the classifiers of what leaves tell the class in the packet, which they do for nobody else. Call the result to end that: they
 * go on until the time is over, since other captures may have asked, too.
 */
async function askClassifiers(devices: readonly string[]): Promise<() => void> {
  const ask = async () => {
    for (const device of devices) {
      // A device may go at any time, and with it all that there is to ask.
      const filters = await listFilters(device, formatHandle(UPLOAD_MAJOR)).catch(() => []);
      setPrograms(filters, CAPTURED_MAP, inMs(ASKED_MS));
    }
  };
  await ask();
  const timer = setInterval(() => void ask().catch(() => {}), ASK_AGAIN_MS);
  return () => clearInterval(timer);
}

interface Ended {
  readonly packets: number;
  /** Copies for which there was no room. */
  readonly dropped: number;
  readonly reason: 'stopped' | 'unread' | 'gone';
}

/** `name` is what errors call where it writes to. @throws HeadgateError HG_NO_TOOL, HG_WRITE, or HG_KERNEL where it cannot be done */
async function capture(
  places: readonly Place[],
  snaplen: number,
  filter: readonly string[],
  name: string,
  file: FileHandle | undefined,
): Promise<Ended> {
  const out = file?.fd ?? 'inherit';
  const onTerminal = file === undefined && process.stdout.isTTY;
  const decoded = onTerminal || filter.length > 0;
  const argv = [CAPTURE, String(snaplen), ...places.flatMap((place) => [place.device, place.class])] as const;
  const child = start(argv, { stdio: ['ignore', decoded ? 'pipe' : out, 'pipe'] });
  const stop = () => void child.kill('SIGINT');
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    const decoding = decoded ? decode(child, onTerminal, filter, name, file) : undefined;
    const [status, said] = await Promise.all([endOf(child, CAPTURE), lastLine(child), decoding?.catch(() => {})]);
    const [, packets, dropped, reason, problem] = /^(\d+) (\d+) (\w+)(?: (.+))?$/.exec(said) ?? [];
    if (problem !== undefined) throw unwritten(name, `${problem}; ${packets} packets are whole in it`);
    if (status !== 0 || reason === undefined)
      throw new HeadgateError('HG_KERNEL', { command: argv.join(' '), problem: said || `it ended with ${status}` });
    await decoding;
    return { packets: Number(packets), dropped: Number(dropped), reason: reason as Ended['reason'] };
  } finally {
    child.kill('SIGINT');
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

/** Has tcpdump read what `child` writes: to lines, or to those packets that pass the filter. */
async function decode(
  child: ChildProcess,
  onTerminal: boolean,
  filter: readonly string[],
  name: string,
  file: FileHandle | undefined,
): Promise<void> {
  const form = onTerminal ? ['-n', '-l'] : ['-U', '-w', '-'];
  const argv = ['tcpdump', '-Z', 'root', ...form, '-r', '-', '--', ...filter] as const;
  const tcpdump = start(argv, { stdio: [child.stdout, file ? 'pipe' : 'inherit', 'inherit'] });
  // It does not look whether what it writes is written (4.99).
  const written = file && pipeline(tcpdump.stdout!, file.createWriteStream());
  const [status] = await Promise.all([
    endOf(tcpdump, 'tcpdump'),
    written?.catch((error: unknown) => Promise.reject(unwritten(name, fileProblem(error)))),
  ]).finally(() => child.kill('SIGINT'));
  if (status !== 0 && status !== undefined) throw unwritten(name, `tcpdump ended with status ${status}`);
}

const unwritten = (file: string, problem: string): HeadgateError => new HeadgateError('HG_WRITE', { file, problem });

/** Its exit status; undefined where a signal ended it. @throws HeadgateError HG_NO_TOOL */
async function endOf(child: ChildProcess, tool: string): Promise<number | undefined> {
  const [status] = await once(child, 'exit').catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? noTool(tool, error) : error;
  });
  return status ?? undefined;
}

async function lastLine(child: ChildProcess): Promise<string> {
  let last = '';
  for await (const line of createInterface({ input: child.stderr! })) last = line;
  return last;
}

function describe({ packets, dropped, reason }: Ended, file: string | undefined, filtered: boolean): string {
  const where = file === undefined ? '' : ` to ${file}`;
  const lost = dropped > 0 ? `, ${dropped} were not, for the reader was too slow` : '';
  const what = filtered ? 'copied, and written where they pass the filter,' : 'copied';
  return `${packets} packets were ${what}${where}${lost}${reason === 'gone' ? '; the queue’s device went' : ''}`;
}
