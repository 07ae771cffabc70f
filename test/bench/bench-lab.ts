// What the benchmarks share: a namespace with a link, programs that run in it, storms, and what they cost.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { Namespace, packageFile } from '../../src/lab/index.ts';

/** Ours may name certificates for npm, which node reads at each start, 45 ms: few boxes that Headgate runs on have that. */
const { NODE_EXTRA_CA_CERTS: _, ...ENVIRONMENT } = process.env;

/** A program that native-shim makes for tests and benchmarks. */
export const native = (name: string): string => packageFile(`native-shim/build/${name}`);

/** A link without rates and two queues; what goes by its origin goes to `a`. */
export const policyWith = (rule: string): string => `link wan { device wan }
queue a { share 50% }
queue b { share 10% }
${rule}
default local -> a  remote -> a  new -> a
`;

/** Every flow of a storm has to be looked at, and none is taken. */
export const WATCHED = policyWith('rule big when udp and remote.port 443 and count(flows by remote) > 1000000 -> b');
/** Every flow of a storm gets a mark. */
export const MARKED = policyWith('rule all when udp and remote.port 443 and count(flows by remote) > 0 -> b');

const TRACK = `table inet bench {
  chain c {
    type filter hook prerouting priority 0
    ct state new counter
  }
}
`;

/** A program that runs in the namespace, and what it has said on its standard output. */
export interface Running {
  readonly child: ChildProcess;
  readonly said: () => string;
  /** Ends it with SIGTERM, or waits until it has ended. */
  readonly end: (signal?: 'SIGTERM') => Promise<string>;
}

/** One namespace for a benchmark, in which the kernel tracks connections, with a device `wan` and a folder for files. */
export class BenchLab {
  readonly ns: Namespace;
  readonly folder: string;
  readonly #running = new Set<ChildProcess>();

  private constructor(ns: Namespace, folder: string) {
    this.ns = ns;
    this.folder = folder;
  }

  static async with<T>(act: (lab: BenchLab) => Promise<T>): Promise<T> {
    execFileSync('make', ['-s', '-C', packageFile('native-shim'), 'all', 'tools']);
    const ns = await Namespace.add('bench');
    const folder = await mkdtemp(join(tmpdir(), 'hg-bench-'));
    const lab = new BenchLab(ns, folder);
    try {
      await ns.batch(
        'link add wan type veth peer name far',
        'link set wan up',
        'link set far up',
        'address add 192.0.2.1/24 dev wan',
        'route add default dev wan',
      );
      await ns.feed(TRACK, 'nft', '-f', '-');
      return await act(lab);
    } finally {
      // A benchmark that failed leaves them.
      for (const child of lab.#running) child.kill('SIGKILL');
      await ns.del();
      await rm(folder, { recursive: true });
    }
  }

  /** Starts a program; resolves once it has said `ready`, where that is given. */
  async start(argv: readonly string[], ready?: RegExp): Promise<Running> {
    const child = spawn('ip', ['netns', 'exec', this.ns.name, ...argv], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: ENVIRONMENT,
    });
    this.#running.add(child);
    const ended = new Promise((resolve) => child.once('exit', resolve)).finally(() => this.#running.delete(child));
    let text = '';
    await new Promise<void>((resolve, reject) => {
      child.stdout!.on('data', (data) => {
        text += String(data);
        if (ready?.test(text)) resolve();
      });
      child.once('exit', (status) => reject(new Error(`${argv.join(' ')} has ended: ${status}`)));
      if (!ready) resolve();
    });
    const end = async (signal?: 'SIGTERM') => {
      if (signal) child.kill(signal);
      await ended;
      return text;
    };
    return { child, said: () => text, end };
  }

  /** Starts `headgate up` with a policy, and waits until it is ready. */
  async up(policy: string, ...args: readonly string[]): Promise<Running> {
    const file = join(this.folder, 'bench.gate');
    await writeFile(file, policy);
    const program = packageFile('dist/cli/headgate.js');
    return this.start([process.execPath, program, 'up', '--json', ...args, file], /"ready"/);
  }

  /** Makes flows, and waits until that is done: gen_flows.c. Returns the seconds that it took. */
  storm(count: number, rate: number, lag: number): number {
    const argv = ['netns', 'exec', this.ns.name, native('gen_flows'), String(count), String(rate), String(lag)];
    const [seconds, refused] = execFileSync('ip', argv, { encoding: 'utf8' }).split(' ').map(Number);
    expect(refused).toBe(0);
    return seconds!;
  }

  flush(): Promise<string> {
    return this.ns.run('conntrack', '-F');
  }

  /** Messages that found no room at some netfilter socket of the namespace since that was opened (netlink(7)). */
  async drops(): Promise<number> {
    const text = await this.ns.run('cat', '/proc/net/netlink');
    const lines = text.split('\n').map((line) => line.trim().split(/\s+/));
    const [protocol, drops] = [lines[0]!.indexOf('Eth'), lines[0]!.indexOf('Drops')];
    return lines.slice(1).reduce((sum, line) => sum + (line[protocol] === '12' ? Number(line[drops]) : 0), 0);
  }
}

/** Seconds of processor time of all threads of a process so far, user and system, as the scheduler counts them (proc(5)). */
export async function spentBy(pid: number): Promise<number> {
  const { main, shim, others } = await spentByThreads(pid);
  return main + shim + others;
}

/** The same, by thread: those of the shim have its name. */
export async function spentByThreads(pid: number): Promise<{ main: number; shim: number; others: number }> {
  const spent = { main: 0, shim: 0, others: 0 };
  for (const task of await readdir(`/proc/${pid}/task`)) {
    const read = (file: string) => readFile(`/proc/${pid}/task/${task}/${file}`, 'utf8').catch(() => '0');
    const thread = task === String(pid) ? 'main' : (await read('comm')) === 'headgate\n' ? 'shim' : 'others';
    spent[thread] += Number((await read('schedstat')).split(' ')[0]) / 1e9;
  }
  return spent;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A process that uses less of the processor than this in a while is at rest: the service looks at the clock now and then. */
const REST = 0.006;

/** Resolves when a process has hardly used the processor for a while. */
export async function rests(pid: number): Promise<number> {
  let spent = -1;
  for (let same = 0; same < 3; same++) {
    await pause(300);
    const now = await spentBy(pid);
    if (now - spent > REST) same = 0;
    spent = now;
  }
  return spent;
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
