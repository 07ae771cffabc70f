// `headgate up` with live rules: their queue, `police` and `mirror` reach the packets of flows that they come to take.
// Shown on the machine's own kernel (6.18: cls_bpf, HTB, nft limit and dup).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Gateway, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { soon } from './soon.ts';

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

const HEAD = `link wan { device wan  download 50mbit  upload 50mbit }
queue local { share 50% }
queue slow { share 10% }
default local -> local  remote -> local  new -> local
`;

it('a live rule: its queue, police and mirror, what status says of it, and nothing of it left', async () => {
  const { box, inside, world } = gateway;
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1');
  const before = await gateway.snapshot();
  const file = join(gateway.folder, 'live.gate');
  await writeFile(
    file,
    `${HEAD}rule guard when udp and remote.port 5000 and packets.out > 20 -> slow, police 100kbit, mirror to tap9\n`,
  );
  const [asking, serving] = [await Host.start(inside), await Host.start(world)];
  await serving.sink(WORLD, 5000);
  await serving.sink(WORLD, 5001);
  const program = await gateway.up(file);
  expect((await gateway.status()).service).toMatchObject({ follows: ['new', 'destroy', 'counters'], by: 'ring' });

  // The first thirty pass, and are what the rule takes the flow for; another flow goes on as it was.
  for (const port of [5000, 5001]) await asking.tell(WORLD, port, 30, { from: 7000, size: 1000 });
  await soon(async () => {
    expect(await box.run('nft', 'list', 'set', 'inet', 'headgate', 'police-out-1-flows4')).toMatch(
      /udp \. 7000 \. 5000/,
    );
    expect(await box.run('conntrack', '-L')).toMatch(/dport=5000 .*mark=1107296256 /);
  });
  await asking.tell(WORLD, 5000, 400, { from: 7000, size: 1000 });
  // In parts that the sink's buffer holds, however long that waits for its turn.
  for (let heard = 30; heard < 430; heard += 50) {
    await asking.tell(WORLD, 5001, 50, { from: 7000, size: 1000 });
    await soon(async () => expect((await serving.heard(WORLD, 5001)).length).toBe(heard + 50));
  }
  // A second of 100 kbit and the burst of 64 KiB are some 80 packets.
  const heard = (await serving.heard(WORLD, 5000)).length;
  expect(heard).toBeGreaterThan(30 + 40);
  expect(heard).toBeLessThan(30 + 200);
  const status = await gateway.status();
  const slow = status.links[0]!.upload!.queues.find(({ name }) => name === 'slow')!;
  expect(slow.packets).toBe(heard - 30);
  expect(status.policers.find(({ way }) => way === 'out')).toMatchObject({ rule: 'guard' });
  expect(status.service!.flows).toMatchObject({ total: 2, live: 1 });
  expect(await box.run('ip', '-s', 'link', 'show', 'tap9')).toMatch(/RX:.*\n\s+\d{5,} /);

  // Without a live rule nobody follows anything, and the bit that said so is taken back.
  await writeFile(file, HEAD);
  expect((await gateway.headgate('reload')).status).toBe(0);
  await soon(async () => {
    expect((await gateway.status()).service).toMatchObject({ follows: [] });
    expect(await box.run('conntrack', '-L')).not.toMatch(/mark=[1-9]/);
  });
  expect((await gateway.status()).service!.flows).toBeUndefined();
  expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
  expect(await gateway.snapshot()).toBe(before);
});
