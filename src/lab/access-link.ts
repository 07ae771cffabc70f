import type { Namespace } from './namespace.ts';
import { packageFile } from './place.ts';
import { Program } from './program.ts';

export interface AccessLinkOptions {
  /** Each way, in 10^6 bits per second; 0.001..1000. */
  readonly rateMbit: number;
  /** Both ways together, without queueing, in ms; 0..10000. */
  readonly rttMs: number;
  /** What the FIFO of each way holds, in ms of the line's time; then it drops at the tail. 0..10000. */
  readonly fifoMs: number;
}

/** What one way of the link has delivered, and dropped because its FIFO was full. */
export interface LinkCount {
  readonly packets: number;
  readonly bytes: number;
  readonly drops: number;
}

/**
 * An access link as an ISP has one, between two namespaces: a tun device in each, and native-shim/lab/access-link.c
 * in between. Needs no netem. The devices are up, and without addresses.
 */
export class AccessLink {
  private readonly program: Program;

  private constructor(program: Program) {
    this.program = program;
  }

  static async add(
    a: Namespace,
    deviceA: string,
    b: Namespace,
    deviceB: string,
    options: AccessLinkOptions,
  ): Promise<AccessLink> {
    const numbers = [options.rateMbit * 1000, options.fifoMs, options.rttMs / 2].map((n) => String(Math.round(n)));
    const program = Program.start('the access link', [
      packageFile('native-shim/build/access-link'),
      a.path,
      deviceA,
      b.path,
      deviceB,
      ...numbers,
    ]);
    try {
      await program.line((line) => line === 'ready');
      // The queue is the program's: the device's own must never be the one that drops.
      await a.run('ip', 'link', 'set', deviceA, 'txqueuelen', '5000', 'up');
      await b.run('ip', 'link', 'set', deviceB, 'txqueuelen', '5000', 'up');
    } catch (error) {
      await program.stop();
      throw error;
    }
    return new AccessLink(program);
  }

  get pid(): number | undefined {
    return this.program.pid;
  }

  /** Removes the link with its devices; returns what went from the first namespace to the second, and back. */
  async del(): Promise<[there: LinkCount, back: LinkCount]> {
    await this.program.stop();
    const counts = this.program.output.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
    const none: LinkCount = { packets: 0, bytes: 0, drops: 0 };
    return [counts[0] ?? none, counts[1] ?? none];
  }
}
