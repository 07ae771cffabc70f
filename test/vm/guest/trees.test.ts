// Trees of every kind with leaves of every kind, built by `headgate up` from a policy, with real packets, read back
// from the kernel. Shown on Debian's 6.1 and 6.12; the machine's own kernel has none of these qdiscs.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DirectionStatus } from '../../../src/service/index.ts';
import { Gateway, INSIDE, WAN, WORLD } from '../../kernel/gateway.ts';

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

async function up(policy: string) {
  const file = join(gateway.folder, 'trees.gate');
  await writeFile(file, policy);
  return gateway.up(file, '--device', 'wan');
}

const qdiscs = (device: string): Promise<string> => gateway.box.run('tc', '-d', 'qdisc', 'show', 'dev', device);
const packetsOf = ({ queues }: DirectionStatus) => Object.fromEntries(queues.map((q) => [q.name, q.packets]));

describe('leaves', () => {
  const LEAVES = ['fq_codel', 'sfq', 'cake', 'bfifo', 'tbf'];
  it.each(['htb', 'prio'])('of every kind stand in a tree %s and count what is theirs', async (tree) => {
    const before = await gateway.snapshot();
    const program = await up(`
link wan { device wan  download 5mbit  upload 5mbit  tree ${tree} }
${LEAVES.map((leaf) => `queue ${leaf.replace('_', '-')} { share 15% leaf ${leaf} }`).join('\n')}
${LEAVES.map((leaf, i) => `rule ${leaf} when udp and remote.port ${5001 + i} -> ${leaf.replace('_', '-')}`).join('\n')}
default local -> fq-codel  remote -> bfifo  new -> sfq
`);
    for (const i of LEAVES.keys()) await gateway.serve(gateway.world, 'udp', WORLD, 5001 + i);
    for (const i of LEAVES.keys())
      for (let n = 0; n <= i; n++) await gateway.ask(gateway.inside, 'udp', WORLD, 5001 + i, 200);
    const { download, upload } = await gateway.link();
    for (const direction of [download!, upload!]) {
      expect(direction.queues.map(({ leaf }) => leaf)).toEqual(LEAVES);
      expect(direction.queues.map(({ packets }) => packets)).toEqual([1, 2, 3, 4, 5]);
    }
    await program.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);
  });
});

describe('queues by origin', () => {
  const QUEUES = 'queue local { share 70% }  queue new { share 10% }  queue remote { share 5% }';
  it.each([
    ['htb', ['htb 7fe0: root', 'fq_codel 7f01:']],
    ['prio', ['tbf 7fd0: root', 'prio 7fe0: parent 7fd0:1 bands 3', 'fq_codel 7f03:']],
    ['cake', ['cake 7fe0: root refcnt 2 bandwidth 5Mbit diffserv3']],
  ])('%s', async (tree, expected) => {
    const before = await gateway.snapshot();
    const program = await up(`
link wan { device wan  download 5mbit  upload 5mbit  tree ${tree} }
${QUEUES}
rule voice when udp and remote.port 5001 -> new
default local -> local  remote -> remote  new -> new
`);
    for (const text of expected) expect(await qdiscs('hg-wan')).toContain(text);
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await gateway.serve(gateway.world, 'udp', WORLD, 5001);
    await gateway.serve(gateway.inside, 'udp', INSIDE, 51413);
    for (let n = 0; n < 4; n++) await gateway.ask(gateway.inside, 'udp', WORLD, 5000);
    await gateway.ask(gateway.inside, 'udp', WORLD, 5001);
    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);
    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);
    const { download, upload } = await gateway.link();
    // The stranger's first packet is new; to the voice server goes what a rule's mark says, also here.
    expect(packetsOf(download!)).toEqual({ local: 4, new: 2, remote: 1 });
    expect(packetsOf(upload!)).toEqual({ local: 4, new: 1, remote: 2 });
    expect((await gateway.headgate('status')).stdout).toMatch(/^ +local +7fe0:/m);
    await program.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);
  });
});
