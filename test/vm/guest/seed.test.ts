// What ifb.txt, the text that Headgate began with, does by hand, each scenario from a policy, with real packets, read
// from the kernel's counters. Shown on Linux 6.18; (a), (b), (e), (f) on 6.1 (Debian 12), too.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { addVeth, Program } from '../../../src/lab/index.ts';
import { Gateway, HEADGATE, WAN, WORLD } from '../../kernel/gateway.ts';
import { PATIENCE, soon } from '../../kernel/soon.ts';
import { type Ends, listen, readCapture, send } from './datagrams.ts';

const [WAN6, WORLD6] = ['2001:db8::1', '2001:db8::2'];
/** Datagrams from outside to the box, of both families. */
const TO_BOX: readonly [Ends, Ends] = [
  { from: WORLD, fromPort: 17000, to: WAN, port: 17001 },
  { from: WORLD6, fromPort: 17000, to: WAN6, port: 17001 },
];
const QUEUES = `queue known { share 50% }  queue unknown { share 10% }
default local -> known  remote -> known  new -> unknown
`;

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
  await gateway.box.run('ip', 'address', 'add', `${WAN6}/64`, 'dev', 'wan', 'nodad');
  await gateway.world.run('ip', 'address', 'add', `${WORLD6}/64`, 'dev', 'up0', 'nodad');
  // What waits for a neighbour to answer is bounded: of 200 datagrams some would be lost there.
  for (const { to } of TO_BOX) await soon(() => gateway.world.run('ping', '-c', '1', '-W', '1', to));
});
afterEach(() => gateway.close());

async function up(policy: string): Promise<Program> {
  const file = join(gateway.folder, 'seed.gate');
  await writeFile(file, policy);
  return gateway.up(file, '--device', 'wan');
}

const queues = async (): Promise<Record<string, number>> =>
  Object.fromEntries((await gateway.link()).download!.queues.map(({ name, packets }) => [name!, packets]));

/** What the counters of nft say that the rule's `police` has dropped of what arrives, in packets. */
async function policed(rule: number): Promise<number> {
  const chain = await gateway.box.run('nft', 'list', 'chain', 'inet', 'headgate', `police-in-${rule}`);
  return Number(/counter packets (\d+)/.exec(chain)![1]);
}

const lost = (pings: number): Promise<number> => gateway.ping(pings);

/** Without a rate for the link nothing else drops. Rates of their own, so that the families do not share one. */
const ALIAS = `link wan { device wan }
${QUEUES}rule alias4 when remote in ${WORLD} -> police 100kbit, mirror to spy
rule alias6 when remote in ${WORLD6} -> police 100kbit, mirror to spy
`;

describe('(a) an address is policed to 100 kbit', () => {
  test('what is over it is dropped, and counted', async () => {
    await up(ALIAS);
    for (const [i, ends] of TO_BOX.entries()) {
      const heard = await listen(gateway.box, ends.to, ends.port);
      await send(gateway.world, ends, 200);
      await soon(async () => expect(heard.length + (await policed(i + 1))).toBe(200));
      // A GRO packet's 64 KB and a second's worth pass at once (docs/limits.md).
      expect(heard.length).toBeGreaterThan(60);
      expect(heard.length).toBeLessThan(150);
    }
  });
});

describe('(b) what passes the policer is mirrored to a tap', () => {
  test('a capture there has exactly those packets', async () => {
    await up(ALIAS);
    const file = join(gateway.folder, 'spy.pcap');
    const tap = Program.start(
      'headgate tap',
      ['sh', '-c', 'exec "$@" 2>&1 >"$0"', file, ...HEADGATE, 'tap', 'spy', 'udp'],
      { netns: gateway.box.name },
    );
    await tap.line((line) => line.includes('listening on spy'), 10_000 * PATIENCE);
    const passed: number[] = [];
    for (const [i, ends] of TO_BOX.entries()) {
      const heard = await listen(gateway.box, ends.to, ends.port);
      await send(gateway.world, ends, 200);
      await soon(async () => expect(heard.length + (await policed(i + 1))).toBe(200));
      expect(heard.length).toBeLessThan(200);
      passed.push(...heard);
    }
    await soon(async () => expect(readCapture(await readFile(file))).toEqual(passed));
    expect((await tap.stop('SIGTERM')).status).toBe(0);
  });

  test('on a terminal they are lines, and end with the tap; what is no tap of ours is not read', async () => {
    await gateway.box.run('ip', 'link', 'add', 'ifb9', 'type', 'ifb');
    const headgate = await up(ALIAS);
    for (const name of ['wan', 'ifb9', 'none']) {
      const { status, stderr } = await gateway.headgate('tap', name);
      expect([status, stderr]).toEqual([3, expect.stringContaining(`no tap of ours named ${name}`)]);
      expect(stderr).toContain('Taps here: spy.');
    }
    const command = [...HEADGATE, 'tap', 'spy', 'udp'].join(' ');
    const tap = Program.start('headgate tap', ['script', '-qec', command, '/dev/null'], { netns: gateway.box.name });
    await tap.line((line) => line.includes('listening on spy'), 10_000 * PATIENCE);
    const [ends] = TO_BOX;
    await send(gateway.world, ends, 1);
    await tap.line((line) => line.includes(`IP ${WORLD}.17000 > ${WAN}.17001: UDP, length 1000`), 10_000 * PATIENCE);
    await headgate.stop('SIGTERM');
    expect(await tap.ended).toEqual({ status: 0, signal: null });
  });
});

describe('(e) nothing is blackholed', () => {
  const policy = `link wan { device wan  download 10mbit }\n${QUEUES}`;

  test('redirected to a device that passes packets on, all arrive, by way of it', async () => {
    await up(policy);
    expect(await lost(10)).toBe(0);
    expect(await queues()).toEqual({ known: 10, unknown: 0 });
  });

  test('where that device goes down or away, the redirect goes first, and all arrive', async () => {
    const program = await up(policy);
    const opened = () => program.line((line) => line.includes('"kind":"link"') && line.includes('"state":"open"'));
    await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'down');
    await opened();
    expect(await lost(10)).toBe(0);
    expect(await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).toBe('');
    await gateway.box.run('ip', 'link', 'del', 'hg-wan');
    expect(await lost(10)).toBe(0);
  });
});

describe('(f) what comes to the ifb from elsewhere', () => {
  test('is dropped, and status counts it; what is redirected is not', async () => {
    await up(`link wan { device wan  download 10mbit }\n${QUEUES}`);
    const strays = async () => (await gateway.link()).strays!;
    // The kernel's own IPv6 greetings are such packets; in the text they are the three dropped ones.
    await soon(async () => expect(await strays()).toBeGreaterThan(0));
    await gateway.box.run('sysctl', '-qw', 'net.ipv6.conf.hg-wan.disable_ipv6=1');
    const before = await strays();
    expect(await lost(5)).toBe(0);
    expect(await strays()).toBe(before);
    await gateway.box.run('ping', '-q', '-c', '7', '-i', '0.05', '-W', '1', '-I', 'hg-wan', WORLD).catch(() => {});
    expect(await strays()).toBe(before + 7);
    expect((await gateway.headgate('status')).stdout).toContain(`${before + 7} packets came to hg-wan from elsewhere`);
  });
});

describe('(g) two devices share one ifb', () => {
  test('one policy for both', async () => {
    const { box, world } = gateway;
    await addVeth(box, 'wan2', world, 'up1');
    await box.run('ip', 'address', 'add', '198.51.100.1/24', 'dev', 'wan2');
    await world.run('ip', 'address', 'add', '198.51.100.2/24', 'dev', 'up1');
    const file = join(gateway.folder, 'two.gate');
    const links = 'link a { device wan  download 10mbit }\nlink b { device wan2  share tree with a }\n';
    await writeFile(file, `${links}${QUEUES}`);
    const program = Program.start('headgate up', ['env', ...HEADGATE, 'up', '--json', file], { netns: box.name });
    await program.line((line) => line.includes('"kind":"ready"'), 20_000 * PATIENCE);
    await world.run('ping', '-q', '-c', '3', '-i', '0.05', WAN);
    await world.run('ping', '-q', '-c', '5', '-i', '0.05', '198.51.100.1');
    const status = await gateway.status();
    expect(status.links.map(({ device, ifb }) => [device, ifb])).toEqual([
      ['wan', 'hg-wan'],
      ['wan2', 'hg-wan'],
    ]);
    expect(status.links.map(({ download }) => download!.packets.remote)).toEqual([3, 5]);
    expect(await queues()).toEqual({ known: 8, unknown: 0 });
  });
});

describe('(h) known state goes to one queue, no state to another', () => {
  test('by the direction of the flow, in both families', async () => {
    const { box, world } = gateway;
    await up(`link wan { device wan  download 10mbit }\n${QUEUES}`);
    let unknown = 0;
    for (const ends of TO_BOX) {
      const heard = await listen(box, ends.to, ends.port);
      await gateway.serve(world, 'udp', ends.from, 8000);
      const { known } = await queues();
      await send(world, ends, 1);
      await soon(() => expect(heard).toHaveLength(1));
      expect(await queues()).toEqual({ known, unknown: ++unknown });
      await send(world, ends, 1);
      await soon(() => expect(heard).toHaveLength(2));
      expect(await queues()).toEqual({ known: known! + 1, unknown });
    }
    // What answers the box is known from its first packet on. A slow answer is asked for again.
    for (const [i, { from }] of TO_BOX.entries()) {
      await gateway.ask(box, 'udp', from, 8000);
      const now = await queues();
      expect(now.unknown).toBe(unknown);
      expect(now.known).toBeGreaterThanOrEqual(3 + i);
    }
  });
});
