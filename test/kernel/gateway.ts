// A gateway to try the service on:  world 192.0.2.2 ── wan 192.0.2.1 box lan 10.0.0.1 ── 10.0.0.2 inside
// `wan` and `lan` are veth; the box masquerades, and forwards port 51413 to the inside host.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listBuilt } from '../../src/apply/index.ts';
import { start } from '../../src/kernel/index.ts';
import { Namespace, Program, packageFile } from '../../src/lab/index.ts';
import type { LinkStatus, Status } from '../../src/service/index.ts';
import { Looker } from './looker.ts';
import { PATIENCE, soon } from './soon.ts';

export const HEADGATE = [process.execPath, packageFile('dist/cli/headgate.js')] as const;
const FORGET = 'mkdir -p /run/headgate && mount -t tmpfs none /run/headgate && exec "$@"';
/** Before the words of a command that is to find the state folder empty. */
export const FORGETFUL = ['unshare', '--mount', 'sh', '-c', FORGET, 'sh'] as const;
const ECHO = packageFile('test/kernel/echo.mjs');

export const WORLD = '192.0.2.2';
export const WAN = '192.0.2.1';
export const INSIDE = '10.0.0.2';

export interface Exit {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Gateway {
  readonly box: Namespace;
  readonly world: Namespace;
  readonly inside: Namespace;
  /** For the test's own files. */
  readonly folder: string;
  readonly #programs: Program[] = [];

  #looker: Looker | undefined;

  private constructor(box: Namespace, world: Namespace, inside: Namespace, folder: string) {
    this.folder = folder;
    this.box = box;
    this.world = world;
    this.inside = inside;
  }

  static async build(): Promise<Gateway> {
    const made: Namespace[] = [];
    const add = async (label: string) => {
      const ns = await Namespace.add(label);
      made.push(ns);
      return ns;
    };
    try {
      const [box, world, inside] = [await add('box'), await add('world'), await add('inside')];
      const gateway = new Gateway(box, world, inside, await mkdtemp(join(tmpdir(), 'hg-gateway-')));
      await gateway.layWan();
      await box.batch(
        `link add lan type veth peer name eth0 netns ${inside.name}`,
        'link set lan up',
        'address add 10.0.0.1/24 dev lan',
      );
      await inside.batch('link set eth0 up', `address add ${INSIDE}/24 dev eth0`, 'route add default via 10.0.0.1');
      await box.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
      await box.feed(NAT, 'nft', '-f', '-');
      return gateway;
    } catch (error) {
      await Promise.all(made.map((ns) => ns.del()));
      throw error;
    }
  }

  /** Lays the link to the world, the first time or again. */
  async layWan(): Promise<void> {
    await this.box.batch(
      `link add wan type veth peer name up0 netns ${this.world.name}`,
      'link set wan up',
      `address add ${WAN}/24 dev wan`,
    );
    await this.world.batch('link set up0 up', `address add ${WORLD}/24 dev up0`);
    await this.box.batch(`route replace default via ${WORLD}`);
  }

  /** Ends what `up` has started and still runs, then all of it goes. */
  async close(): Promise<void> {
    for (const program of this.#programs) await program.stop('SIGTERM');
    await rm(this.folder, { recursive: true, force: true });
    await Promise.all([this.box, this.world, this.inside].map((ns) => ns.del()));
  }

  /** Starts `headgate up` in the box; resolves when it steers. */
  up(...args: readonly string[]): Promise<Program> {
    return this.upIn([], ...args);
  }

  /** The same, with `env` for its environment. */
  async upIn(env: readonly string[], ...args: readonly string[]): Promise<Program> {
    const program = this.start(args, ...env);
    await this.ready(program);
    return program;
  }

  /** Starts `headgate up` in the box, with `env` for its environment, and does not wait. */
  start(args: readonly string[], ...env: readonly string[]): Program {
    const rates = args.some((arg) => /^--(device|download)/.test(arg) || arg.endsWith('.gate'))
      ? []
      : ['--device', 'wan', '--download', '50mbit', '--upload', '50mbit'];
    const program = Program.start('headgate up', ['env', ...env, ...HEADGATE, 'up', '--json', ...args, ...rates], {
      netns: this.box.name,
    });
    this.#programs.push(program);
    return program;
  }

  /** Resolves when what was started steers; what it says of that. */
  ready(program: Program): Promise<string> {
    return program.line((line) => line.includes('"kind":"ready"'), 20_000 * PATIENCE);
  }

  /** Whether what was started came to steer; false: it ended first, or took too long. */
  isThrough(program: Program): Promise<boolean> {
    return this.ready(program).then(
      () => true,
      () => false,
    );
  }

  /** Runs a headgate command in the box to its end, whatever its exit status. */
  async headgate(...args: string[]): Promise<Exit> {
    return exitOf(this.box.name, ...HEADGATE, ...args);
  }

  /** The same, with the state folder empty. */
  async forgetful(...args: string[]): Promise<Exit> {
    return exitOf(this.box.name, ...FORGETFUL, ...HEADGATE, ...args);
  }

  /** Starts `headgate events --json` in the box; it ends with the service. */
  events(): Program {
    return Program.start('events', [...HEADGATE, 'events', '--json'], { netns: this.box.name });
  }

  /** Pings from the inside to the world, twenty a second; says how many were lost. */
  async ping(count: number): Promise<number> {
    const out = await this.inside
      .run('ping', '-i', '0.05', '-c', String(count), '-W', '1', WORLD)
      .catch((error) => String(error));
    return count - Number(/(\d+) received/.exec(out)?.[1] ?? 0);
  }

  /** What status says of the first link. */
  async link(): Promise<LinkStatus> {
    return (await this.status()).links[0]!;
  }

  /** What `headgate status --json` says. */
  status(): Promise<Status> {
    this.#looker ??= new Looker(this.box);
    return this.#looker.status();
  }

  /** What is built there of ours, whichever of its two names the ifb has. */
  async built(): Promise<string> {
    const places = { devices: ['wan', 'lan'], ifbs: ['hg-wan', 'hg_wan', 'spy'] };
    const built = await listBuilt(places, (argv) => this.box.run(...argv));
    return [...built].flat().join('\n').replaceAll('hg_wan', 'hg-wan');
  }

  /** Processes in the box that guard redirects, or would if their service were dead. */
  async guards(): Promise<readonly number[]> {
    const pids = (await this.box.run('ip', 'netns', 'pids', this.box.name)).split('\n').filter(Boolean);
    const names = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')));
    return pids.filter((_, i) => names[i] === 'headgate-guard\n').map(Number);
  }

  /** Kills what `up` has started, and then the guard that it leaves: nobody watches any more. */
  async killUnguarded(program: Program): Promise<void> {
    await program.stop('SIGKILL');
    for (const pid of await this.guards()) process.kill(pid, 'SIGKILL');
    await this.unguarded();
  }

  /** Resolves when no guard lives in the box, which is to be soon. */
  async unguarded(): Promise<void> {
    await soon(async () => {
      if ((await this.guards()).length > 0) throw new Error('a guard lives');
    });
  }

  /** Everything that tc, ip and nft tell of the box's kernel objects, without counters. */
  async snapshot(): Promise<string> {
    const { box } = this;
    const devices = ['wan', 'lan'];
    const parts = [
      await box.run('ip', '-d', 'link', 'show'),
      await box.run('tc', 'qdisc', 'show'),
      ...(await Promise.all(devices.map((dev) => box.run('tc', 'class', 'show', 'dev', dev)))),
      ...(await Promise.all(
        devices.map((dev) => box.run('tc', 'filter', 'show', 'dev', dev, 'ingress').catch(() => 'no hook\n')),
      )),
      await box.run('nft', '--stateless', 'list', 'ruleset'),
    ];
    // HTB alone shows a counter, also without -s. That a carrier came is told up to a second later (net/core/link_watch.c).
    return parts
      .join('')
      .replace(/direct_packets_stat \d+/g, 'direct_packets_stat N')
      .replace(/<NO-CARRIER,/g, '<')
      .replace(/(?<= qdisc \S+ )state [A-Z]+ /g, '');
  }

  /** Starts an echo server, and resolves when it listens. It ends with the namespace. */
  async serve(where: Namespace, transport: 'tcp' | 'udp', host: string, port: number): Promise<void> {
    const program = Program.start('echo', [process.execPath, ECHO, 'serve', transport, host, String(port)], {
      netns: where.name,
    });
    await program.line((line) => line === 'ready', 10_000 * PATIENCE);
  }

  /** Sends `bytes` to an echo server; fails unless they come back. */
  async ask(
    from: Namespace,
    transport: 'tcp' | 'udp',
    host: string,
    port: number,
    bytes = 200,
    sourcePort = 0,
  ): Promise<void> {
    await from.run(process.execPath, ECHO, 'ask', transport, host, String(port), String(bytes), String(sourcePort));
  }
}

/** Bytes of memory that a process holds. */
export const memoryOf = async (pid: number): Promise<number> =>
  Number(/^VmRSS:\s*(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;

/** Runs a command to its end and says how that was. */
export function exitOf(netns: string | undefined, ...argv: readonly [string, ...string[]]): Promise<Exit> {
  const child = start(argv, { netns });
  const text = { stdout: '', stderr: '' };
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk));
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk));
  child.stdin!.end();
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve({ status: status ?? -1, ...text }));
  });
}

const NAT = `table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "wan" udp dport 51413 dnat to ${INSIDE}
    iifname "wan" tcp dport 51413 dnat to ${INSIDE}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname != { "lan", "lo" } masquerade
  }
}
`;
