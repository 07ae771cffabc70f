// What ifb.txt, the text that Headgate began with, does by hand with an ifb, from a policy, with real packets, read from
// the kernel's counters. Shown on Linux 6.1 and 6.12; but for (c) and (d), whose qdiscs it lacks, on 6.18.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listFilters } from '../../../src/kernel/index.ts';
import { addVeth, Program } from '../../../src/lab/index.ts';
import { HEADGATE, WAN, WORLD } from '../../kernel/gateway.ts';
import { PATIENCE, soon } from '../../kernel/soon.ts';
import { build, PAIRS, type Place, QUEUES, queues, up } from './seed.ts';

let place: Place;
let headgate: Program | undefined;
beforeAll(async () => {
  place = await build();
});
afterAll(() => place?.gateway.close());

const lost = (pings: number): Promise<number> => place.gateway.ping(pings);

/** One `up` for all tests of a suite. */
const withHeadgate = (policy: string, ...args: readonly string[]) => {
  beforeAll(async () => {
    headgate = await up(place, policy, ...args);
  });
  afterAll(() => headgate?.stop('SIGTERM'));
};

describe('(c) a prio with sfq, tbf and sfq, a classifier on marks, and all that arrives goes to the first band', () => {
  withHeadgate(
    `link wan { device wan  download 10mbit  tree prio }
queue first { share 50% leaf sfq }  queue second { share 0.2% ceiling 0.2% leaf tbf }  queue third { share 10% leaf sfq }
rule slow when udp and origin remote and local.port 17002 -> second
default local -> first  remote -> first  new -> first
`,
    ...['--datapath', 'mark'],
  );
  const json = async (...argv: readonly [string, ...string[]]) =>
    JSON.parse(await place.gateway.box.run(...argv)) as Record<string, unknown>[];

  test('three pings from outside are in it, by the mark from the second on', async () => {
    await place.gateway.world.run('ping', '-q', '-c', '3', '-i', '0.2', WAN);
    // The kernel's greetings on the ifb go through the tree, too, before they are dropped, as in the text.
    await soon(async () => {
      const { ifbs, download } = await place.gateway.link();
      expect(download!.queues.map(({ packets }) => packets)).toEqual([3 + ifbs[0]!.rx.dropped, 0, 0]);
    });
    const qdiscs = await place.gateway.box.run('tc', 'qdisc', 'show', 'dev', 'hg-wan');
    for (const part of ['prio 7fe0: parent 7fd0:1', 'sfq 7f01: parent 7fe0:1', 'sfq 7f03:'])
      expect(qdiscs).toContain(part);
    expect(qdiscs).toMatch(/tbf 7f02: parent 7fe0:2 rate 20Kbit burst 16\d\db /);
    const filters = await listFilters('wan', 'ingress', { netns: place.gateway.box.name });
    // In our bits of the mark: the entry that the first one made has class 1, and says so to the packets after it.
    const mark = { kind: 'fw', mark: 0x01000000, mask: 0x7f000000 };
    expect(filters.filter(({ redirected }) => redirected && redirected.packets > 0)).toMatchObject([
      {
        filter: { match: mark, actions: [{ priority: '7fe0:1', mark: 0 }, {}] },
        redirected: { packets: 2, bytes: 168 },
      },
      { filter: { match: { kind: 'u32' } }, redirected: { packets: 1, bytes: 84 } },
    ]);
  });

  test('(d) status shows the figures of the filters, the qdiscs and the ifb, as tc and ip do', async () => {
    const told = async () => ({
      filters: await place.gateway.box.run('tc', '-s', 'filter', 'show', 'dev', 'wan', 'ingress'),
      qdiscs: await json('tc', '-s', '-j', 'qdisc', 'show', 'dev', 'hg-wan'),
      links: await json('ip', '-s', '-j', 'link', 'show', 'hg-wan'),
    });
    // The kernel greets on the ifb for some time: those are its strays.
    const { link, tools, text } = await soon(async () => {
      const before = await told();
      const seen = { link: await place.gateway.link(), text: (await place.gateway.headgate('status')).stdout };
      const tools = await told();
      expect({ ...tools, filters: '' }).toEqual({ ...before, filters: '' });
      expect(seen.link.ifbs[0]!.rx.dropped).toBeGreaterThan(0);
      return { ...seen, tools };
    });
    const [ifb] = link.ifbs;
    const redirects = tools.filters.matchAll(
      /Redirect to device hg-wan\) stolen\n.*\n.*\n\s*Sent (\d+) bytes (\d+) pkt/g,
    );
    const sums = [...redirects].reduce(
      ([b, p], [, bytes, packets]) => [b! + Number(bytes), p! + Number(packets)],
      [0, 0],
    );
    expect([ifb!.redirected.bytes, ifb!.redirected.packets]).toEqual(sums);
    // Without the Ethernet header, and on the ifb with it: as in the text, 252 and 294 bytes.
    expect(ifb).toMatchObject({ name: 'hg-wan', redirected: { packets: 3, bytes: 252 } });
    expect(text).toContain('redirected to hg-wan: 3 packets (252 B); ');
    const { rx, tx } = tools.links[0]!.stats64 as Record<
      'rx' | 'tx',
      { packets: number; bytes: number; dropped: number }
    >;
    const figures = ({ packets, bytes, dropped }: typeof rx) => ({ packets, bytes, dropped });
    expect({ rx: ifb!.rx, tx: ifb!.tx }).toEqual({ rx: figures(rx), tx: figures(tx) });
    expect(rx.packets).toBe(3 + rx.dropped);
    expect(tx).toMatchObject({ packets: 3, bytes: 294 });
    expect(text).toContain(`it got ${rx.packets} packets (${rx.bytes} B), and passed on 3 packets (${tx.bytes} B)`);
    expect(text).toContain(`${rx.dropped} packets came to hg-wan from elsewhere: dropped`);
    for (const [i, queue] of link.download!.queues.entries()) {
      const leaf = tools.qdiscs.find(({ handle }) => handle === `7f0${i + 1}:`)!;
      const { kind, bytes, packets, drops, overlimits } = leaf;
      expect(queue).toMatchObject({ leaf: kind, bytes, packets, drops, overlimits });
      expect(text.replace(/ +/g, ' ')).toContain(`${queue.leaf} ${bytes} ${packets} ${drops} ${overlimits} `);
    }
  });

  test('mark 2 leads to the second band, whose tbf passes on 20 kbit and drops what finds no room', async () => {
    const { box, world } = place;
    const heard = async () => (await box.heard(WAN, 17002)).length;
    await box.sink(WAN, 17002);
    // The first packet makes the entry, and the rule gives that mark 2.
    await world.tell(WAN, 17002, 1, { from: 17003, size: 1000 });
    await soon(async () => expect(await heard()).toBe(1));
    const started = performance.now();
    await world.tell(WAN, 17002, 20, { from: 17003, size: 1000 });
    const { packets, drops, overlimits } = await soon(async () => {
      const second = (await place.gateway.link()).download!.queues[1]!;
      expect(second.packets + second.drops).toBe(20);
      return second;
    });
    expect(packets).toBeGreaterThanOrEqual(4);
    // One at once, and one of 1042 bytes in 417 ms; three wait.
    expect(packets).toBeLessThanOrEqual(5 + (performance.now() - started) / 417);
    expect(drops).toBeGreaterThan(0);
    expect(overlimits).toBeGreaterThan(0);
    await soon(async () => expect(await heard()).toBe(1 + packets));
  });
});

describe('all that arrives goes through an ifb', () => {
  withHeadgate(`link wan { device wan  download 10mbit }\n${QUEUES}`);

  test('(e) nothing is blackholed: redirected to a device that passes packets on, all arrive, by way of it', async () => {
    expect(await lost(10)).toBe(0);
    expect(await queues(place)).toEqual({ known: 10, unknown: 0 });
  });

  test('(h) known state goes to one queue, no state to another, in both families', async () => {
    const { box, world } = place;
    let { unknown } = await queues(place);
    for (const pair of PAIRS) {
      await box.sink(pair.box, 17001);
      await world.serve('udp', pair.world, 8000);
      const { known } = await queues(place);
      for (const [i, expected] of [
        { known, unknown: ++unknown! },
        { known: known! + 1, unknown },
      ].entries()) {
        await world.tell(pair.box, 17001, 1, { from: 17000 });
        await soon(async () => expect(await box.heard(pair.box, 17001)).toHaveLength(i + 1));
        expect(await queues(place)).toEqual(expected);
      }
      // What answers the box is known from its first packet on.
      await box.ask({ transport: 'udp', address: pair.world, port: 8000, size: 200, times: 1 });
      expect(await queues(place)).toEqual({ known: known! + 2, unknown });
    }
  });

  test('(f) what comes to the ifb from elsewhere is dropped and counted; what is redirected is not', async () => {
    const strays = async () => (await place.gateway.link()).ifbs[0]!.rx.dropped;
    // The kernel's own IPv6 greetings are such packets; in the text they are the three dropped ones.
    await soon(async () => expect(await strays()).toBeGreaterThan(0));
    await place.gateway.box.run('sysctl', '-qw', 'net.ipv6.conf.hg-wan.disable_ipv6=1');
    const before = await strays();
    expect(await lost(5)).toBe(0);
    expect(await strays()).toBe(before);
    const stray = ['ping', '-q', '-c', '7', '-i', '0.05', '-W', '1', '-I', 'hg-wan', WORLD] as const;
    await place.gateway.box.run(...stray).catch(() => {});
    expect(await strays()).toBe(before + 7);
  });

  test('(e) where that device goes down or away, the redirect goes first, and all arrive', async () => {
    const { box } = place.gateway;
    const opened = () => headgate!.line((line) => line.includes('"kind":"link"') && line.includes('"state":"open"'));
    await box.batch('link set hg-wan down');
    await opened();
    expect(await lost(10)).toBe(0);
    expect(await box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).toBe('');
    await box.batch('link del hg-wan');
    expect(await lost(10)).toBe(0);
  });
});

describe('(g) two devices share one ifb', () => {
  test('one policy for both', async () => {
    const { box, world, folder } = place.gateway;
    await addVeth(box, 'wan2', world, 'up1');
    await box.batch('address add 198.51.100.1/24 dev wan2');
    await world.batch('address add 198.51.100.2/24 dev up1');
    const file = join(folder, 'two.gate');
    const links = 'link a { device wan  download 10mbit }\nlink b { device wan2  share tree with a }\n';
    await writeFile(file, `${links}${QUEUES}`);
    const program = Program.start('headgate up', ['env', ...HEADGATE, 'up', '--json', file], { netns: box.name });
    await program.line((line) => line.includes('"kind":"ready"'), 20_000 * PATIENCE);
    await world.run('ping', '-q', '-c', '3', '-i', '0.05', WAN);
    await world.run('ping', '-q', '-c', '5', '-i', '0.05', '198.51.100.1');
    const { links: seen } = await place.gateway.status();
    expect(
      seen.map(({ device, ifbs }) => [device, ifbs.map(({ name, redirected }) => [name, redirected.packets])]),
    ).toEqual([
      ['wan', [['hg-wan', 3]]],
      ['wan2', [['hg-wan', 5]]],
    ]);
    expect(seen.map(({ download }) => download!.packets.remote)).toEqual([3, 5]);
    expect(await queues(place)).toEqual({ known: 8, unknown: 0 });
    await program.stop('SIGTERM');
  });
});
