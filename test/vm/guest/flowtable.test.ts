// What `headgate doctor` says of a flowtable, with flows that really go through it. Shown on Linux 6.1 and 6.12.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Concern } from '../../../src/model/index.ts';
import { Gateway, WORLD } from '../../kernel/gateway.ts';
import { Host } from '../../kernel/host.ts';

const flowtable = (counter: string) => `table inet fw {
  flowtable f {
    hook ingress priority 0
    devices = { wan, lan }
    ${counter}
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    udp dport 7000 flow add @f
  }
}
`;

let gateway: Gateway;
let file: string;
beforeAll(async () => {
  gateway = await Gateway.build();
  const { box, world, folder } = gateway;
  // A flow that is idle for long leaves the flowtable.
  const quiet = ['net.netfilter.nf_flowtable_udp_timeout=3600', 'net.netfilter.nf_conntrack_udp_timeout=3600'];
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1', ...quiet);
  file = join(folder, 'wan.gate');
  await writeFile(file, 'link wan { device wan }\nqueue q { share 50% }\ndefault local -> q  remote -> q  new -> q\n');
  await box.feed(flowtable('counter'), 'nft', '-f', '-');
  const [there, inside] = [await Host.start(world), await Host.start(gateway.inside)];
  for (const [port, times] of [
    [7000, 300],
    [7001, 100],
  ] as const) {
    await there.serve('udp', WORLD, port);
    await inside.ask({ transport: 'udp', address: WORLD, port, size: 1000, times, keep: true });
  }
});
afterAll(() => gateway?.close());

async function said(): Promise<string> {
  const { stdout } = await gateway.headgate('doctor', '--json', file);
  const { concerns } = (JSON.parse(stdout) as { here: { concerns: readonly Concern[] } }).here;
  return concerns.find(({ check }) => check === 'flowtable')!.what;
}

test('its flows, and their part of the bytes, as they were sent', async () => {
  expect(await gateway.box.run('conntrack', '-L', '-p', 'udp')).toMatch(/dport=7000 .*\[OFFLOAD\]/);
  expect(await said()).toMatch(/through wan past netfilter: 1 of 2 flows at the moment, 75 % of the bytes of all$/);
});

test('where it counts nothing, no part is told', async () => {
  const { box } = gateway;
  await box.run('nft', 'delete', 'table', 'inet', 'fw');
  await box.feed(flowtable(''), 'nft', '-f', '-');
  const inside = await Host.start(gateway.inside);
  await inside.ask({ transport: 'udp', address: WORLD, port: 7000, size: 1000, times: 20, keep: true });
  expect(await said()).toMatch(/1 of \d flows at the moment; how many bytes is not known/);
});
