// Trees of every kind with leaves of every kind, built by `headgate up` from a policy, with real packets, read back
// from the kernel. Shown on Debian's 6.1 and 6.12, each of which has its part; the machine's own kernel has none of these qdiscs.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { addVeth, Namespace, type Program, receivedMbit, Transfer } from '../../../src/lab/index.ts';
import type { DirectionStatus } from '../../../src/service/index.ts';
import { Gateway, INSIDE, WAN, WORLD } from '../../kernel/gateway.ts';
import { Host } from '../../kernel/host.ts';
import { soon } from '../../kernel/soon.ts';
import { turn } from './turn.ts';

let gateway: Gateway;
const closers: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  gateway = await Gateway.build();
  // An ifb's own router solicitations would be counted in its tree.
  await gateway.box.run('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1');
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await gateway.close();
});

async function up(policy: string) {
  const file = join(gateway.folder, 'trees.gate');
  await writeFile(file, policy);
  return gateway.up(file, '--device', 'wan');
}

/** However long that takes here. */
async function down(program: Program): Promise<void> {
  process.kill(program.pid!, 'SIGTERM');
  expect(await program.ended).toEqual({ status: 0, signal: null });
}

async function transfer(opening: Promise<Transfer>): Promise<Transfer> {
  const made = await opening;
  closers.push(() => made.stop());
  return made;
}

const qdiscs = (device: string): Promise<string> => gateway.box.run('tc', '-d', 'qdisc', 'show', 'dev', device);
const packetsOf = ({ queues }: DirectionStatus) => Object.fromEntries(queues.map((q) => [q.name, q.packets]));

/** What the sinks receive meanwhile, in 10^6 bits per second, when the connections have found their rates. */
async function rates(...sinks: readonly Transfer[]): Promise<number[]> {
  await sleep(3000);
  const before = await Promise.all(sinks.map((sink) => sink.sample()));
  await sleep(6000);
  const after = await Promise.all(sinks.map((sink) => sink.sample()));
  const measured = sinks.map((_, i) => receivedMbit(before[i]!, after[i]!));
  console.info(expect.getState().currentTestName, measured.map((mbit) => mbit.toFixed(2)).join(' '));
  return measured;
}

describe('queues by origin', () => {
  const TREES: [tree: string, expected: string[]][] = [
    ['htb', ['htb 7fe0: root', 'fq_codel 7f01:']],
    ['prio', ['tbf 7fd0: root', 'prio 7fe0: parent 7fd0:1 bands 3', 'fq_codel 7f03:']],
    ['cake', ['cake 7fe0: root refcnt 2 bandwidth 2Mbit diffserv3']],
  ];
  it.each(turn(TREES.slice(0, 2), TREES.slice(2)))(
    'in a tree %s: counted, and a download of ours goes before those of strangers',
    async (tree, expected) => {
      const before = await gateway.snapshot();
      const program = await up(`
link wan { device wan  download 2mbit  upload 5mbit  tree ${tree} }
queue local { share 70% }  queue new { share 10% }  queue remote { share 5% }
rule voice when udp and remote.port 5001 -> new
default local -> local  remote -> remote  new -> new
`);
      for (const text of expected) expect(await qdiscs('hg-wan')).toContain(text);
      const [world, inside] = await Promise.all([Host.start(gateway.world), Host.start(gateway.inside)]);
      await world.serve('udp', WORLD, 5000);
      await world.serve('udp', WORLD, 5001);
      await inside.serve('udp', INSIDE, 51413);
      const datagrams = { transport: 'udp', size: 200 } as const;
      await inside.ask({ ...datagrams, address: WORLD, port: 5000, times: 4 });
      await inside.ask({ ...datagrams, address: WORLD, port: 5001, times: 1 });
      await world.ask({ ...datagrams, address: WAN, port: 51413, times: 2 });
      const { download, upload } = await gateway.link();
      // The stranger's first packet is new; what goes to port 5001 has its class from a rule's mark.
      expect(packetsOf(download!)).toEqual({ local: 4, new: 2, remote: 1 });
      // ARP is left alone: past the classes of HTB, in prio's first band, in cake's most urgent tin.
      const alone = upload!.packets.left_alone!;
      const added = { htb: [0, 0], prio: [alone, 0], cake: [0, alone] }[tree]!;
      expect(packetsOf(upload!)).toEqual({ local: 4 + added[0]!, new: 1 + added[1]!, remote: 2 });
      expect((await gateway.headgate('status')).stdout).toMatch(/^ +local +hg-wan +7fe0:/m);

      const torrent = await transfer(Transfer.serve(gateway.inside, INSIDE, 51413));
      await transfer(Transfer.serve(gateway.world, WORLD, 80));
      await transfer(Transfer.open(gateway.world, 'push', WAN, 51413, 4));
      const local = await transfer(Transfer.open(gateway.inside, 'fetch', WORLD, 80, 1));
      const [ours, theirs] = await rates(local, torrent);
      expect(ours! + theirs!).toBeGreaterThan(0.5);
      expect(ours! + theirs!).toBeLessThan(2.1);
      // Four to one without us. At such a rate the queue of a single connection is often empty in cake (docs/decisions/0015).
      expect(ours! / (ours! + theirs!)).toBeGreaterThan(tree === 'cake' ? 0.4 : 0.7);
      for (const close of closers.splice(0).reverse()) await close();
      await down(program);
      expect(await gateway.snapshot()).toBe(before);
    },
  );
});

describe('leaves', () => {
  const LEAVES = ['fq_codel', 'sfq', 'cake', 'bfifo', 'tbf'];
  const nameOf = (leaf: string) => leaf.replace('_', '-');

  it.each(turn(['prio'], ['htb']))('of every kind stand in a tree %s and count what is theirs', async (tree) => {
    const before = await gateway.snapshot();
    const [first, ...others] = LEAVES.map((leaf) => `queue ${nameOf(leaf)} { share 15% leaf ${leaf} }`);
    const program = await up(`
link wan { device wan  download 5mbit  upload 5mbit  tree ${tree}  overhead 18 mpu 64 }
${first}
queue outer { share 80%
  ${others.join('\n  ')}
}
${LEAVES.map((leaf, i) => `rule ${nameOf(leaf)} when udp and remote.port ${5001 + i} -> ${nameOf(leaf)}`).join('\n')}
default local -> fq-codel  remote -> bfifo  new -> sfq
`);
    const [world, inside] = await Promise.all([Host.start(gateway.world), Host.start(gateway.inside)]);
    for (const i of LEAVES.keys()) {
      const port = 5001 + i;
      await world.serve('udp', WORLD, port);
      await inside.ask({ transport: 'udp', address: WORLD, port, size: 200, times: i + 1 });
    }
    const { download, upload } = await gateway.link();
    for (const { queues } of [download!, upload!]) expect(queues.map(({ leaf }) => leaf)).toEqual(LEAVES);
    expect(download!.queues.map(({ packets }) => packets)).toEqual([1, 2, 3, 4, 5]);
    // What is left alone goes first: past a tree of classes, in the first band.
    const alone = tree === 'prio' ? upload!.packets.left_alone! : 0;
    expect(upload!.queues.map(({ packets }) => packets)).toEqual([1 + alone, 2, 3, 4, 5]);
    await down(program);
    expect(await gateway.snapshot()).toBe(before);
  });
});

describe('fairness', () => {
  const LEAVES = [
    ['fq_codel', 'before'],
    ['bfifo', 'behind'],
    ['sfq', 'before'],
  ] as const;
  it.each(turn(LEAVES.slice(0, 2), LEAVES.slice(2)))(
    'between flows, in a leaf %s: what one sends goes out %s what another has waiting',
    async (leaf, place) => {
      await up(`
link wan { device wan  download 100kbit }
queue all { share 90% leaf ${leaf} }
default local -> all  remote -> all  new -> all
`);
      const [world, box] = await Promise.all([Host.start(gateway.world), Host.start(gateway.box)]);
      await box.sink(WAN, 6000);
      await world.tell(WAN, 6000, 40, { from: 20_000, size: 300 });
      await world.tell(WAN, 6000, 1, { from: 20_001, size: 300 });
      // The numbers of each flow begin at 0.
      const heard = async () => {
        const numbers = await box.heard(WAN, 6000);
        const second = numbers.indexOf(0, 1);
        return { first: second > 0 ? second : numbers.length, came: second > 0, all: numbers.length };
      };
      await soon(async () => expect((await heard()).came).toBe(true));
      const { first } = await heard();
      await soon(async () => expect((await gateway.link()).download!.queues[0]!.backlogBytes).toBe(0));
      const { all } = await heard();
      const behind = all - first - 1;
      if (place === 'before') expect(behind).toBeGreaterThan(5);
      else expect(behind).toBe(0);
    },
  );

  it.each(turn(['htb'], ['cake']))('between hosts behind NAT, in a tree %s', async (tree) => {
    const other = '10.0.0.3';
    await gateway.inside.run('ip', 'address', 'add', `${other}/24`, 'dev', 'eth0');
    await gateway.box.run(
      ...(['nft', 'insert', 'rule', 'ip', 'nat', 'prerouting'] as const),
      ...['iifname', 'wan', 'tcp', 'dport', '51414', 'dnat', 'to', other],
    );
    await up(`
link wan { device wan  download 2mbit  tree ${tree} }
queue all { share 90% fair by host }
default local -> all  remote -> all  new -> all
`);
    expect(await qdiscs('hg-wan')).toMatch(/cake .* dual-dsthost nat /);
    const few = await transfer(Transfer.serve(gateway.inside, INSIDE, 51413));
    const many = await transfer(Transfer.serve(gateway.inside, other, 51414));
    await transfer(Transfer.open(gateway.world, 'push', WAN, 51413, 1));
    await transfer(Transfer.open(gateway.world, 'push', WAN, 51414, 6));
    const [one, six] = await rates(few, many);
    // Six to one by flows.
    expect(one! / (one! + six!)).toBeGreaterThan(0.35);
    expect(one! / (one! + six!)).toBeLessThan(0.65);
  });
});

describe('an ifb', () => {
  it('is shared by two devices in a tree prio, has its transmit queues, and passes everything on', async () => {
    const before = await gateway.snapshot();
    const second = await Namespace.add('second');
    closers.push(() => second.del());
    await addVeth(gateway.box, 'wan2', second, 'up0');
    await gateway.box.run('ip', 'address', 'add', '203.0.113.1/24', 'dev', 'wan2');
    await second.run('ip', 'address', 'add', '203.0.113.2/24', 'dev', 'up0');
    const program = await up(`
link wan  { device wan   download 5mbit  tree prio  numtxqueues 4 }
link wan2 { device wan2  share tree with wan }
queue local { share 70% leaf sfq }  queue new { share 10% leaf tbf }  queue remote { share 5% leaf sfq }
default local -> local  remote -> remote  new -> new
`);
    expect(await gateway.box.run('ip', '-d', 'link', 'show', 'hg-wan')).toContain('numtxqueues 4');
    expect(await gateway.ping(5)).toBe(0);
    await second.run('ping', '-c', '4', '-i', '0.2', '203.0.113.1');
    const [world, inside] = await Promise.all([Host.start(gateway.world), Host.start(gateway.inside)]);
    for (let port = 6000; port < 6008; port++) {
      await world.serve('udp', WORLD, port);
      await inside.ask({ transport: 'udp', address: WORLD, port, size: 200, times: 1 });
    }
    expect(packetsOf((await gateway.link()).download!)).toEqual({ local: 5 + 8, new: 0, remote: 4 });
    await down(program);
    await gateway.box.run('ip', 'link', 'del', 'wan2');
    expect(await gateway.snapshot()).toBe(before);
  });
});
