// Rules by name: DNS answers of a real server (dnsmasq), asked from behind the box and by itself, over both families, UDP
// and TCP. Shown on the machine's own kernel (6.18).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Namespace, Program, packageFile } from '../../src/lab/index.ts';
import { Gateway } from './gateway.ts';
import { Host } from './host.ts';
import { soon } from './soon.ts';

const POLICY = `link wan { device wan  download 50mbit  upload 50mbit }
queue mine { share 50% }  queue video { share 10% }  queue theirs { share 10% }
rule video when domain "*.example.org" -> video
default local -> mine  remote -> theirs  new -> theirs
`;
const WORLD6 = '2001:db8:1::2';
const INSIDE6 = 'fd00:1::2';
const ADDRESSES = ['192.0.2.11', '192.0.2.12', '192.0.2.14', '192.0.2.15', '192.0.2.16', '2001:db8:1::13'] as const;
const RECORDS = [
  '--address=/before.example.org/192.0.2.11',
  ...['--cname=www.example.org,cdn.example.net', '--host-record=cdn.example.net,192.0.2.12'],
  '--host-record=six.example.org,2001:db8:1::13',
  // Too much for a datagram, and for one segment: 130 bytes more than 1460.
  ...Array.from({ length: 60 }, (_, i) => `--host-record=big.example.org,${i === 0 ? '192.0.2.14' : `198.18.0.${i}`}`),
  '--host-record=other.example.net,192.0.2.16',
];

let gateway: Gateway;
let world: Host;
let inside: Host;
beforeAll(async () => {
  gateway = await Gateway.build();
  await gateway.box.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
  await gateway.box.batch(
    'address add 2001:db8:1::1/64 dev wan nodad',
    `route add default via ${WORLD6}`,
    'address add fd00:1::1/64 dev lan nodad',
  );
  await gateway.inside.batch(`address add ${INSIDE6}/64 dev eth0 nodad`, 'route add default via fd00:1::1');
  await gateway.world.batch(
    `address add ${WORLD6}/64 dev up0 nodad`,
    'route add fd00:1::/64 via 2001:db8:1::1',
    ...ADDRESSES.map((address) => `address add ${address}/${address.includes(':') ? '64' : '24'} dev up0 nodad`),
  );
  await resolver(gateway.world, '192.0.2.2', WORLD6, ...RECORDS);
  await resolver(gateway.inside, '127.0.0.1', INSIDE6, '--host-record=lie.example.org,192.0.2.15');
  [world, inside] = await Promise.all([Host.start(gateway.world), Host.start(gateway.inside)]);
  for (const address of ADDRESSES) await world.serve('udp', address, 5000);
  await writeFile(join(gateway.folder, 'test.gate'), POLICY);
  await gateway.up(join(gateway.folder, 'test.gate'));
});
afterAll(() => gateway?.close());

/** A resolver with these records, ready to answer. */
async function resolver(where: Namespace, ...[four, six, ...records]: [string, string, ...string[]]): Promise<void> {
  const own = ['--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--bind-interfaces', '--user=root', '--pid-file='];
  Program.start(
    'dnsmasq',
    ['dnsmasq', '--keep-in-foreground', ...own, `--listen-address=${four}`, `--listen-address=${six}`, ...records],
    { netns: where.name },
  );
  await soon(async () => expect(await where.run('ss', '-Hlun', 'sport = 53')).toContain(`[${six}]:53`));
}

const lookUp = (from: Namespace, transport: 'udp' | 'tcp', server: string, name: string, type = 'A'): Promise<string> =>
  from.run(process.execPath, packageFile('test/kernel/ask-dns.mjs'), transport, server, name, type);

/** Sends a datagram there and back. */
const use = (address: string, keep?: true) =>
  inside.ask({ transport: 'udp', address, port: 5000, size: 100, times: 1, keep });

/** The queue of the inside host's flow to an address, and what is known of its names. */
async function flowTo(address: string) {
  const from = address.includes(':') ? `[${INSIDE6}]` : '10.0.0.2';
  const to = address.includes(':') ? `[${address}]` : address;
  const { stdout } = await gateway.headgate('explain', '--live', `udp ${from} -> ${to}:5000`, '--json');
  const [flow] = JSON.parse(stdout);
  return { queue: flow.queue, text: flow.text as string };
}
const inVideo = (address: string, name: string) =>
  soon(async () => {
    const flow = await flowTo(address);
    expect(flow.queue).toBe('video');
    expect(flow.text).toContain(name);
  });

it('takes flows that were there before the answer', async () => {
  await use('192.0.2.11', true);
  expect((await flowTo('192.0.2.11')).queue).toBe('mine');
  expect(await lookUp(gateway.inside, 'udp', '192.0.2.2', 'before.example.org')).toContain('192.0.2.11');
  await inVideo('192.0.2.11', 'before.example.org');
});

it('takes flows that come after it, by any name of a chain', async () => {
  expect(await lookUp(gateway.inside, 'udp', '192.0.2.2', 'www.example.org')).toContain('cdn.example.net');
  await use('192.0.2.12');
  await inVideo('192.0.2.12', 'www.example.org, cdn.example.net');
});

it('hears answers over IPv6, with IPv6 addresses', async () => {
  expect(await lookUp(gateway.inside, 'udp', WORLD6, 'six.example.org', 'AAAA')).toContain('2001:db8:1::13');
  await use('2001:db8:1::13');
  await inVideo('2001:db8:1::13', 'six.example.org');
});

it('hears answers over TCP, to the box itself', async () => {
  expect(await lookUp(gateway.box, 'tcp', '192.0.2.2', 'big.example.org')).toContain('192.0.2.14');
  await use('192.0.2.14');
  await inVideo('192.0.2.14', 'big.example.org');
});

it('believes no answer that this side gives to a stranger, and takes no flow of another name', async () => {
  expect(await lookUp(gateway.world, 'udp', INSIDE6, 'lie.example.org')).toContain('192.0.2.15');
  expect(await lookUp(gateway.inside, 'udp', '192.0.2.2', 'other.example.net')).toContain('192.0.2.16');
  await use('192.0.2.15');
  await use('192.0.2.16');
  await soon(async () => expect((await flowTo('192.0.2.16')).text).toContain('other.example.net'));
  expect((await flowTo('192.0.2.16')).queue).toBe('mine');
  // Answers are heard in their order, so it would be known by now.
  expect(await flowTo('192.0.2.15')).toMatchObject({ queue: 'mine', text: expect.stringContaining('not known') });
});

it('says in its status what it has heard, and what it cannot hear', async () => {
  const { facts } = (await gateway.status()).service!;
  expect(facts).toEqual([
    {
      word: 'domain',
      counts: { answers: expect.any(Number), names: 6, addresses: 64, evicted: 0, overruns: 0 },
      blind: expect.stringContaining('encrypted DNS'),
    },
  ]);
  expect((await gateway.headgate('status')).stdout).toContain('encrypted DNS (DoT, DoH, DoQ) is not seen');
});

it('counts what comes too fast to be read, to the packet', async () => {
  const counts = async () => {
    const { service, unreadAnswers = 0 } = await gateway.status();
    return { read: service!.facts[0]!.counts.answers!, unread: unreadAnswers };
  };
  const before = await counts();
  expect(before.unread).toBe(0);
  await gateway.box.feed(
    'table inet test { chain answers { type filter hook forward priority 30; udp sport 53 counter; }; }',
    'nft',
    '-f',
    '-',
  );
  await gateway.inside.run(process.execPath, packageFile('test/kernel/flood-dns.mjs'), '192.0.2.2', '2000');
  const listed = await gateway.box.run('nft', 'list', 'table', 'inet', 'test');
  const came = Number(/packets (\d+)/.exec(listed)?.[1]);
  expect(came).toBeGreaterThan(1000);
  await soon(async () => {
    const after = await counts();
    expect(after.read - before.read + after.unread).toBe(came);
    expect(after.unread).toBeGreaterThan(0);
  });
  const { unread } = await counts();
  expect((await gateway.headgate('status')).stdout).toContain(`${unread} packets with DNS answers came too fast`);
  expect((await gateway.headgate('metrics')).stdout).toContain(`headgate_dns_unread_packets_total ${unread}\n`);
});

it('listens no more when no rule asks for names', async () => {
  expect(await gateway.box.run('nft', 'list', 'table', 'inet', 'headgate')).toContain('log group');
  await writeFile(join(gateway.folder, 'test.gate'), POLICY.replace(/rule.*\n/, ''));
  expect((await gateway.headgate('reload')).status).toBe(0);
  expect(await gateway.box.run('nft', 'list', 'table', 'inet', 'headgate')).not.toContain('log group');
  const { service, unreadAnswers } = await gateway.status();
  expect([service!.facts, unreadAnswers]).toEqual([[], undefined]);
});
