import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { start } from '../../src/kernel/index.ts';
import { type Namespace, packageFile } from '../../src/lab/index.ts';

export interface Ask {
  readonly transport: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
  /** Bytes, there and back. */
  readonly size: number;
  /** Datagrams, each sent when the one before was answered. */
  readonly times: number;
  /** Source port; any where it is not given. */
  readonly from?: number | undefined;
  /** Source address; any where it is not given. UDP. */
  readonly source?: string | undefined;
  /** The socket stays, and takes what comes; the next one by TCP to the same end, and from the same port where one is given, goes on with it. */
  readonly keep?: true | undefined;
}

interface Answer {
  readonly id: number;
  readonly error?: string | undefined;
  readonly result?: unknown;
}

/** A process in a namespace that serves and asks (host.mjs). It ends with the namespace. */
export class Host {
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private orders = 0;

  private constructor(child: ChildProcess) {
    this.child = child;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer;
      this.waiting.get(answer.id)?.(answer);
      this.waiting.delete(answer.id);
    });
    child.once('exit', () => {
      for (const [id, done] of this.waiting) done({ id, error: 'the host has ended' });
    });
  }

  /** @param wrap a command that becomes the one behind it; it sees the machine's own /sys, which `ip netns exec` hides */
  static async start(ns: Namespace, ...wrap: readonly string[]): Promise<Host> {
    const argv = [...wrap, process.execPath, packageFile('test/kernel/host.mjs')];
    const host = new Host(start(['nsenter', `--net=${ns.path}`, ...argv]));
    await host.answer(0);
    return host;
  }

  async serve(transport: 'tcp' | 'udp', address: string, port: number): Promise<void> {
    await this.order({ do: 'serve', transport, address, port });
  }

  /** Takes datagrams, and answers none. */
  async sink(address: string, port: number): Promise<void> {
    await this.order({ do: 'sink', address, port });
  }

  /** The numbers of the datagrams that a sink has taken, in their order. */
  async heard(address: string, port: number): Promise<readonly number[]> {
    return (await this.order({ do: 'heard', address, port })) as number[];
  }

  /** Resolves when all has come back, and TCP is closed on this side. @throws Error with what the socket said: an ICMP error is one */
  async ask(ask: Ask): Promise<void> {
    await this.order({ do: 'ask', ...ask });
  }

  /** Ends the connection that was kept from this port. */
  async close(from: number): Promise<void> {
    await this.order({ do: 'close', from });
  }

  /** Resolves when no TCP connection of the namespace is being opened or closed: nothing of one is on its way here. */
  async settled(): Promise<void> {
    await this.order({ do: 'settled' });
  }

  /** Sends datagrams, with the numbers 0, 1, 2, ..., and waits for none. */
  async tell(
    address: string,
    port: number,
    times: number,
    more: { readonly from?: number; readonly size?: number } = {},
  ): Promise<void> {
    await this.order({ do: 'tell', address, port, times, ...more });
  }

  private order(order: object): Promise<unknown> {
    const id = ++this.orders;
    this.child.stdin!.write(`${JSON.stringify({ id, ...order })}\n`);
    return this.answer(id);
  }

  private answer(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.waiting.set(id, ({ error, result }) => (error === undefined ? resolve(result) : reject(new Error(error))));
    });
  }
}
