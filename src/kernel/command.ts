import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { type Argv, HeadgateError } from '../model/index.ts';

/** Debian's name for the package that holds a tool, where it differs from the tool's. */
const PACKAGES: Record<string, string> = {
  ip: 'iproute2',
  tc: 'iproute2',
  ss: 'iproute2',
  nft: 'nftables',
  ping: 'iputils-ping',
  sysctl: 'procps',
};

/** Where a command runs: the caller's network namespace, or one named in /run/netns. */
export interface Where {
  readonly netns?: string | undefined;
}

export interface CommandOptions extends Where {
  /** Text for the command's standard input. */
  readonly input?: string | undefined;
  /** Ms after which it is killed, and no longer waited for even where it cannot be; absent: never. */
  readonly timeout?: number | undefined;
}

/** The `status` of a command that was ended for taking too long. */
export const TIMED_OUT = -2;

const within = (argv: Argv, where: Where): [string, string[]] => {
  const [tool, ...args] = where.netns === undefined ? argv : ['ip', 'netns', 'exec', where.netns, ...argv];
  return [tool!, args];
};

/**
 * Runs a command to its end and returns what it printed.
 *
 * @throws HeadgateError HG_NO_TOOL where the program is not installed; HG_KERNEL where it exits with another status
 * than 0: `said` is the line of its standard error that tells why, `problem` that and the line of a batch. Where it
 * took longer than `timeout`, `status` is {@link TIMED_OUT}.
 */
export function run(argv: Argv, options: CommandOptions = {}): Promise<string> {
  const [tool, args] = within(argv, options);
  const command = argv.join(' ');
  return new Promise((resolve, reject) => {
    const child = execFile(tool, args, { maxBuffer: 64 << 20, encoding: 'utf8' }, (error, stdout, stderr) => {
      clearTimeout(timer);
      if (!error) return resolve(stdout);
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        return reject(new HeadgateError('HG_NO_TOOL', { tool, package: PACKAGES[tool] ?? tool }, { cause: error }));
      const { said, place } = complaint(stderr, options.input);
      const problem = [said, place].filter(Boolean).join(', ') || error.message;
      reject(
        new HeadgateError(
          'HG_KERNEL',
          { command, problem, said: said || error.message, status: Number(error.code ?? -1) },
          { cause: error },
        ),
      );
    });
    const timer =
      options.timeout === undefined
        ? undefined
        : setTimeout(() => {
            const said = `no answer within ${options.timeout! / 1000} s`;
            reject(new HeadgateError('HG_KERNEL', { command, problem: said, said, status: TIMED_OUT }));
            child.kill('SIGKILL');
            // One that waits for a lock of the kernel goes on to live; it must not keep us.
            for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy();
            child.unref();
          }, options.timeout);
    // A command that ends before it has read its input gives EPIPE; its exit status says what went wrong.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

/** Starts a command that goes on; its standard output and error are pipes unless `stdio` says otherwise. */
export function start(
  argv: Argv,
  options: Where & { readonly stdio?: 'pipe' | 'inherit' | 'ignore' } = {},
): ChildProcess {
  const [tool, args] = within(argv, options);
  return spawn(tool, args, { stdio: options.stdio ?? 'pipe' });
}

/** What the kernel or the tool said, and of a batch (`-batch -`) which of its lines it was. */
function complaint(stderr: string, input?: string): { said: string; place: string | undefined } {
  const lines = stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !/^We have an error talking/.test(line));
  const place = /^Command failed -:(\d+)/;
  const said = lines.filter((line) => !place.test(line));
  const text =
    said.find((line) => /^(Error|RTNETLINK answers):/.test(line)) ??
    said.find((line) => /error/i.test(line)) ??
    said.at(-1) ??
    '';
  const number = lines.map((line) => place.exec(line)?.[1]).find((n) => n !== undefined);
  const words = number === undefined ? undefined : input?.split('\n')[Number(number) - 1];
  return {
    said: text.replace(/^(Error|RTNETLINK answers): /, ''),
    place: words && `in line ${number}, "${words}"`,
  };
}
