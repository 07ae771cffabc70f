import type { ChildProcess } from 'node:child_process';
import { type CommandOptions, run, start } from '../kernel/index.ts';
import type { Argv } from '../model/index.ts';

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
    try {
      await ns.batch('link set lo up');
    } catch (error) {
      await ns.del();
      throw error;
    }
    return ns;
  }

  /** For setns(2), and for the shim. */
  get path(): string {
    return `/run/netns/${this.name}`;
  }

  /** Its number: the inode by which the kernel, and what lies in /run/headgate, tell namespaces apart. */
  async getId(): Promise<string> {
    return /\d+/.exec(await this.run('readlink', '/proc/self/ns/net'))![0];
  }

  /** Runs a command in it and returns what it printed. */
  run(...argv: Argv): Promise<string> {
    return run(argv, { netns: this.name });
  }

  /** Runs commands of ip(8) in it, given without that word, by one process. */
  async batch(...commands: readonly string[]): Promise<void> {
    await run(['ip', '-netns', this.name, '-batch', '-'], { input: `${commands.join('\n')}\n` });
  }

  /** The same as {@link run}, with text on standard input. */
  feed(input: string, ...argv: Argv): Promise<string> {
    return run(argv, { netns: this.name, input } satisfies CommandOptions);
  }

  /** Starts a command in it that goes on until {@link del}. */
  start(...argv: Argv): ChildProcess {
    return start(argv, { netns: this.name });
  }

  /** Ends all processes in it and removes it, with every device inside. Twice is no error. */
  del(): Promise<void> {
    return del(this.name);
  }
}

/** Lays a veth pair: device `deviceA` in `a`, `deviceB` in `b`, both up. */
export async function addVeth(a: Namespace, deviceA: string, b: Namespace, deviceB: string): Promise<void> {
  await a.run('ip', 'link', 'add', deviceA, 'type', 'veth', 'peer', 'name', deviceB, 'netns', b.name);
  await a.run('ip', 'link', 'set', deviceA, 'up');
  await b.run('ip', 'link', 'set', deviceB, 'up');
}

/**
 * Removes what a process of ours left that died without {@link Namespace.del}: the namespaces that carry the id of a
 * process which is no more. Returns their names.
 */
export async function delLeftovers(): Promise<string[]> {
  const names = (await run(['ip', 'netns', 'list'])).split('\n').map((line) => line.split(' ')[0]!);
  const left = names.filter((name) => {
    const pid = /^hg-(\d+)-\d+-/.exec(name)?.[1];
    return pid !== undefined && !isAlive(Number(pid));
  });
  await Promise.all(left.map(del));
  return left;
}

async function del(name: string): Promise<void> {
  const pids = (await run(['ip', 'netns', 'pids', name]).catch(() => '')).split('\n').filter(Boolean);
  for (const pid of pids) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // it has ended by itself
    }
  }
  await run(['ip', 'netns', 'del', name]).catch(() => {});
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
