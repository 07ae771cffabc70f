// A reload that gives the queues of `ifb per origin` other numbers, under traffic: what arrives goes by one policy or the
// other, and nothing passes the ifbs by. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo, nft netdev).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { standIn } from './faults.ts';
import { Gateway, WAN } from './gateway.ts';
import { soon } from './soon.ts';
import { streamWhile } from './stream.ts';

vi.setConfig({ testTimeout: 240_000 });

const link = 'link wan { device wan  download 5gbit  ifb per origin }\n';
const end = 'default local -> local  remote -> remote  new -> fresh\n';
const FIRST = `${link}queue local { share 60% }  queue remote { share 30% }  queue fresh { share 10% }\n${end}`;
/** Every class is another ifb's. */
const SECOND = `${link}queue remote { share 30% }  queue fresh { share 10% }  queue local { share 60% }\n${end}`;

/** tc as on a slow machine: it takes its time before each filter of a batch, and packets pass meanwhile. */
const SLOW_TC = `#!/bin/sh
case "$*" in
*-batch*) ;;
*) exec /usr/sbin/tc "$@" ;;
esac
while read -r line; do
  case "$line" in *filter*) sleep 0.2 ;; esac
  /usr/sbin/tc $line || case "$*" in *-force*) ;; *) exit 1 ;; esac
done
`;

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
  // The ifbs' own router solicitations would be counted.
  await gateway.box.run('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1');
});
afterEach(() => gateway.close());

// With one set of picks 6,279 of 192,766 packets passed the ifbs by.
it.each(['bpf', 'map'] as const)('with datapath %s', async (datapath) => {
  const { box, world } = gateway;
  const file = join(gateway.folder, 'test.gate');
  await writeFile(file, FIRST);
  const slow = await standIn(join(gateway.folder, 'slow'), 'tc', SLOW_TC);
  const program = await gateway.upIn([slow], '--datapath', datapath, file);
  const arrived = async () => (await gateway.link()).ifbs.reduce((sum, { rx }) => sum + rx.packets - rx.dropped, 0);
  /** What had no class on its ifb. */
  const direct = async () =>
    [...(await box.run('tc', 'qdisc', 'show')).matchAll(/htb 7fe0: .*direct_packets_stat (\d+)/g)]
      .map(([, packets]) => Number(packets))
      .join();
  const names = async () => (await gateway.link()).ifbs.map(({ name }) => name).join();
  const [before, ifbs, none] = [await arrived(), await names(), await direct()];
  expect(none).toBe('0,0,0');
  const way = { from: world, to: box, address: WAN, port: 6000, flows: 4, rate: 12_000 };
  const [result] = await streamWhile([way], async () => {
    for (const policy of [SECOND, FIRST, SECOND, FIRST]) {
      const was = await arrived();
      await soon(async () => expect(await arrived()).toBeGreaterThan(was + 500));
      await writeFile(file, policy);
      expect(await gateway.headgate('reload')).toMatchObject({ status: 0, stderr: '' });
    }
  });
  // In place: else they would have counted from 0.
  expect(await names()).toBe(ifbs);
  const sent = result!.sent.reduce((sum, count) => sum + count, 0);
  expect(sent).toBeGreaterThan(2000);
  expect((await arrived()) - before).toBeGreaterThanOrEqual(sent);
  expect(await direct()).toBe('0,0,0');
  expect((await program.stop('SIGTERM')).status).toBe(0);
});
