import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { start, type Where } from '../kernel/index.ts';
import { type Argv, HeadgateError } from '../model/index.ts';

/** Lines of output that are kept for error messages and for {@link Program.line}'s late callers. */
const KEPT_LINES = 200;

export interface Ending {
  /** Exit status; null where a signal ended it. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * A program that runs while the lab does. It gets SIGTERM when our process dies, however that happens
 * (PR_SET_PDEATHSIG, by setpriv(1)), and its standard input closes then, too.
 */
export class Program {
  /** How long one may take to say something, or to end after it was asked to, in ms; then it is killed. More on a slow machine. */
  static patience = 10_000;
  /** When it has ended and all its output was read. */
  readonly ended: Promise<Ending>;
  private readonly name: string;
  private readonly child: ChildProcess;
  private readonly lines: string[] = [];
  private readonly complaints: string[] = [];
  private readonly readers = new Set<(line: string) => void>();
  private startError: Error | undefined;

  private constructor(name: string, argv: Argv, where: Where) {
    this.name = name;
    this.child = start(['setpriv', '--pdeathsig', 'TERM', ...argv], where);
    this.child.stdin?.on('error', () => {}); // it ended before it read: its status says more than EPIPE
    createInterface(this.child.stdout!).on('line', (line) => {
      keep(this.lines, line);
      for (const reader of this.readers) reader(line);
    });
    createInterface(this.child.stderr!).on('line', (line) => keep(this.complaints, line));
    this.ended = new Promise((resolve) => {
      this.child.on('error', (error) => {
        this.startError = error;
        resolve({ status: null, signal: null });
      });
      this.child.on('close', (status, signal) => resolve({ status, signal }));
    });
  }

  /** Starts it in the namespace that `where` names. `name` is what error messages call it. */
  static start(name: string, argv: Argv, where: Where = {}): Program {
    return new Program(name, argv, where);
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** The last lines of its standard output, oldest first. */
  get output(): readonly string[] {
    return this.lines;
  }

  /** Calls `reader` for every line of standard output from now on; returns how to stop that. */
  onLine(reader: (line: string) => void): () => void {
    this.readers.add(reader);
    return () => this.readers.delete(reader);
  }

  /**
   * Waits for a line of standard output, also one that came already.
   *
   * @throws HeadgateError HG_LAB, with the last thing it complained of, where it ends before it says that, or where
   * `patience` ms pass.
   */
  async line(matches: (line: string) => boolean, patience = Program.patience): Promise<string> {
    const early = this.lines.find(matches);
    if (early !== undefined) return early;
    let timer: NodeJS.Timeout | undefined;
    let stop = () => {};
    try {
      return await new Promise<string>((resolve, reject) => {
        stop = this.onLine((line) => matches(line) && resolve(line));
        timer = setTimeout(() => reject(this.failure(`not ready after ${patience / 1000} s`)), patience);
        void this.ended.then((ending) => reject(this.failure(`ended early (${describe(ending)})`)));
      });
    } finally {
      clearTimeout(timer);
      stop();
    }
  }

  /** Waits until it ends by itself; throws HG_LAB where it ends with another status than those of `accepted`. */
  async finish(accepted: readonly number[] = [0]): Promise<readonly string[]> {
    const ending = await this.ended;
    if (ending.status === null || !accepted.includes(ending.status)) throw this.failure(describe(ending));
    return this.lines;
  }

  /** Sends it the signal, where one is given, and closes its standard input; waits for its end, and kills it if need be. */
  async stop(signal?: NodeJS.Signals): Promise<Ending> {
    if (signal) this.child.kill(signal);
    this.child.stdin?.end();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), Program.patience);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }

  private failure(how: string): HeadgateError {
    const last = this.complaints.filter((line) => line.trim()).at(-1);
    const reason = this.startError?.message ?? (last && plain(last));
    return new HeadgateError('HG_LAB', { problem: `${this.name}: ${reason ? `${reason} (${how})` : how}` });
  }
}

function keep(lines: string[], line: string): void {
  lines.push(line);
  if (lines.length > KEPT_LINES) lines.shift();
}

/** The message of an error that `headgate --json` prints as an object; any other line as it is. */
function plain(line: string): string {
  try {
    return (JSON.parse(line) as { error?: { message?: string } }).error?.message ?? line;
  } catch {
    return line;
  }
}

const describe = (ending: Ending): string => (ending.signal ? `signal ${ending.signal}` : `status ${ending.status}`);
