import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { type Argv, HeadgateError } from '../model/index.ts';

/** Debian's name for the package that holds a tool, where it differs from the tool's. */
const PACKAGES: Record<string, string> = {
  ip: 'iproute2',
  tc: 'iproute2',
  ss: 'iproute2',
  modinfo: 'kmod',
  modprobe: 'kmod',
  nft: 'nftables',
  nsenter: 'util-linux',
  unshare: 'util-linux',
  ping: 'iputils-ping',
  sysctl: 'procps',
  getent: 'libc-bin',
};

/** Where a command runs: the caller's network namespace, or one named in /run/netns. */
export interface Where {
  readonly netns?: string | undefined;
}

export interface CommandOptions extends Where {
  /** Text for the command's standard input. */
  readonly input?: string | undefined;
  /** Ms after which it is killed, and no longer waited for even where it cannot be; absent: {@link DOOR_MS} for a door of the kernel, else never. */
  readonly timeout?: number | undefined;
}

/** The doors of the kernel, which answer in milliseconds: one that does not in this time hangs, and must not hang us. */
export const DOOR_MS = 10_000;
const DOORS: ReadonlySet<string> = new Set(['tc', 'ip', 'nft']);

/**
 * A command failed because what it was about is not there: devices come and go. All other failures, a tool that hangs
 * among them, say nothing of what is there.
 */
export const isGone = (error: unknown): boolean =>
  error instanceof HeadgateError &&
  error.code === 'HG_KERNEL' &&
  /Cannot find device|No such (file|device)|does(n't| not) exist/.test(String(error.fields.said));

/** The `status` of a command that was ended for taking too long. */
export const TIMED_OUT = -2;

const within = (argv: Argv, where: Where): [string, string[]] => {
  const [tool, ...args] = where.netns === undefined ? argv : ['ip', 'netns', 'exec', where.netns, ...argv];
  return [tool!, args];
};

/** How a command ended. */
export interface Outcome {
  /** Its exit status; {@link TIMED_OUT}; -1 where a signal ended it. */
  readonly status: number;
  /** What it had printed by then. */
  readonly stdout: string;
  readonly stderr: string;
}

export const noTool = (tool: string, cause?: unknown): HeadgateError =>
  new HeadgateError('HG_NO_TOOL', { tool, package: PACKAGES[tool] ?? tool }, { cause });

/** What a terminal, or whoever ends a whole group of processes, sends to all of them. */
const OUR_SIGNALS: ReadonlySet<unknown> = new Set(['SIGINT', 'SIGTERM', 'SIGHUP']);
/** Whoever presses Ctrl-C again and again hits another one each time; a program that is ended every time is meant. */
const MOST_TRIES = 10;

/** Runs a command to its end, whatever that is. @throws HeadgateError HG_NO_TOOL where the program is not installed */
export function execute(argv: Argv, options: CommandOptions = {}, tries = 1): Promise<Outcome> {
  const [tool, args] = within(argv, options);
  return new Promise((resolve, reject) => {
    // In a session of its own: Ctrl-C is for us to answer, and must not cut short what takes everything down.
    const child = spawn(tool, args, { stdio: 'pipe', detached: true });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const giveUp = () => {
      resolve({ status: TIMED_OUT, stdout, stderr });
      child.kill('SIGKILL');
      // One that waits for a lock of the kernel lives on; it must not keep us.
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
      child.unref();
    };
    const timeout = options.timeout ?? (DOORS.has(argv[0]) ? DOOR_MS : undefined);
    const timer = timeout === undefined ? undefined : setTimeout(giveUp, timeout);
    child.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      if (error.code === 'ENOENT') reject(noTool(tool, error));
      else resolve({ status: -1, stdout, stderr: stderr || error.message });
    });
    child.once('close', (status, signal) => {
      clearTimeout(timer);
      // It came before the child had left our session, and the program has not begun; or somebody means the program, which then mostly fails for another reason.
      if (OUR_SIGNALS.has(signal) && tries < MOST_TRIES) return resolve(execute(argv, options, tries + 1));
      resolve({ status: status ?? -1, stdout, stderr: stderr || (signal ? `it was ended by ${signal}` : '') });
    });
    // A command that ends before it has read its input gives EPIPE; its exit status says what went wrong.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
  });
}

/**
 * Runs a command to its end and returns what it printed.
 *
 * @throws HeadgateError HG_NO_TOOL where the program is not installed; HG_KERNEL where it exits with another status
 * than 0: `said` is the line of its standard error that tells why, `problem` that and the line of a batch, `status` the
 * status or {@link TIMED_OUT}.
 */
export async function run(argv: Argv, options: CommandOptions = {}): Promise<string> {
  return outputOf(argv, await execute(argv, options), options.input);
}

/** What a command that went well printed. @throws HeadgateError HG_KERNEL as {@link run} does */
export function outputOf(argv: Argv, { status, stdout, stderr }: Outcome, input?: string): string {
  if (status === 0) return stdout;
  const command = argv.join(' ');
  if (status === TIMED_OUT)
    throw new HeadgateError('HG_KERNEL', { command, problem: NO_ANSWER, said: NO_ANSWER, status });
  const { said, place } = complaint(stderr, input);
  const problem = [said, place].filter(Boolean).join(', ') || `status ${status}`;
  throw new HeadgateError('HG_KERNEL', { command, problem, said: said || problem, status });
}

const NO_ANSWER = 'it took too long, and was given up';

/** One line of a batch that failed, and what was said of it. */
export interface FailedLine {
  /** 1-based. */
  readonly line: number;
  readonly said: string;
}

/** Reads what `tc -force -batch -` wrote to standard error. */
export function readFailedLines(stderr: string): FailedLine[] {
  const failed: FailedLine[] = [];
  let told = '';
  for (const text of stderr.split('\n')) {
    const line = FAILED_LINE.exec(text)?.[1];
    if (line !== undefined) failed.push({ line: Number(line), said: complaint(told).said });
    told = line === undefined ? `${told}${text}\n` : '';
  }
  return failed;
}

/** Starts a command that goes on, in our session unless `detached`; its standard output and error are pipes unless `stdio` says otherwise. */
export function start(
  argv: Argv,
  options: Where & { readonly stdio?: StdioOptions; readonly detached?: boolean } = {},
): ChildProcess {
  const [tool, args] = within(argv, options);
  return spawn(tool, args, { stdio: options.stdio ?? 'pipe', detached: options.detached ?? false });
}

const FAILED_LINE = /^\s*Command failed -:(\d+)/;

/** What the kernel or the tool said, and of a batch (`-batch -`) which of its lines it was. */
function complaint(stderr: string, input?: string): { said: string; place: string | undefined } {
  const lines = stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !/^We have an error talking/.test(line));
  const said = lines.filter((line) => !FAILED_LINE.test(line));
  const text =
    said.find((line) => /^(Error|RTNETLINK answers):/.test(line)) ??
    said.find((line) => /error/i.test(line)) ??
    said.at(-1) ??
    '';
  const number = lines.map((line) => FAILED_LINE.exec(line)?.[1]).find((n) => n !== undefined);
  const words = number === undefined ? undefined : input?.split('\n')[Number(number) - 1];
  return {
    said: text.replace(/^(Error|RTNETLINK answers): /, ''),
    place: words && `in line ${number}, "${words}"`,
  };
}
