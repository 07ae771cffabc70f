// Devices, addresses and routes that come and go under one running `headgate up`: a PPPoE-like device without a link layer
// (tun), an Ethernet one (veth), storms of addresses and routes. What did not change is not touched: same objects, same
// counters. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo, tun).

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AccessLink, Program } from '../../src/lab/index.ts';
import { Gateway, WORLD } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

/** In the world, reached by whatever the default route says. */
const FAR = '198.51.100.1';
const POLICY = `link wan { device wan  download 50mbit  upload 20mbit }
link dsl { device ppp0  download 9mbit  upload 2mbit }
queue mine { share 70% }  queue theirs { share 10% }
default local -> mine  remote -> theirs  new -> theirs
`;

let gateway: Gateway;
let program: Program;
let dsl: AccessLink;
beforeAll(async () => {
  gateway = await Gateway.build();
  await gateway.world.batch(`address add ${FAR}/32 dev lo`);
  await layDsl();
  await writeFile(join(gateway.folder, 'test.gate'), POLICY);
  program = await gateway.up(join(gateway.folder, 'test.gate'));
});
afterAll(async () => {
  await gateway.close();
  await dsl.del();
});

async function layDsl(): Promise<void> {
  const { box, world } = gateway;
  dsl = await AccessLink.add(box, 'ppp0', world, 'isp0', { rateMbit: 100, rttMs: 0, fifoMs: 100 });
  await box.batch('address add 192.0.2.129 peer 192.0.2.130 dev ppp0');
  await world.batch('address add 192.0.2.130 peer 192.0.2.129 dev isp0');
}

/** What the box does while `change` is made, as `tc monitor` tells it: nobody has touched a qdisc, class or filter. */
async function untouched(change: () => Promise<unknown>): Promise<void> {
  const { box } = gateway;
  const told: string[] = [];
  const monitor = Program.start('tc monitor', ['stdbuf', '-oL', 'tc', 'monitor'], { netns: box.name });
  monitor.onLine((line) => told.push(line));
  // Of a device that is none of ours: so it is known to listen, and at the end to have told all.
  const mark = async (handle: string) => {
    await soon(async () => {
      await box.run('tc', 'qdisc', 'replace', 'dev', 'lo', 'root', 'handle', handle, 'pfifo');
      expect(told.some((line) => line.includes(` ${handle} `))).toBe(true);
    });
    await box.run('tc', 'qdisc', 'del', 'dev', 'lo', 'root');
  };
  await mark('77:');
  const before = await objects();
  await change();
  await mark('88:');
  expect(told.filter((line) => !line.includes('dev lo'))).toEqual([]);
  const after = await objects();
  expect(after.text).toBe(before.text);
  expect(after.bytes.length).toBeGreaterThan(10);
  for (const [i, bytes] of after.bytes.entries()) expect(bytes).toBeGreaterThanOrEqual(before.bytes[i]!);
  await monitor.stop('SIGTERM');
}

/** Everything of ours with the numbers that the kernel gave it, and what it has counted. */
async function objects(): Promise<{ text: string; bytes: number[] }> {
  const { box } = gateway;
  const parts = await Promise.all(
    ['wan', 'ppp0', 'hg-wan', 'hg-ppp0'].flatMap((device) => [
      box.run('ip', '-o', 'link', 'show', device),
      box.run('tc', '-s', 'qdisc', 'show', 'dev', device),
      box.run('tc', '-s', 'class', 'show', 'dev', device),
      box.run('tc', '-s', 'filter', 'show', 'dev', device, 'ingress').catch(() => ''),
      box.run('tc', '-s', 'filter', 'show', 'dev', device, 'parent', '7fe1:').catch(() => ''),
    ]),
  );
  const text = parts.join('');
  return {
    text: text
      .replace(/^( |\t)(Sent|rate|backlog|lended|tokens).*$/gm, '')
      .replace(
        /mtu \d+|direct_packets_stat \d+|used \d+ sec|installed \d+ sec|used \d+sec|installed \d+sec|firstused \d+ sec/g,
        '',
      )
      .replace(/ +$/gm, ''),
    bytes: [...text.matchAll(/Sent (\d+) bytes/g)].map(([, bytes]) => Number(bytes)),
  };
}

/** Seconds of processor that the service, and what it has started, have used. */
async function processorTime(): Promise<number> {
  const fields = (await readFile(`/proc/${program.pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100;
}

const packetsOf = async (name: string): Promise<number | undefined> =>
  (await gateway.status()).links.find((link) => link.name === name)?.download?.packets.local;
const ping = (address: string, ...more: string[]) =>
  gateway.box.run('ping', '-q', '-i', '0.01', '-c', '5', '-W', '5', ...more, address);
const said = (text: string) =>
  program.line((line) => line.includes('"kind":"link"') && line.includes(text), 10_000 * PATIENCE);

describe('what is none of the trees’ business leaves them alone', () => {
  it('a storm of 200 addresses and 200 routes', async () => {
    const { box } = gateway;
    const each = (make: (n: number) => string) => Array.from({ length: 200 }, (_, n) => make(n));
    await untouched(async () => {
      const before = await processorTime();
      await box.batch(...each((n) => `address add 10.9.0.${n + 1}/32 dev wan`));
      await box.batch(...each((n) => `route add 10.8.${n}.0/24 dev wan`));
      await ping(WORLD);
      await box.batch(...each((n) => `address del 10.9.0.${n + 1}/32 dev wan`));
      await box.batch(...each((n) => `route del 10.8.${n}.0/24 dev wan`));
      await ping(WORLD);
      expect(await packetsOf('wan')).toBeGreaterThanOrEqual(10);
      expect((await processorTime()) - before).toBeLessThan(1.5 * PATIENCE);
    });
  });

  it('another MTU, and packets of that size', async () => {
    await gateway.world.run('ip', 'link', 'set', 'up0', 'mtu', '9000');
    await untouched(async () => {
      await gateway.box.run('ip', 'link', 'set', 'wan', 'mtu', '9000');
      await ping(WORLD, '-s', '8000', '-M', 'do');
      await gateway.box.run('ip', 'link', 'set', 'wan', 'mtu', '1400');
      await ping(WORLD, '-s', '1300', '-M', 'do');
      await gateway.box.run('ip', 'link', 'set', 'wan', 'mtu', '1500');
    });
  });

  it('a carrier that goes and comes', async () => {
    await untouched(async () => {
      await gateway.world.run('ip', 'link', 'set', 'up0', 'down');
      await gateway.world.run('ip', 'link', 'set', 'up0', 'up');
      await soon(() => ping(WORLD));
    });
  });

  it('the default route that moves from one link to another: its packets go by the other’s queues, known as before', async () => {
    await untouched(async () => {
      await gateway.box.batch(`route replace default via ${WORLD}`);
      const [wan, ppp] = [await packetsOf('wan'), await packetsOf('dsl')];
      await ping(FAR);
      expect(await packetsOf('wan')).toBe(wan! + 5);
      await gateway.box.batch('route replace default via 192.0.2.130');
      await ping(FAR);
      expect(await packetsOf('dsl')).toBe(ppp! + 5);
      expect(await packetsOf('wan')).toBe(wan! + 5);
    });
  });
});

describe('a device without link layer', () => {
  it('vanishes and comes back as another by the same name, again and again: it is steered anew, and the other link goes on', async () => {
    for (let round = 0; round < 3; round++) {
      const wan = await packetsOf('wan');
      await dsl.del();
      await soon(async () => expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-ppp0'));
      await layDsl();
      await soon(async () => {
        await ping('192.0.2.130');
        expect(await packetsOf('dsl')).toBeGreaterThanOrEqual(5);
      });
      await ping(WORLD);
      expect(await packetsOf('wan')).toBe(wan! + 5);
    }
  });

  it('renamed is left clean, a stranger of its name is taken, and the first one again when it has its name back', async () => {
    const { box } = gateway;
    await box.run('ip', 'link', 'set', 'ppp0', 'name', 'ppp7');
    await said('ppp0 is called ppp7 now');
    expect(await box.run('tc', 'qdisc', 'show', 'dev', 'ppp7')).not.toMatch(/htb|clsact/);
    await ping('192.0.2.130');
    await box.batch('link add ppp0 type veth peer name other', 'link set ppp0 up');
    await soon(async () => expect(await box.run('tc', 'qdisc', 'show', 'dev', 'ppp0')).toContain('clsact'));
    await box.batch('link del ppp0', 'link set ppp7 name ppp0');
    await soon(async () => {
      await ping('192.0.2.130');
      expect(await packetsOf('dsl')).toBeGreaterThanOrEqual(5);
    });
  });
});
