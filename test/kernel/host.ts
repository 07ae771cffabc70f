import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
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
  /** Of UDP: the socket stays, and takes what comes. */
  readonly keep?: true | undefined;
}

/** A process in a namespace that serves and asks (host.mjs). It ends with the namespace. */
export class Host {
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, (error: string | undefined) => void>();
  private orders = 0;

  private constructor(child: ChildProcess) {
    this.child = child;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const { id, error } = JSON.parse(line) as { id: number; error?: string };
      this.waiting.get(id)?.(error);
      this.waiting.delete(id);
    });
    child.once('exit', () => {
      for (const done of this.waiting.values()) done('the host has ended');
    });
  }

  static async start(ns: Namespace): Promise<Host> {
    const host = new Host(ns.start(process.execPath, packageFile('test/kernel/host.mjs')));
    await host.answer(0);
    return host;
  }

  serve(transport: 'tcp' | 'udp', address: string, port: number): Promise<void> {
    return this.order({ do: 'serve', transport, address, port });
  }

  /** Takes datagrams, and answers none. */
  sink(address: string, port: number): Promise<void> {
    return this.order({ do: 'sink', address, port });
  }

  /** Resolves when all has come back. @throws Error with what the socket said: an ICMP error is one */
  ask(ask: Ask): Promise<void> {
    return this.order({ do: 'ask', ...ask });
  }

  /** Sends datagrams, and waits for none. */
  tell(address: string, port: number, times: number): Promise<void> {
    return this.order({ do: 'tell', address, port, times });
  }

  private order(order: object): Promise<void> {
    const id = ++this.orders;
    this.child.stdin!.write(`${JSON.stringify({ id, ...order })}\n`);
    return this.answer(id);
  }

  private answer(id: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.set(id, (error) => (error === undefined ? resolve() : reject(new Error(error))));
    });
  }
}
