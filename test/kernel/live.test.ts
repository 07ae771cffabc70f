// Every live predicate of the language, on real flows of a real kernel; the time that rules wait for is made to pass.
// Shown on the machine's own kernel (6.18).

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BOX, LiveLab, policyOf, WORLD, WORLD6 } from './live-lab.ts';
import { soon } from './soon.ts';

let lab: LiveLab;
beforeAll(async () => {
  lab = await LiveLab.build();
  for (const address of [WORLD, WORLD6]) await lab.worldHost.serve('udp', address, 7000);
  for (const port of [7001, 7002, 7003]) await lab.worldHost.serve('udp', WORLD, port);
  await lab.worldHost.serve('tcp', WORLD, 7000);
  await lab.boxHost.serve('udp', BOX, 7000);
});
afterAll(() => lab.close());

/** The box asks the world, and is answered as much. */
const ask = (from: number, size: number, times: number, address = WORLD, port = 7000) =>
  lab.boxHost.ask({ transport: 'udp', address, port, size, times, from, keep: true });
/** The box sends, and hears nothing. */
const tell = (from: number, size: number, times: number) => lab.boxHost.tell(WORLD, 9, times, { from, size });

describe('what a flow has carried', () => {
  it('bytes and packets, each way, whoever opened it, of both families', async () => {
    await lab.run(
      policyOf(`rule most when bytes.in > 20kB and bytes.out > 20kB -> slow
        rule out when packets.out >= 30 and bytes < 4kB -> slow`),
    );
    await ask(6001, 1000, 10);
    await ask(6002, 1000, 30);
    await ask(6003, 1000, 30, WORLD6);
    await tell(6004, 1000, 30);
    await tell(6005, 20, 30);
    await lab.worldHost.ask({ transport: 'udp', address: BOX, port: 7000, size: 1000, times: 30, from: 6006 });
    for (const port of [6002, 6003, 6005, 6006]) await lab.until(port, 'slow');
    for (const port of [6001, 6004]) expect(await lab.queueOf(port)).toBe('fast');
  });

  it('reads counters of watched flows alone: the kernel picks them by a bit of the mark', async () => {
    await lab.run(policyOf('rule big when udp and remote.port 7001 and bytes > 1GB -> slow'));
    await ask(6021, 100, 1);
    await ask(6022, 100, 1, WORLD, 7001);
    await lab.known(6021, 6022);
    expect(lab.classifier.live.counted).toBe(1);
    const marked = await lab.box.run('conntrack', '-L', '--mark', `${0x40000000}/${0x40000000}`);
    expect(marked).toMatch(/sport=6022 /);
    expect(marked).not.toMatch(/sport=6021 /);
    // Somebody clears the whole mark: the bit comes back, and the flow's counters with it.
    await lab.box.run(
      'conntrack',
      '-U',
      '-p',
      'udp',
      '-s',
      BOX,
      '-d',
      WORLD,
      '--sport',
      '6022',
      '--dport',
      '7001',
      '-m',
      '0',
    );
    await soon(async () =>
      expect(await lab.box.run('conntrack', '-L', '--mark', `${0x40000000}/${0x40000000}`)).toMatch(/sport=6022 /),
    );
  });

  it('size and ratio', async () => {
    await lab.run(
      policyOf(`rule thick when size > 900B -> slow
        rule giver when ratio > 3 and packets > 5 -> slow`),
    );
    await ask(6031, 1000, 5);
    await ask(6032, 100, 10);
    await tell(6033, 100, 10);
    await lab.until(6031, 'slow');
    await lab.until(6033, 'slow');
    expect(await lab.queueOf(6032)).toBe('fast');
  });

  it('rate over a window, and taken back when it falls', async () => {
    await lab.run(policyOf('rule quick when rate.in over 2s > 100kbit -> slow'));
    await ask(6041, 1000, 60);
    await lab.until(6041, 'slow');
    // Nothing comes any more: two seconds later it is no rate.
    lab.pass(3000);
    await lab.until(6041, 'fast');
  });
});

describe('time', () => {
  it('age, idle and the clock', async () => {
    const later = new Date(Date.now() + 10 * 60_000);
    const clock = (date: Date) => date.toTimeString().slice(0, 5);
    const end = new Date(later.getTime() + 5 * 60_000);
    await lab.run(
      policyOf(`rule old when remote.port 7000 and age > 30s -> slow
        rule quiet when remote.port 7001 and idle > 20s -> slow
        rule night when remote.port 7002 and time in ${clock(later)}-${clock(end)} -> slow`),
    );
    for (const [from, port] of [
      [6051, 7000],
      [6052, 7001],
      [6053, 7002],
    ] as const)
      await ask(from, 100, 1, WORLD, port);
    await lab.known(6051, 6052, 6053);
    lab.pass(15_000);
    for (const port of [6051, 6052, 6053]) expect(await lab.queueOf(port)).toBe('fast');
    lab.pass(16_000);
    await lab.until(6051, 'slow');
    await lab.until(6052, 'slow');
    expect(await lab.queueOf(6053)).toBe('fast');
    lab.pass(10 * 60_000);
    await lab.until(6053, 'slow');
    lab.pass(5 * 60_000);
    await lab.until(6053, 'fast');
  });

  it('for: once it has held so long; until: kept until the other has held so long', async () => {
    await lab.run(
      policyOf(`rule steady when remote.port 7000 and packets > 5 for 10s -> slow
        rule bulk when remote.port 7001 and bytes.in > 20kB and rate.in over 1s > 100kbit -> slow until rate.in over 1s < 50kbit for 8s`),
    );
    await ask(6061, 100, 10);
    await ask(6062, 1000, 40, WORLD, 7001);
    await lab.until(6062, 'slow');
    await lab.known(6061);
    expect(await lab.queueOf(6061)).toBe('fast');
    // Nothing comes any more, and it stays for eight seconds yet.
    lab.pass(3000);
    await lab.idle(6062);
    expect(await lab.queueOf(6062)).toBe('slow');
    lab.pass(8000);
    await lab.until(6061, 'slow');
    await lab.until(6062, 'fast');
  });
});

describe('state and company', () => {
  it('the TCP state, as it changes', async () => {
    await lab.run(policyOf('rule open when tcp.state in { syn_sent, syn_recv, established } -> slow'));
    await lab.boxHost.ask({ transport: 'tcp', address: WORLD, port: 7000, size: 100, times: 1, from: 6071 });
    const turns = () => lab.events.flatMap((event) => ('queue' in event ? [[event.kind, event.queue]] : []));
    await soon(() =>
      expect(turns()).toEqual([
        ['flow.new', 'slow'],
        ['flow.update', 'fast'],
      ]),
    );
    expect(await lab.queueOf(6071)).toBe('fast');
  });

  it('flows and peers by key: all flows of the group, and back again', async () => {
    await lab.run(
      policyOf(`rule many when remote.port 7000 and count(flows by remote.port) > 3 -> slow
        rule swarm when origin remote and count(peers by local.port) > 2 -> slow`),
    );
    for (const from of [6081, 6082, 6083]) await ask(from, 100, 1);
    expect(await lab.queueOf(6081)).toBe('fast');
    await ask(6084, 100, 1);
    for (const port of [6081, 6082, 6083, 6084]) await lab.until(port, 'slow');
    await lab.box.run('conntrack', '-D', '-p', 'udp', '--orig-port-src', '6084');
    for (const port of [6081, 6082, 6083]) await lab.until(port, 'fast');

    await lab.world.batch('address add 192.0.2.3/24 dev up0', 'address add 192.0.2.4/24 dev up0');
    const from = (address: string, port: number) =>
      lab.world.run(
        process.execPath,
        '-e',
        "const s = require('dgram').createSocket('udp4'); s.bind(Number(process.argv[2]), process.argv[1], () => s.send('x', 7000, '192.0.2.1', () => s.close()))",
        address,
        String(port),
      );
    await from('192.0.2.2', 6085);
    await from('192.0.2.2', 6086);
    await from('192.0.2.3', 6087);
    expect(await lab.queueOf(6085)).toBe('fast');
    await from('192.0.2.4', 6088);
    for (const port of [6085, 6086, 6087, 6088]) await lab.until(port, 'slow');
  });

  it('sets that rules fill: for flows before and after, until the time is over', async () => {
    await lab.run(
      policyOf(`set bad = { }
        rule known when remote.port 7001 and remote in bad -> slow
        rule scan when remote.port 7002 and packets > 3 -> add remote to bad for 1h`),
    );
    await ask(6091, 100, 1, WORLD, 7001);
    await ask(6092, 100, 3, WORLD, 7002);
    await lab.until(6091, 'slow');
    await ask(6093, 100, 1, WORLD, 7001);
    await lab.until(6093, 'slow');
    expect(lab.classifier.live.sets.size).toBe(1);
    await lab.box.run('conntrack', '-D', '-p', 'udp', '--orig-port-src', '6092');
    lab.pass(3_601_000);
    await lab.until(6091, 'fast');
    await lab.until(6093, 'fast');
    expect(lab.classifier.live.sets.size).toBe(0);
  });

  it('zone and translation', async () => {
    await lab.box.feed(
      `table inet zones {
  chain o { type filter hook output priority -300; udp dport 7001 ct zone set 5; }
  chain p { type filter hook prerouting priority -300; udp sport 7001 ct zone set 5; }
}
table ip nat {
  chain p { type nat hook postrouting priority 100; udp dport 7002 snat to ${BOX}:40000-40100; }
}
`,
      'nft',
      '-f',
      '-',
    );
    try {
      await lab.run(
        policyOf(`rule zoned when zone 5 and packets >= 1 -> slow
          rule turned when nat source and packets >= 1 -> slow
          rule other when nat destination and packets >= 1 -> slow`),
      );
      await ask(6101, 100, 1, WORLD, 7000);
      await ask(6102, 100, 1, WORLD, 7001);
      await ask(6103, 100, 1, WORLD, 7002);
      await lab.until(6102, 'slow');
      await lab.until(6103, 'slow');
      expect(await lab.queueOf(6101)).toBe('fast');
    } finally {
      await lab.box.run('nft', 'delete', 'table', 'inet', 'zones');
      await lab.box.run('nft', 'delete', 'table', 'ip', 'nat');
    }
  });
});

describe('a policy with live rules', () => {
  it('watches those flows alone that a live rule can come to take', async () => {
    await lab.run(
      policyOf(`rule first when remote.port 7000 -> fast
        rule big when udp and bytes > 1GB -> slow
        rule odd when tcp and age > 1h -> slow`),
    );
    await ask(6111, 100, 1);
    await ask(6112, 100, 1, WORLD, 7001);
    await lab.known(6111, 6112);
    const { live, table } = lab.classifier;
    expect([table.size, live.size, live.counted]).toEqual([2, 1, 1]);
  });
});
