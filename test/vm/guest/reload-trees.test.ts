// Reloads from each kind of tree to each other, and within a kind, on datapaths of programs and chains: afterwards
// `plan` finds nothing to do. Shown on Debian's 6.1 and 6.12, each of which has its part; the machine's own kernel has neither
// prio, nor cake, nor act_ct.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Gateway } from '../../kernel/gateway.ts';
import { turn } from './turn.ts';

// Ten reloads, each with a plan: a minute each where the machine is busy.
vi.setConfig({ testTimeout: 1_800_000 });

let gateway: Gateway;
let file: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'trees.gate');
});
afterEach(() => gateway.close());

const policy = (link: string, leaf = 'fq_codel', more = '') => `link wan { device wan  ${link} }
queue local { share 60%  leaf ${leaf} }  queue remote { share 10% }  queue new { share 10% }  ${more}
default local -> local  remote -> remote  new -> new
`;
const START = policy('download 9mbit  upload 8mbit');
const POLICIES: readonly [name: string, policy: string, beside: boolean][] = [
  ['prio', policy('download 9mbit  upload 8mbit  tree prio'), true],
  ['prio, other rates', policy('download 8mbit  upload 9mbit  overhead 18 mpu 64  tree prio'), false],
  ['prio, more bands', policy('download 8mbit  upload 9mbit  tree prio', 'fq_codel', 'queue more { share 5% }'), false],
  ['prio, fewer bands', policy('download 8mbit  upload 9mbit  tree prio'), false],
  ['prio, other leaves', policy('download 8mbit  upload 9mbit  tree prio', 'sfq'), true],
  ['cake', policy('download 9mbit  upload 8mbit  tree cake'), true],
  ['cake, other rates', policy('download 8mbit  upload 9mbit  tree cake'), false],
  ['cake, another line', policy('download 8mbit  upload 9mbit  tree cake  overhead docsis'), true],
  ['htb', policy('download 9mbit  upload 8mbit'), true],
  ['htb, a line', policy('download 9mbit  upload 8mbit  overhead -4 mpu 64'), false],
];

/** What `up` begins with, and the reloads after it. */
const LIVES = [
  ['bpf', START, POLICIES.slice(0, 5)],
  ['bpf', POLICIES[4]![1], POLICIES.slice(5)],
  // The others do not differ in what they do to trees.
  ['ct', START, POLICIES.slice(0, 2)],
] as const;
it.each(turn(LIVES.slice(0, 1), LIVES.slice(1)))(
  'to any kind of tree, datapath %s',
  async (datapath, start, reloads) => {
    const before = await gateway.snapshot();
    await writeFile(file, start);
    const program = await gateway.up(file, '--datapath', datapath);
    let ifb = 'hg-wan';
    for (const [name, text, beside] of reloads) {
      await writeFile(file, text);
      const { status, stderr } = await gateway.headgate('reload');
      expect([name, status, stderr.includes('HG_')]).toEqual([name, 0, false]);
      const ifbs = (await gateway.link()).ifbs.map((one) => one.name);
      if (beside) ifb = ifb === 'hg-wan' ? 'hg_wan' : 'hg-wan';
      expect([name, ifbs]).toEqual([name, [ifb]]);
      const plan = await gateway.headgate('plan', file, '--json', '--datapath', datapath);
      const { anew, differences, changes } = JSON.parse(plan.stdout);
      expect({ name, anew, differences, changes }).toEqual({ name, anew: undefined, differences: [], changes: [] });
    }
    expect(await gateway.ping(3)).toBe(0);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  },
);
