// A reload that fails, and whose redirect the kernel refuses to take back: what the redirect leads to stays. Shown on the
// machine's own kernel (6.18: cls_bpf, HTB, bfifo, nft netdev).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Namespace } from '../../src/lab/index.ts';
import type { DatapathName } from '../../src/shape/index.ts';
import { Faults, REFUSAL, standIn } from './faults.ts';
import { exitOf, Gateway, HEADGATE, WORLD } from './gateway.ts';
import { soon } from './soon.ts';

vi.setConfig({ testTimeout: 120_000 });

const QUEUES = `queue mine { share 70% }  queue seed { share 5% }
default local -> mine  remote -> seed  new -> seed
`;
const OLD = `link wan { device wan  download 50mbit }\n${QUEUES}`;
/** Both links lead to an ifb beside the first: `wan` is sent there, then `lan` is to be. */
const BESIDE = `link wan { device wan  download 40mbit  numtxqueues 2 }
link lan { device lan  share tree with wan }
${QUEUES}`;

let gateway: Gateway;
let faults: Faults;
beforeEach(async () => {
  gateway = await Gateway.build();
  faults = await Faults.build(gateway.folder);
});
afterEach(() => gateway.close());

it('leaves a clsact, and what hangs on it, to who was faster', async () => {
  const file = join(gateway.folder, 'test.gate');
  await writeFile(file, OLD);
  // Just before ours somebody adds his own.
  const faster = `#!/bin/sh
PATH=\${PATH#*:}
[ "$1" = -batch ] || exec tc "$@"
lines=$(cat)
case "$lines" in *clsact*)
  tc qdisc add dev wan clsact
  tc filter add dev wan egress pref 7 protocol all u32 match u32 0 0 classid 1:1
esac
echo "$lines" | tc "$@"
`;
  const path = await standIn(join(gateway.folder, 'faster'), 'tc', faster);
  const { status, stderr } = await exitOf(gateway.box.name, 'env', path, ...HEADGATE, 'up', file);
  expect([status, stderr]).toEqual([5, expect.stringContaining('clsact')]);
  expect(await gateway.box.run('tc', 'qdisc', 'show', 'dev', 'wan')).toContain('clsact');
  expect(await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'egress')).toContain('pref 7');
  expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-wan');
});

it.each<[DatapathName, string, number]>([
  ['bpf', 'tc filter replace dev', 2],
  // Every transaction is one: the table of tuples, the chain on wan, the chain on lan.
  ['map', 'nft -f -', 3],
])('with datapath %s', async (datapath, words, nth) => {
  const nothing = await gateway.snapshot();
  const { box } = gateway;
  const file = join(gateway.folder, 'test.gate');
  await writeFile(file, OLD);
  const program = await gateway.upIn([faults.path], '--datapath', datapath, file);
  const ifbs = async () =>
    [...(await box.run('ip', '-o', 'link', 'show', 'type', 'ifb')).matchAll(/hg[-_]wan/g)].join();
  const leads = async () =>
    /hg[-_]wan/.exec(
      datapath === 'map'
        ? (await box.run('nft', 'list', 'table', 'netdev', 'headgate')).replace(/^(?!.*fwd).*\n/gm, '')
        : await box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress'),
    )?.[0];
  expect(await leads()).toBe('hg-wan');

  // What is refused from there on is also what would put it right again.
  const pinging = gateway.inside.run('ping', '-q', '-i', '0.01', '-c', '300', '-W', '1', WORLD);
  await writeFile(file, BESIDE);
  await faults.set('refuses', nth, words);
  const { status, stderr } = await gateway.headgate('reload');
  expect([status, stderr]).toEqual([5, expect.stringContaining(REFUSAL)]);
  expect(await faults.hit()).toContain(words.split(' ').slice(0, 2).join(' '));
  expect(await ifbs()).toBe('hg-wan,hg_wan');
  // One may be lost while clsact comes to lan, and goes: the kernel stops the device for that.
  expect(Number(/(\d+) received/.exec(await pinging)?.[1])).toBeGreaterThanOrEqual(299);

  await faults.clear();
  await soon(async () => expect(await leads()).toBe('hg-wan'));
  expect(await gateway.headgate('reload')).toMatchObject({ status: 0, stderr: '' });
  expect([await leads(), await ifbs()]).toEqual(['hg_wan', 'hg_wan']);
  expect(await gateway.ping(5)).toBe(0);
  if (datapath === 'map') await expectLeft(box);
  expect((await program.stop('SIGTERM')).status).toBe(0);
  expect(await gateway.snapshot()).toBe(nothing);
});

/** A look at the chains that fails says nothing of them: they stay the same. */
async function expectLeft(box: Namespace): Promise<void> {
  const handles = async () =>
    (await box.run('nft', '-a', 'list', 'table', 'netdev', 'headgate')).match(/fwd to .*# handle \d+/g);
  const before = await handles();
  expect(before).toHaveLength(2);
  await faults.set('fails', 1, 'nft --json --terse list table netdev headgate');
  const leaf = ['dev', 'hg_wan', 'parent', '7fe0:1'];
  await box.run('tc', 'qdisc', 'del', ...leaf);
  await soon(async () => expect(await faults.hit()).toBeDefined());
  await soon(async () => expect(await box.run('tc', 'qdisc', 'show', ...leaf)).toContain('bfifo 7f01:'));
  expect(await handles()).toEqual(before);
}
