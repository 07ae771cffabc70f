// Shown on the machine's own kernel (6.18), which has the datapaths `bpf` and `map`. Those that it lacks:
// test/vm/guest/datapath-lifecycle.test.ts.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { lifecycle } from './datapath-lifecycle.ts';
import { Gateway } from './gateway.ts';

lifecycle('map');

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

test('datapath map comes after other people’s netdev chains: they see what arrives', async () => {
  const chain =
    'type filter hook ingress device "wan" priority 0; policy accept;\n    icmp type echo-reply counter drop';
  await gateway.box.feed(`table netdev fw {\n  chain i {\n    ${chain}\n  }\n}\n`, 'nft', '-f', '-');
  const before = await gateway.snapshot();
  const program = await gateway.up('--datapath', 'map');
  expect(await gateway.ping(3)).toBe(3);
  expect(await gateway.box.run('nft', 'list', 'table', 'netdev', 'fw')).toContain('counter packets 3');
  expect((await program.stop('SIGTERM')).status).toBe(0);
  expect(await gateway.snapshot()).toBe(before);
});

test('datapath map does not take a table of its name that is somebody else’s', async () => {
  await gateway.box.feed('table netdev headgate {\n}\n', 'nft', '-f', '-');
  const before = await gateway.snapshot();
  const exit = await gateway.headgate('up', '--datapath', 'map', '--device', 'wan', '--download', '50mbit');
  expect(exit.status).toBe(4);
  expect(exit.stderr).toContain('an nft table netdev headgate exists and is not ours');
  expect(await gateway.snapshot()).toBe(before);
});
