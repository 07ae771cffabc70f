import { type Namespace, Program } from '../../src/lab/index.ts';
import { soon } from './soon.ts';

/** Ms between two requests. */
const PERIOD = 5;

/** Echo requests to an address, two hundred a second, whatever becomes of them, and when each was answered. */
export class Heartbeat {
  readonly #program: Program;
  /** As Date.now() tells the time, by ping(8) itself. */
  readonly #answers: number[] = [];

  private constructor(program: Program) {
    this.#program = program;
    program.onLine((line) => {
      const seconds = /^\[(\d+\.\d+)\].* icmp_seq=/.exec(line)?.[1];
      if (seconds) this.#answers.push(Math.round(Number(seconds) * 1000));
    });
  }

  static start(from: Namespace, to: string): Heartbeat {
    const argv = ['ping', '-D', '-i', String(PERIOD / 1000), '-W', '1', to] as const;
    return new Heartbeat(Program.start('ping', argv, { netns: from.name }));
  }

  /** Resolves when a request was answered that late. */
  since(time: number): Promise<void> {
    return soon(() => {
      if (!((this.#answers.at(-1) ?? 0) >= time)) throw new Error('no answer to pings');
    });
  }

  /** The longest time between two answers, ms; the beginning and the end count as answers. */
  async longestGap(from: number, to: number): Promise<number> {
    await this.since(to);
    const within = [from, ...this.#answers.filter((time) => time > from && time < to), to];
    return Math.max(...within.slice(1).map((time, i) => time - within[i]!));
  }

  async stop(): Promise<void> {
    await this.#program.stop('SIGINT');
  }
}
