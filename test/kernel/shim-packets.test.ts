// Packets that a rule sends up, as the shim samples them.

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { PacketItem, PacketSample } from '../../src/kernel/index.ts';
import { packetSamples } from '../../src/kernel/sources.ts';
import { Namespace } from '../../src/lab/index.ts';
import { HeadgateError } from '../../src/model/index.ts';
import { sendStorm, sendUdp, talkTcp } from './shim-lab.ts';
import { soon } from './soon.ts';

const RULES = `
table inet sample {
  chain output {
    type filter hook output priority 0
    tcp dport 7001 tcp flags syn meta mark set 5 log prefix "open" group 7
    udp dport 7002 ip dscp set ef
    udp dport 7002 log prefix "longer than eight" group 7
    meta l4proto 58 icmpv6 type echo-request log group 7
    udp dport 10000-60000 log group 8
  }
  chain input {
    type filter hook input priority 0
    icmp type echo-request log prefix "in" group 7
  }
}
`;

let ns: Namespace;
const open: { unsubscribe(): void }[] = [];
beforeEach(async () => {
  ns = await Namespace.add('sample');
  await ns.feed(RULES, 'nft', '-f', '-');
});
afterEach(async () => {
  for (const subscription of open.splice(0)) subscription.unsubscribe();
  await ns.del();
});

function follow(group: number, receiveBuffer?: number): PacketItem[] {
  const items: PacketItem[] = [];
  open.push(packetSamples({ netns: ns.path, group, receiveBuffer }).subscribe((batch) => items.push(...batch)));
  return items;
}

it('have the fields of their headers', async () => {
  const items = follow(7);
  const before = Date.now();
  await talkTcp(ns, '127.0.0.9', 7001);
  await sendUdp(ns, '127.0.0.9', 7002);
  await ns.run('ping', '-c1', '-t', '33', '127.0.0.1');
  await ns.run('ping', '-c1', '::1');
  await soon(() => expect(items).toHaveLength(4));
  const [syn, udp, ping, ping6] = items as [PacketSample, PacketSample, PacketSample, PacketSample];
  const loopback = Uint8Array.of(127, 0, 0, 1);
  expect(syn).toMatchObject({
    kind: 'packet',
    group: 7,
    prefix: 'open',
    hook: 3,
    mark: 5,
    outIfindex: 1,
    family: 4,
    protocol: 6,
    hopLimit: 64,
    fragment: false,
    tcpFlags: 2,
    tuple: { source: loopback, destination: Uint8Array.of(127, 0, 0, 9), destinationPort: 7001 },
  });
  expect(syn.inIfindex).toBeUndefined();
  expect(syn.length).toBeGreaterThanOrEqual(40);
  expect(udp).toMatchObject({
    prefix: 'longer t',
    protocol: 17,
    dscp: 46,
    length: 33,
    tuple: { destinationPort: 7002 },
  });
  expect(udp.tcpFlags).toBeUndefined();
  expect(ping).toMatchObject({ prefix: 'in', hook: 1, inIfindex: 1, protocol: 1, hopLimit: 33, length: 84 });
  expect(ping.tuple!.icmp).toMatchObject({ type: 8, code: 0 });
  expect(ping.tuple!.sourcePort).toBeUndefined();
  expect(ping6).toMatchObject({ prefix: '', family: 6, ethertype: 0x86dd, protocol: 58, length: 104 });
  expect(ping6.tuple!.icmp).toMatchObject({ type: 128, code: 0 });
  for (const { time } of [syn, udp, ping, ping6]) expect(Math.abs(time - before)).toBeLessThan(60_000);
});

it('come soon, also when there is one alone', async () => {
  const items = follow(7);
  await sendUdp(ns, '127.0.0.9', 7002);
  await vi.waitFor(() => expect(items).toHaveLength(1), { interval: 2, timeout: 10_000 });
  // The kernel's default would let it wait for a second.
  expect(Date.now() - (items[0] as PacketSample).time).toBeLessThan(500);
});

it('that found no room become an item', async () => {
  const items = follow(8, 4096);
  const overran = () => items.some(({ kind }) => kind === 'overrun');
  let sent = 0;
  // A sender that a busy machine slows down may find a reader who keeps up: then once more.
  for (let storm = 0; storm < 20 && !overran(); storm++) {
    await sendStorm(ns, 20_000);
    sent += 20_000;
  }
  await vi.waitFor(() => expect(overran()).toBe(true), { timeout: 10_000 });
  expect(items.filter(({ kind }) => kind === 'packet').length).toBeLessThan(sent);
});

it('have one listener a group', () => {
  follow(7);
  let problem: unknown;
  packetSamples({ netns: ns.path, group: 7 }).subscribe({
    error: (error) => {
      problem = error;
    },
  });
  expect(problem).toBeInstanceOf(HeadgateError);
  expect(problem).toMatchObject({ code: 'HG_KERNEL', message: expect.stringContaining('EBUSY') });
});
