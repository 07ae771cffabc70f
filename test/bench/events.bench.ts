// What one conntrack event costs, processor time of the whole process (user and system): the service with a live rule
// that every flow may come to be taken by, against conntrack -E, ulogd2 that writes JSON, and a reader in C that does nothing. Each
// hears the same storm, one after the other, in one run; the median of three counts.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Namespace, packageFile } from '../../src/lab/index.ts';
import { note } from './report.ts';

const FLOWS = 80_000;
const LAG = 10_000;
/** Flows a second: as many as the slowest can follow without a loss. */
const RATE = 20_000;
/** Each flow's beginning, and the end of all but the last. */
const EVENTS = 2 * FLOWS - LAG;
const ROUNDS = 3;
const native = (name: string) => packageFile(`native-shim/build/${name}`);

/** Seconds of processor time of a process so far. */
async function spentBy(pid: number): Promise<number> {
  const [, text] = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ');
  const fields = text!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resolves when a process has not used the processor for a while. */
async function rests(pid: number): Promise<number> {
  let spent = -1;
  for (let same = 0; same < 3; same++) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    const now = await spentBy(pid);
    if (now > spent) same = 0;
    spent = now;
  }
  return spent;
}

interface Consumer {
  readonly name: string;
  readonly argv: readonly string[];
  /** What it says when it listens; one that says nothing is given a second. */
  readonly ready?: RegExp;
}

function storm(ns: Namespace): void {
  const argv = ['netns', 'exec', ns.name, native('gen_flows'), String(FLOWS), String(RATE), String(LAG)];
  const [, refused] = execFileSync('ip', argv, { encoding: 'utf8' }).split(' ').map(Number);
  expect(refused).toBe(0);
}

/** Ns an event. */
async function measure(ns: Namespace, { argv, ready }: Consumer): Promise<number> {
  await ns.run('conntrack', '-F');
  const child = spawn('ip', ['netns', 'exec', ns.name, ...argv], {
    stdio: ['ignore', ready ? 'pipe' : 'ignore', 'ignore'],
  });
  try {
    if (ready)
      await new Promise<void>((resolve) => child.stdout!.on('data', (data) => ready.test(String(data)) && resolve()));
    const pid = child.pid!;
    // Once for the compiler of node, and for everybody's caches.
    storm(ns);
    await ns.run('conntrack', '-F');
    const before = await rests(pid);
    storm(ns);
    return (((await rests(pid)) - before) / EVENTS) * 1e9;
  } finally {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }
}

const TRACK = `table inet bench {
  chain c {
    type filter hook prerouting priority 0
    ct state new counter
  }
}
`;

test('an event', { timeout: 600_000 }, async () => {
  execFileSync('make', ['-s', '-C', packageFile('native-shim'), 'all', 'tools']);
  const ns = await Namespace.add('bench');
  const folder = await mkdtemp(join(tmpdir(), 'hg-bench-'));
  try {
    await ns.batch(
      'link add wan type ifb',
      'link set wan up',
      'address add 192.0.2.1/24 dev wan',
      'route add default dev wan',
    );
    const policy = join(folder, 'bench.gate');
    await writeFile(
      policy,
      `link wan { device wan }
queue a { share 50% }
queue b { share 10% }
rule big when udp and remote.port 443 and count(flows by remote) > 1000000 -> b
default local -> a  remote -> a  new -> a
`,
    );
    const ulogd = join(folder, 'ulogd.conf');
    await writeFile(
      ulogd,
      `[global]
logfile="/dev/null"
plugin="ulogd_inpflow_NFCT.so"
plugin="ulogd_filter_IP2STR.so"
plugin="ulogd_output_JSON.so"
stack=ct1:NFCT,ip2str1:IP2STR,json1:JSON
[ct1]
event_mask=0x00000005
netlink_socket_buffer_size=33554432
netlink_socket_buffer_maxsize=33554432
hash_enable=0
[json1]
file="/dev/null"
`,
    );
    const consumers: Consumer[] = [
      {
        name: 'headgate up, whole service',
        argv: [process.execPath, packageFile('dist/cli/headgate.js'), 'up', '--json', policy],
        ready: /"ready"/,
      },
      { name: 'C, libnetfilter_conntrack, does nothing', argv: [native('read_events')], ready: /ready/ },
      { name: 'ulogd2, JSON to /dev/null', argv: ['ulogd', '-c', ulogd] },
      { name: 'conntrack -E to /dev/null', argv: ['conntrack', '-E', '-e', 'NEW,DESTROY', '-b', String(32 << 20)] },
    ];
    // Something has to make the kernel track here, whoever listens.
    await ns.feed(TRACK, 'nft', '-f', '-');
    const costs = new Map<string, number>();
    for (const consumer of consumers) {
      const rounds: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        rounds.push(await measure(ns, consumer));
      }
      costs.set(consumer.name, rounds.toSorted((a, b) => a - b)[ROUNDS >> 1]!);
    }
    const [own, c, json, text] = consumers.map(({ name }) => costs.get(name)!) as [number, number, number, number];
    expect(Math.min(c, json, text)).toBeGreaterThan(0);
    note('one event', [
      { what: 'events a second that were asked for', value: (RATE * EVENTS) / FLOWS, unit: '' },
      ...consumers.map(({ name }) => ({ what: name, value: costs.get(name)!, unit: 'ns' })),
      { what: 'the service against conntrack -E', value: own / text, unit: '', goal: { most: 1 / 15 } },
      { what: 'the service against ulogd2', value: own / json, unit: '', goal: { most: 1 / 6 } },
      { what: 'the service against the reader in C', value: own / c, unit: '', goal: { most: 0.8 } },
    ]);
  } finally {
    await ns.del();
    await rm(folder, { recursive: true });
  }
});
