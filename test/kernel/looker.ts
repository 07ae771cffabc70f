import { createInterface } from 'node:readline';
import { type Namespace, packageFile } from '../../src/lab/index.ts';
import type { Status } from '../../src/service/index.ts';

/** A process in a namespace that tells what `headgate status --json` would (looker.mjs). It ends with the namespace. */
export class Looker {
  private readonly ask: () => void;
  private readonly waiting: ((line: string) => void)[] = [];

  constructor(ns: Namespace) {
    const child = ns.start(process.execPath, packageFile('test/kernel/looker.mjs'));
    this.ask = () => child.stdin!.write('\n');
    createInterface({ input: child.stdout! }).on('line', (line) => this.waiting.shift()?.(line));
    child.once('exit', () => {
      for (const tell of this.waiting.splice(0)) tell('{"error":"the looker has ended"}');
    });
  }

  async status(): Promise<Status> {
    const line = new Promise<string>((resolve) => this.waiting.push(resolve));
    this.ask();
    const { status, error } = JSON.parse(await line) as { status?: Status; error?: string };
    if (!status) throw new Error(error);
    return status;
  }
}
