// Flows that a flowtable takes past netfilter, and what part of the bytes they are, as `headgate doctor` measures it. Shown on
// Linux 6.1.

import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Concern } from '../../../src/model/index.ts';
import { Gateway, WORLD } from '../../kernel/gateway.ts';

const FLOWTABLE = `table inet fw {
  flowtable f { hook ingress priority 0; devices = { lan, wan }; }
  chain c { type filter hook forward priority 0; policy accept; udp dport 5000 flow add @f; }
}
`;

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

test('doctor tells how many flows a flowtable takes, and what part of the bytes', async () => {
  const { box, inside, world } = gateway;
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1');
  await box.feed(FLOWTABLE, 'nft', '-f', '-');
  for (const port of [5000, 5001]) {
    await gateway.serve(world, 'udp', WORLD, port);
    // A flow is taken when both sides have been heard.
    for (let i = 0; i < 3; i++) await gateway.ask(inside, 'udp', WORLD, port, 200, 6000);
  }
  const told = async () => {
    const { stdout } = await gateway.headgate('doctor', '--json', '--device', 'wan');
    return (JSON.parse(stdout).here.concerns as Concern[]).find(({ check }) => check === 'flowtable')!;
  };
  expect(await told()).toMatchObject({
    severity: 'problem',
    what: expect.stringMatching(
      /^flowtable inet fw f takes .* 1 of \d+ flows at the moment, \d+ % of the bytes of all$/,
    ),
  });
});
