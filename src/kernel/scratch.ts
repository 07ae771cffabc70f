import type { ChildProcess } from 'node:child_process';
import { type Argv, HeadgateError } from '../model/index.ts';
import { execute, noTool, type Outcome, outputOf, start, TIMED_OUT } from './command.ts';

/** Ms in which the namespace has to be there. */
const OPEN_MS = 30_000;
/** One command may take this many times as long as making the namespace did, but so many ms at least. */
const PATIENCE = 100;
const LEAST_PATIENCE_MS = 5000;
/** All commands together may take that many times as long as one. */
const BUDGET = 8;

/** Exit status of nsenter(1) where there is no such program. */
const NOT_FOUND = 127;

/**
 * A network namespace to try things in. It has no name and lives in one process, which waits for the end of its input:
 * when we end, however that happens, it goes with everything inside. Nothing reaches it but through this object.
 */
export class Scratch {
  readonly #holder: ChildProcess;
  /** performance.now() at which everything here has to have come to its end. */
  #deadline = 0;
  #patience = OPEN_MS;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  /** @throws HeadgateError HG_NO_TOOL; HG_KERNEL where no namespace can be made */
  static open(): Promise<Scratch> {
    const begun = performance.now();
    const holder = start(['unshare', '--net', 'cat'], { detached: true });
    const scratch = new Scratch(holder);
    let complaint = '';
    holder.stderr!.setEncoding('utf8').on('data', (text: string) => (complaint += text));
    holder.stdin!.on('error', () => {});
    return new Promise((resolve, reject) => {
      const fail = (said: string, status: number) => {
        clearTimeout(timer);
        void scratch.close();
        reject(new HeadgateError('HG_KERNEL', { command: 'unshare --net', problem: said, said, status }));
      };
      const timer = setTimeout(() => fail('it took too long', TIMED_OUT), OPEN_MS);
      holder.once('error', (cause: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        reject(
          cause.code === 'ENOENT'
            ? noTool('unshare', cause)
            : new HeadgateError('HG_KERNEL', { command: 'unshare --net', problem: cause.message }, { cause }),
        );
      });
      holder.once('close', (status) => fail(complaint.trim().split('\n').at(-1) || 'it ended at once', status ?? -1));
      // What comes back comes from cat: unshare(1) has done its part.
      holder.stdout!.once('data', () => {
        clearTimeout(timer);
        holder.removeAllListeners('close');
        const now = performance.now();
        scratch.#patience = Math.max(LEAST_PATIENCE_MS, PATIENCE * (now - begun));
        scratch.#deadline = now + BUDGET * scratch.#patience;
        resolve(scratch);
      });
      holder.stdin!.write('\n');
    });
  }

  /** For setns(2), and for the shim. */
  get path(): string {
    return `/proc/${this.#holder.pid}/ns/net`;
  }

  /** Ms that one command may take here. A machine that is slow or busy is given more; what takes longer hangs. */
  get patience(): number {
    return this.#patience;
  }

  /** A file with the packet counters of every device inside: proc_pid_net(5), `dev`. */
  get deviceStatistics(): string {
    return `/proc/${this.#holder.pid}/net/dev`;
  }

  /** Runs a command inside, as {@link execute} does, within the patience and the budget. @throws HeadgateError HG_NO_TOOL */
  async execute(argv: Argv, input?: string): Promise<Outcome> {
    const timeout = this.#timeout;
    const outcome = await execute(['nsenter', `--net=${this.path}`, ...argv], { input, timeout });
    if (outcome.status === NOT_FOUND && outcome.stderr.startsWith('nsenter:')) throw noTool(argv[0]);
    return outcome;
  }

  /** The same as {@link run} does it. */
  async run(argv: Argv, input?: string): Promise<string> {
    return outputOf(argv, await this.execute(argv, input), input);
  }

  /** Ms; never 0, which would be for ever. */
  get #timeout(): number {
    return Math.ceil(Math.max(1, Math.min(this.#patience, this.#deadline - performance.now())));
  }

  /** Ends it. Resolves when its process has ended, or cannot be ended now. */
  async close(): Promise<void> {
    if (this.#holder.exitCode !== null || this.#holder.signalCode !== null || this.#holder.pid === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#holder.unref();
        resolve();
      }, this.#patience);
      this.#holder.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#holder.stdin!.destroy();
      this.#holder.kill('SIGKILL');
    });
  }
}
