// `headgate tap`: what a rule copies, and nothing else that the tap itself sends. Shown on the machine's own kernel (6.18).

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Program } from '../../src/lab/index.ts';
import { Gateway, HEADGATE, WORLD } from './gateway.ts';
import { soon } from './soon.ts';

let gateway: Gateway;
beforeAll(async () => {
  gateway = await Gateway.build();
});
afterAll(() => gateway.close());

it('captures what is copied, and not what the tap says of its own', async () => {
  const policy = join(gateway.folder, 'tap.gate');
  await writeFile(
    policy,
    `link wan { device wan  download 9mbit }
queue all { share 50% }
rule look when udp and remote.port 5000 -> mirror to spy
default local -> all  remote -> all  new -> all
`,
  );
  await gateway.serve(gateway.world, 'udp', WORLD, 5000);
  await gateway.up(policy);
  const own = () => gateway.box.run('ip', '-6', 'address', 'show', 'dev', 'spy');
  await soon(async () => expect(await own()).toMatch(/inet6 fe80:.*scope link(?! tentative)/));
  const file = join(gateway.folder, 'spy.pcap');
  const argv = ['sh', '-c', 'exec "$@" >"$0"', file, ...HEADGATE, 'tap', 'spy'] as const;
  const tap = Program.start('headgate tap', argv, { netns: gateway.box.name });
  await soon(async () => expect((await readFile(file).catch(() => '')).length).toBeGreaterThanOrEqual(24));
  await gateway.box.run('ping', '-6', '-c', '1', '-W', '1', 'ff02::2%spy').catch(() => '');
  await gateway.ask(gateway.inside, 'udp', WORLD, 5000);
  const read = async () => (await gateway.box.run('tcpdump', '-n', '-r', file)).split('\n').filter(Boolean);
  await soon(async () => expect(await read()).toHaveLength(2));
  expect(await tap.stop('SIGINT')).toEqual({ status: 0, signal: null });
  const lines = await read();
  expect(lines).toHaveLength(2);
  for (const line of lines) expect(line).toMatch(/192\.0\.2\.2\.5000.* UDP, length 200/);
  const filter = await gateway.headgate('tap', 'spy', 'bogus (');
  expect(filter).toMatchObject({ status: 2, stderr: expect.stringMatching(/filter "bogus \(": .*syntax error\n/) });
});
