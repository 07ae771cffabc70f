import type { ChildProcess } from 'node:child_process';
import { type Argv, type CommandOptions, run, start } from '../kernel/index.ts';

let made = 0;

/** A network namespace that we made: a host of the lab. Its name begins with `hg-` and our process id. */
export class Namespace {
  readonly name: string;

  private constructor(label: string) {
    this.name = `hg-${process.pid}-${made++}-${label}`;
  }

  /** Makes the namespace, with its loopback device up. */
  static async add(label: string): Promise<Namespace> {
    const ns = new Namespace(label);
    await run(['ip', 'netns', 'add', ns.name]);
    await ns.run('ip', 'link', 'set', 'lo', 'up');
    return ns;
  }

  /** For setns(2), and for the shim. */
  get path(): string {
    return `/run/netns/${this.name}`;
  }

  /** Runs a command in it and returns what it printed. */
  run(...argv: Argv): Promise<string> {
    return run(argv, { netns: this.name });
  }

  /** The same with text on standard input. */
  feed(input: string, ...argv: Argv): Promise<string> {
    return run(argv, { netns: this.name, input } satisfies CommandOptions);
  }

  /** Starts a command in it that goes on until {@link del}. */
  start(...argv: Argv): ChildProcess {
    return start(argv, { netns: this.name });
  }

  /** Ends all processes in it and removes it, with every device inside. Twice is no error. */
  async del(): Promise<void> {
    const pids = (await run(['ip', 'netns', 'pids', this.name]).catch(() => '')).split('\n').filter(Boolean);
    for (const pid of pids) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // it has ended by itself
      }
    }
    await run(['ip', 'netns', 'del', this.name]).catch(() => {});
  }
}

/** Lays a veth pair: device `deviceA` in `a`, `deviceB` in `b`, both up. */
export async function addVeth(a: Namespace, deviceA: string, b: Namespace, deviceB: string): Promise<void> {
  await a.run('ip', 'link', 'add', deviceA, 'type', 'veth', 'peer', 'name', deviceB, 'netns', b.name);
  await a.run('ip', 'link', 'set', deviceA, 'up');
  await b.run('ip', 'link', 'set', deviceB, 'up');
}
