// Links, addresses and routes through the shim, held against ip(8); statistics against tc(8).

import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { getTcStats, type LinkItem } from '../../src/kernel/index.ts';
import { linkEvents } from '../../src/kernel/sources.ts';
import { Namespace } from '../../src/lab/index.ts';
import { formatAddress, formatPrefix } from '../../src/model/index.ts';
import { soon } from './soon.ts';

let ns: Namespace;
const open: { unsubscribe(): void }[] = [];
beforeEach(async () => {
  ns = await Namespace.add('links');
});
afterEach(async () => {
  for (const subscription of open.splice(0)) subscription.unsubscribe();
  await ns.del();
});

function follow(): LinkItem[] {
  const items: LinkItem[] = [];
  open.push(linkEvents({ netns: ns.path, ring: 64 }).subscribe((batch) => items.push(...batch)));
  return items;
}

const ready = (items: LinkItem[]) => soon(() => expect(items.some(({ kind }) => kind === 'ready')).toBe(true));

function say(item: LinkItem): string {
  switch (item.kind) {
    case 'link':
    case 'linkGone':
      return `${item.kind} ${item.name}`;
    case 'address':
    case 'addressGone':
      return `${item.kind} ${formatAddress(item.address)} in ${formatPrefix(item.prefix)} dev ${item.ifindex}`;
    case 'route':
    case 'routeGone':
      return `${item.kind} ${formatPrefix(item.prefix)} dev ${item.ifindex}`;
    default:
      return item.kind;
  }
}

const addIfb = async (name: string) => {
  await ns.run('ip', 'link', 'add', name, 'type', 'ifb');
  await ns.run('ip', 'link', 'set', name, 'up');
  return Number(JSON.parse(await ns.run('ip', '-j', 'link', 'show', name))[0].ifindex);
};

describe('links', () => {
  it('that are there are told first, as ip(8) lists them', async () => {
    const index = await addIfb('one');
    await ns.run('ip', 'link', 'set', 'one', 'mtu', '1400');
    await ns.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'one');
    await ns.run('ip', 'address', 'add', '2001:db8::1/64', 'dev', 'one', 'nodad');
    await ns.run('ip', 'route', 'add', 'default', 'via', '192.0.2.2');
    await ns.run('ip', 'route', 'add', '2001:db8:1::/48', 'via', '2001:db8::2');
    await ns.run('ip', 'route', 'add', '198.51.100.0/24', 'dev', 'one', 'table', '100');
    await ns.run('ip', 'route', 'add', 'unreachable', '198.51.101.0/24');
    const items = follow();
    await ready(items);
    expect(items[0]).toEqual({ kind: 'restart' });
    expect(items.at(-1)).toEqual({ kind: 'ready' });

    const links = JSON.parse(await ns.run('ip', '-j', 'link')) as { ifindex: number; ifname: string; mtu: number }[];
    expect(items.flatMap((i) => (i.kind === 'link' ? [[i.ifindex, i.name, i.mtu]] : []))).toEqual(
      links.map((l) => [l.ifindex, l.ifname, l.mtu]),
    );
    expect(items.find((i) => i.kind === 'link' && i.name === 'one')).toMatchObject({
      ifindex: index,
      mtu: 1400,
      type: 1,
    });

    type Addresses = { ifindex: number; addr_info: { local: string; prefixlen: number }[] }[];
    const addresses = (JSON.parse(await ns.run('ip', '-j', 'address')) as Addresses).flatMap((l) =>
      l.addr_info.map((a) => `${a.local}/${a.prefixlen} ${l.ifindex}`),
    );
    expect(addresses.length).toBeGreaterThan(4);
    expect(
      items
        .flatMap((i) => (i.kind === 'address' ? [`${formatAddress(i.address)}/${i.prefix.length} ${i.ifindex}`] : []))
        .sort(),
    ).toEqual(addresses.sort());

    const routes = await Promise.all(['-4', '-6'].map((f) => ns.run('ip', f, '-j', 'route', 'show', 'table', 'main')));
    const listed = routes
      .flatMap((json, i) =>
        (JSON.parse(json) as { dst: string; type?: string }[])
          .filter(({ type }) => type === undefined || type === 'unicast')
          .map(({ dst }) =>
            dst === 'default' ? `${i ? '::' : '0.0.0.0'}/0` : dst.includes('/') ? dst : `${dst}/${i ? 128 : 32}`,
          ),
      )
      .sort();
    expect(listed).toContain('0.0.0.0/0');
    expect(items.flatMap((i) => (i.kind === 'route' ? [formatPrefix(i.prefix)] : [])).sort()).toEqual(listed);
    expect(items.find((i) => i.kind === 'route' && i.prefix.length === 0)).toMatchObject({ ifindex: index });
  });

  it('are followed as they change', async () => {
    const items = follow();
    await ready(items);
    const from = items.length;
    await ns.run('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
    const index = await addIfb('live');
    await ns.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'live');
    await ns.run('ip', 'route', 'add', '198.51.100.0/24', 'via', '192.0.2.2');
    await ns.run('ip', 'route', 'del', '198.51.100.0/24');
    await ns.run('ip', 'address', 'del', '192.0.2.1/24', 'dev', 'live');
    await ns.run('ip', 'link', 'set', 'live', 'down');
    await ns.run('ip', 'link', 'del', 'live');
    await soon(() => expect(items.some(({ kind }) => kind === 'linkGone')).toBe(true));
    const flags = items.slice(from).flatMap((i) => (i.kind === 'link' ? [i.flags & 1] : []));
    expect([flags[0], flags.includes(1), flags.at(-1)]).toEqual([0, true, 0]);
    const changes = items
      .slice(from)
      .filter(({ kind }) => kind !== 'link')
      .map(say);
    // Whether the kernel tells an address before its route or behind it is its own affair.
    expect(changes.sort()).toEqual(
      [
        `address 192.0.2.1 in 192.0.2.0/24 dev ${index}`,
        `route 192.0.2.0/24 dev ${index}`,
        `route 198.51.100.0/24 dev ${index}`,
        `routeGone 198.51.100.0/24 dev ${index}`,
        `addressGone 192.0.2.1 in 192.0.2.0/24 dev ${index}`,
        `routeGone 192.0.2.0/24 dev ${index}`,
        'linkGone live',
      ].sort(),
    );
  });

  it('are told anew when changes were lost', async () => {
    // A blocked event loop is what a busy one becomes: the ring of 64 fills, and then the socket.
    const items = follow();
    await ready(items);
    const from = items.length;
    const batch = Array.from({ length: 4000 }, (_, i) => `route add 10.${i >> 8}.${i & 255}.0/24 dev lo`).join('\n');
    execFileSync('ip', ['-n', ns.name, '-batch', '-'], { input: batch });
    await soon(() => {
      const after = items.slice(from).map(({ kind }) => kind);
      expect(after.filter((kind) => /restart|ready|overrun/.test(kind)).slice(-3)).toEqual([
        'overrun',
        'restart',
        'ready',
      ]);
    });
    const last = items.slice(items.findLastIndex(({ kind }) => kind === 'restart'));
    expect(last.filter((i) => i.kind === 'route' && formatPrefix(i.prefix).startsWith('10.'))).toHaveLength(4000);
  });
});

describe('statistics', () => {
  it('of qdiscs and classes are those of tc(8)', async () => {
    const index = await addIfb('shaped');
    await ns.run('tc', 'qdisc', 'add', 'dev', 'shaped', 'root', 'handle', '7fe0:', 'htb', 'default', '2');
    for (const minor of ['1', '2']) {
      await ns.run(
        'tc',
        'class',
        'add',
        'dev',
        'shaped',
        'parent',
        '7fe0:',
        'classid',
        `7fe0:${minor}`,
        'htb',
        'rate',
        '8kbit',
      );
      await ns.run(
        'tc',
        'qdisc',
        'add',
        'dev',
        'shaped',
        'parent',
        `7fe0:${minor}`,
        'handle',
        `7f0${minor}:`,
        'bfifo',
        'limit',
        '3000',
      );
    }
    await ns.run('tc', 'qdisc', 'add', 'dev', 'shaped', 'clsact');
    await ns.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'shaped');
    await ns.run('ip', 'neighbour', 'add', '192.0.2.2', 'lladdr', '02:00:00:00:00:02', 'dev', 'shaped');
    await ns.run('ping', '-q', '-c', '30', '-i', '0.002', '-s', '400', '-W', '0.1', '192.0.2.2').catch(() => '');

    type Qdisc = {
      kind: string;
      handle: string;
      parent?: string;
      bytes: number;
      packets: number;
      drops: number;
      overlimits: number;
      backlog: number;
      qlen: number;
    };
    const listQdiscs = async () =>
      JSON.parse(await ns.run('tc', '-s', '-j', 'qdisc', 'show', 'dev', 'shaped')) as Qdisc[];
    const handle = (text: string) => {
      const [major, minor] = text.split(':');
      return ((Number.parseInt(major!, 16) << 16) | Number.parseInt(minor || '0', 16)) >>> 0;
    };
    // The queue drains while we look: what tc(8) says before and after must be alike for a comparison.
    const { before, stats } = await soon(async () => {
      const before = await listQdiscs();
      const stats = getTcStats(ns.path, index);
      expect(await listQdiscs()).toEqual(before);
      return { before, stats };
    });
    const ours = stats.filter(({ isClass }) => !isClass);
    expect(
      ours.map(({ handle: h, kind, bytes, packets, drops, overlimits, backlog, qlen }) => ({
        h,
        kind,
        bytes,
        packets,
        drops,
        overlimits,
        backlog,
        qlen,
      })),
    ).toEqual(
      before.map(({ handle: h, kind, bytes, packets, drops, overlimits, backlog, qlen }) => ({
        h: handle(h),
        kind,
        bytes,
        packets,
        drops,
        overlimits,
        backlog,
        qlen,
      })),
    );
    expect(ours.find(({ kind }) => kind === 'clsact')!.parent).toBe(0xffff_fff1);
    expect(ours.find(({ kind }) => kind === 'htb')!.parent).toBe(0xffff_ffff);
    const leaf = ours.find(({ handle: h }) => h === 0x7f02_0000)!;
    expect(leaf.parent).toBe(0x7fe0_0002);
    expect(leaf.drops).toBeGreaterThan(0);

    const classes = stats.filter(({ isClass }) => isClass);
    const text = await ns.run('tc', '-s', 'class', 'show', 'dev', 'shaped');
    const listed = [...text.matchAll(/class htb (\S+).*?\n Sent (\d+) bytes (\d+) pkt/g)].map(([, h]) => handle(h!));
    expect(classes.map(({ handle: h }) => h).sort()).toEqual(listed.sort());
    expect(classes).toHaveLength(2);
    const used = classes.find(({ handle: h }) => h === 0x7fe0_0002)!;
    expect(used).toMatchObject({ kind: 'htb' });
    expect(used.packets).toBeGreaterThan(0);
    expect(classes.find(({ handle: h }) => h === 0x7fe0_0001)).toMatchObject({ bytes: 0, packets: 0 });
  });

  it('of more classes than the first guess has room for are all there', async () => {
    const index = await addIfb('many');
    await ns.run('tc', 'qdisc', 'add', 'dev', 'many', 'root', 'handle', '1:', 'htb');
    const batch = Array.from(
      { length: 400 },
      (_, i) => `class add dev many parent 1: classid 1:${(i + 1).toString(16)} htb rate 1mbit`,
    );
    await ns.feed(`${batch.join('\n')}\n`, 'tc', '-batch', '-');
    expect(
      new Set(
        getTcStats(ns.path, index)
          .filter(({ isClass }) => isClass)
          .map(({ handle }) => handle),
      ).size,
    ).toBe(400);
  });

  it('of a device that is not there are none', () => {
    expect(getTcStats(ns.path, 4242)).toEqual([]);
  });
});
