import type { Namespace } from './namespace.ts';
import { packageFile } from './place.ts';
import { Program } from './program.ts';

/** Bytes of each open connection so far, at a time of CLOCK_MONOTONIC in ms. */
export interface Sample {
  readonly at: number;
  readonly connections: readonly { readonly id: number; readonly received: number; readonly sent: number }[];
}

/** What one connection received between two samples, in bits per second. */
export type ConnectionRates = readonly number[];

/** TCP connections of one host, as src/lab/traffic.ts opens or answers them, and what they carry. */
export class Transfer {
  private readonly program: Program;
  private readonly waiting = new Set<(sample: Sample) => void>();

  private constructor(program: Program) {
    this.program = program;
    program.onLine((line) => {
      const message = JSON.parse(line);
      if (message.kind !== 'sample') return;
      for (const resolve of this.waiting) resolve(message);
      this.waiting.clear();
    });
  }

  /** Answers connections to that address and port. Ready when it listens. */
  static serve(host: Namespace, address: string, port: number): Promise<Transfer> {
    return Transfer.start(host, 'serve', address, String(port));
  }

  /** Opens `count` connections and receives, or sends, without end. Ready when all are connected. */
  static open(
    host: Namespace,
    wish: 'fetch' | 'push',
    address: string,
    port: number,
    count: number,
  ): Promise<Transfer> {
    return Transfer.start(host, wish, address, String(port), String(count));
  }

  private static async start(host: Namespace, ...args: string[]): Promise<Transfer> {
    const name = `traffic ${args.join(' ')}`;
    const argv = [process.execPath, packageFile('dist/lab/traffic.js'), ...args] as const;
    const program = Program.start(name, argv, { netns: host.name });
    const transfer = new Transfer(program);
    try {
      await program.line((line) => line === '{"kind":"ready"}', 120_000);
    } catch (error) {
      await program.stop('SIGTERM');
      throw error;
    }
    return transfer;
  }

  get pid(): number | undefined {
    return this.program.pid;
  }

  /** The next sample, at most {@link SAMPLE_MS} away. */
  async sample(): Promise<Sample> {
    let resolved: Sample | undefined;
    await Promise.race([
      new Promise<void>((resolve) => {
        this.waiting.add((sample) => {
          resolved = sample;
          resolve();
        });
      }),
      this.program.ended,
    ]);
    // Ended: by itself, since stop() is what ends it otherwise; finish() says of what.
    if (!resolved) await this.program.finish([]);
    return resolved!;
  }

  /** Closes all connections. */
  async stop(): Promise<void> {
    await this.program.stop();
  }
}

/** What each connection of the later sample has received since the earlier one, in bits per second. */
export function receivedRates(earlier: Sample, later: Sample): ConnectionRates {
  const before = new Map(earlier.connections.map((c) => [c.id, c.received]));
  const seconds = (later.at - earlier.at) / 1000;
  return later.connections.map((c) => ((c.received - (before.get(c.id) ?? 0)) * 8) / seconds);
}

/** The sum of {@link receivedRates}, in 10^6 bits per second. */
export const receivedMbit = (earlier: Sample, later: Sample): number =>
  receivedRates(earlier, later).reduce((sum, rate) => sum + rate, 0) / 1e6;
