import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConntrackBatch, FlowRecord } from '../../src/kernel/shim/flow-record.ts';
import { FLAG, FLOW, KIND, type Layout, LINK, PACKET, TC_STAT } from '../../src/kernel/shim/layout.ts';
import { readLinkItem } from '../../src/kernel/shim/link-record.ts';
import { readPacket } from '../../src/kernel/shim/packet-record.ts';
import { Records } from '../../src/kernel/shim/records.ts';
import { formatAddress, type Tuple } from '../../src/model/index.ts';
import { identityOf } from './flow-records.ts';
import { encode, fromHexDump, hexDump, type Values } from './shim-encode.ts';

function recordsOf(layout: Layout, ...all: Uint8Array[]): Records {
  const records = new Records(layout.size, all.length);
  for (const [i, bytes] of all.entries()) records.bytes.set(bytes, i * layout.size);
  return records;
}

const flowOf = (bytes: Uint8Array) => new FlowRecord(recordsOf(FLOW, bytes));

const plain = ({ source, destination, ...rest }: Tuple) => ({
  source: formatAddress(source),
  destination: formatAddress(destination),
  ...rest,
});

const everything = (r: FlowRecord) => ({
  kind: r.kind,
  count: r.count,
  time: r.time,
  id: r.id,
  zone: r.zone,
  family: r.family,
  protocol: r.protocol,
  status: r.status,
  mark: r.mark,
  timeout: r.timeout,
  tcpState: r.tcpState,
  helper: r.helper,
  start: r.start,
  stop: r.stop,
  counters: [r.originalPackets, r.originalBytes, r.replyPackets, r.replyBytes, r.packets, r.bytes],
  original: plain(r.original()),
  reply: plain(r.reply()),
});

// What native-shim/src/conntrack.c made of the samples in native-shim/test/test.h, on a little-endian machine.
const TCP4 = `
000: 01 00 3f 29 00 00 00 00 00 65 f7 53 fe 9c 97 17
016: fe ca 00 00 8e 01 00 00 ef be 00 03 7f 97 06 00
032: 15 cd 85 3d fe 9c 97 17 15 97 20 79 fe 9c 97 17
048: 07 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00
064: 09 00 00 00 00 00 00 00 b8 0b 00 00 00 00 00 00
080: 07 00 02 06 c0 a8 01 02 00 00 00 00 00 00 00 00
096: 00 00 00 00 01 01 01 01 00 00 00 00 00 00 00 00
112: 00 00 00 00 40 9c bb 01 00 00 00 00 01 01 01 01
128: 00 00 00 00 00 00 00 00 00 00 00 00 cb 00 71 05
144: 00 00 00 00 00 00 00 00 00 00 00 00 bb 01 50 c3
160: 00 00 00 00 03 66 74 70 00 00 00 00 00 00 00 00
176: 00 00 00 00 00 00 00 00`;
const ICMP6 = `
000: 02 00 00 02 00 00 00 00 00 65 f7 53 fe 9c 97 17
016: 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
032: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
048: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
064: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
080: 00 00 0a 3a fd 01 00 00 00 00 00 00 00 00 00 00
096: 00 00 00 00 fd 02 00 00 00 00 00 00 00 00 00 00
112: 00 00 00 00 00 00 00 00 34 12 80 05 fd 02 00 00
128: 00 00 00 00 00 00 00 00 00 00 00 00 fd 03 00 00
144: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
160: 21 43 81 05 00 00 00 00 00 00 00 00 00 00 00 00
176: 00 00 00 00 00 00 00 00`;

const address = (...bytes: number[]) => Uint8Array.from({ length: 16 }, (_, i) => bytes[i] ?? 0);

describe('a flow record', () => {
  it('of TCP with all that the kernel can tell', () => {
    expect(everything(flowOf(fromHexDump(TCP4)))).toEqual({
      kind: 'new',
      count: 0,
      time: 1700000000500,
      id: 0xcafe,
      zone: 7,
      family: 4,
      protocol: 6,
      status: 0x18e,
      mark: 0x0300beef,
      timeout: 431999,
      tcpState: 3,
      helper: 'ftp',
      start: expect.closeTo(1700000000123.457, 3),
      stop: expect.closeTo(1700000001123.457, 3),
      counters: [7, 2 ** 40, 9, 3000, 16, 2 ** 40 + 3000],
      original: { source: '192.168.1.2', destination: '1.1.1.1', sourcePort: 40000, destinationPort: 443 },
      reply: { source: '1.1.1.1', destination: '203.0.113.5', sourcePort: 443, destinationPort: 50000 },
    });
  });

  it('of ICMPv6 with nothing optional', () => {
    expect(everything(flowOf(fromHexDump(ICMP6)))).toEqual({
      kind: 'update',
      count: 0,
      time: 1700000000500,
      id: 1,
      zone: 0,
      family: 6,
      protocol: 58,
      mark: 0,
      counters: new Array(6).fill(undefined),
      original: { source: 'fd01::', destination: 'fd02::', icmp: { type: 128, code: 5, id: 0x1234 } },
      reply: { source: 'fd02::', destination: 'fd03::', icmp: { type: 129, code: 5, id: 0x4321 } },
    });
  });

  it('is written by the layout as the shim writes it', () => {
    const bytes = encode(FLOW, {
      'head.kind': KIND.new,
      'head.flags':
        FLAG.counters |
        FLAG.start |
        FLAG.stop |
        FLAG.mark |
        FLAG.timeout |
        FLAG.tcpState |
        FLAG.ports |
        FLAG.status |
        FLAG.helper,
      'head.time_ns': 1700000000500000000n,
      id: 0xcafe,
      status: 0x18e,
      mark: 0x0300beef,
      timeout: 431999,
      start_ns: 1700000000123456789n,
      stop_ns: 1700000001123456789n,
      original_packets: 7,
      original_bytes: 2 ** 40,
      reply_packets: 9,
      reply_bytes: 3000,
      zone: 7,
      family: 2,
      protocol: 6,
      'original.src': address(192, 168, 1, 2),
      'original.dst': address(1, 1, 1, 1),
      'original.src_port': 40000,
      'original.dst_port': 443,
      'reply.src': address(1, 1, 1, 1),
      'reply.dst': address(203, 0, 113, 5),
      'reply.src_port': 443,
      'reply.dst_port': 50000,
      tcp_state: 3,
      helper: new Uint8Array(Buffer.from('ftp'.padEnd(16, '\0'))),
    });
    expect(hexDump(bytes)).toBe(TCP4.trim());
  });

  const bits = (n: number) => fc.nat({ max: 2 ** n - 1 });
  const flow = fc.record({
    'head.kind': fc.constantFrom(KIND.new, KIND.update, KIND.destroy, KIND.dumped),
    'head.flags': bits(13),
    'head.count': bits(32),
    id: bits(32),
    status: bits(32),
    mark: bits(32),
    timeout: bits(32),
    original_packets: bits(53),
    original_bytes: bits(53),
    reply_packets: bits(53),
    reply_bytes: bits(53),
    zone: bits(16),
    family: fc.constantFrom(2, 10),
    protocol: bits(8),
    'original.src': fc.uint8Array({ minLength: 16, maxLength: 16 }),
    'original.dst': fc.uint8Array({ minLength: 16, maxLength: 16 }),
    'original.src_port': bits(16),
    'original.dst_port': bits(16),
    'original.icmp_id': bits(16),
    'original.icmp_type': bits(8),
    'original.icmp_code': bits(8),
    tcp_state: bits(8),
  });

  it('reads back whatever the layout wrote', () => {
    fc.assert(
      fc.property(flow, (v) => {
        const r = flowOf(encode(FLOW, v as Values));
        const has = (flag: number, value: number) => (v['head.flags'] & flag ? value : undefined);
        expect(KIND[r.kind]).toBe(v['head.kind']);
        expect([r.count, r.id, r.zone, r.protocol, r.mark]).toEqual([
          v['head.count'],
          v.id,
          v.zone,
          v.protocol,
          v.mark,
        ]);
        expect(r.family).toBe(v.family === 2 ? 4 : 6);
        expect(r.status).toBe(has(FLAG.status, v.status));
        expect(r.timeout).toBe(has(FLAG.timeout, v.timeout));
        expect(r.tcpState).toBe(has(FLAG.tcpState, v.tcp_state));
        expect(r.originalBytes).toBe(has(FLAG.counters, v.original_bytes));
        expect(r.replyPackets).toBe(has(FLAG.counters, v.reply_packets));
        expect(r.interrupted).toBe((v['head.flags'] & FLAG.interrupted) !== 0);
        const size = v.family === 2 ? 4 : 16;
        expect(r.original()).toEqual({
          source: v['original.src'].slice(0, size),
          destination: v['original.dst'].slice(0, size),
          sourcePort: has(FLAG.ports, v['original.src_port']),
          destinationPort: has(FLAG.ports, v['original.dst_port']),
          icmp:
            v['head.flags'] & FLAG.icmp
              ? { type: v['original.icmp_type'], code: v['original.icmp_code'], id: v['original.icmp_id'] }
              : undefined,
        });
      }),
    );
  });

  it('has one key for one identity, and another for another', () => {
    const identity = (v: Values) =>
      JSON.stringify(
        Object.entries(v)
          .filter(([path]) => /^(zone|family|protocol|original\.)/.test(path))
          .map(([, value]) => (value instanceof Uint8Array ? [...value] : value)),
      );
    fc.assert(
      fc.property(flow, flow, fc.boolean(), (a, b, same) => {
        const other = same
          ? {
              ...b,
              ...Object.fromEntries(Object.entries(a).filter(([p]) => /^(zone|family|protocol|original\.)/.test(p))),
            }
          : b;
        const [x, y] = [a, other].map((v) => identityOf(flowOf(encode(FLOW, v as Values))));
        expect(x).toHaveLength(44);
        expect(x === y).toBe(identity(a as Values) === identity(other as Values));
      }),
    );
  });

  it('keeps addresses when the batch has gone', () => {
    const records = recordsOf(FLOW, fromHexDump(TCP4));
    const { source } = new FlowRecord(records).original();
    records.bytes.fill(0xff);
    expect(formatAddress(source)).toBe('192.168.1.2');
  });
});

describe('a batch', () => {
  const kinds = ['dumpStart', 'dumped', 'overrun', 'update', 'dumpEnd'] as const;
  const records = recordsOf(
    FLOW,
    ...kinds.map((kind, i) => encode(FLOW, { 'head.kind': KIND[kind], 'head.count': i + 1 })),
  );

  it('gives its records in order, overruns among them', () => {
    const batch = new ConntrackBatch(new FlowRecord(records), kinds.length);
    expect([...batch].length).toBe(5);
    expect(Array.from(batch, (r) => `${r.kind} ${r.count}`)).toEqual(kinds.map((kind, i) => `${kind} ${i + 1}`));
    expect(batch.at(2).kind).toBe('overrun');
  });

  it('ends where its length says', () => {
    expect(Array.from(new ConntrackBatch(new FlowRecord(records), 2), (r) => r.kind)).toEqual(['dumpStart', 'dumped']);
    expect([...new ConntrackBatch(new FlowRecord(records), 0)]).toEqual([]);
  });
});

const text = (value: string) => Uint8Array.from(value, (c) => c.charCodeAt(0));

describe('a packet record', () => {
  const packet = {
    'head.kind': KIND.packet,
    'head.flags': FLAG.ports | FLAG.mac | FLAG.mark,
    'head.time_ns': 1700000000500000000n,
    mark: 5,
    in_ifindex: 3,
    length: 1400,
    group: 9,
    ethertype: 0x0800,
    hook: 1,
    family: 2,
    protocol: 6,
    dscp: 46,
    hop_limit: 63,
    tcp_flags: 0x12,
    mac: Uint8Array.of(2, 0, 0, 0, 0xab, 7),
    'tuple.src': address(10, 0, 0, 1),
    'tuple.dst': address(10, 0, 0, 2),
    'tuple.src_port': 40000,
    'tuple.dst_port': 443,
    prefix: text('longpref'),
  };

  it('of TCP', () => {
    expect(readPacket(recordsOf(PACKET, encode(PACKET, packet)), 0)).toEqual({
      kind: 'packet',
      time: 1700000000500,
      group: 9,
      prefix: 'longpref',
      hook: 1,
      inIfindex: 3,
      mac: '02:00:00:00:ab:07',
      ethertype: 0x0800,
      mark: 5,
      length: 1400,
      family: 4,
      protocol: 6,
      dscp: 46,
      hopLimit: 63,
      fragment: false,
      tcpFlags: 0x12,
      tuple: {
        source: Uint8Array.of(10, 0, 0, 1),
        destination: Uint8Array.of(10, 0, 0, 2),
        sourcePort: 40000,
        destinationPort: 443,
      },
    });
  });

  it('of what is not IP has no fields of IP', () => {
    const arp = readPacket(recordsOf(PACKET, encode(PACKET, { ...packet, family: 0, ethertype: 0x0806 })), 0);
    expect(arp).toMatchObject({ ethertype: 0x0806, length: 1400 });
    expect(arp).not.toHaveProperty('tuple');
  });

  it('of an overrun', () => {
    const bytes = encode(PACKET, { 'head.kind': KIND.overrun, 'head.count': 2 });
    expect(readPacket(recordsOf(PACKET, bytes), 0)).toEqual({ kind: 'overrun', count: 2 });
  });
});

describe('a link record', () => {
  const read = (values: Values) => readLinkItem(recordsOf(LINK, encode(LINK, values)), 0);

  it('of a device', () => {
    const link = { 'head.kind': KIND.link, ifindex: 7, flags: 0x1043, mtu: 1492, type: 1, name: text('wan') };
    const item = { kind: 'link', ifindex: 7, name: 'wan', flags: 0x1043, mtu: 1492, type: 1 };
    expect(read(link)).toEqual(item);
    expect(read({ ...link, 'head.kind': KIND.linkGone })).toEqual({ ...item, kind: 'linkGone' });
  });

  it('of what tc and nftables have lost', () => {
    expect(read({ 'head.kind': KIND.tcGone, ifindex: 7 })).toEqual({ kind: 'tcGone', ifindex: 7 });
    expect(read({ 'head.kind': KIND.tableGone, family: 1, name: text('headgate') })).toEqual({
      kind: 'tableGone',
      name: 'headgate',
    });
  });

  it('of an address, with the network that it is in', () => {
    expect(
      read({ 'head.kind': KIND.address, ifindex: 7, family: 2, prefix_length: 24, address: address(192, 0, 2, 9) }),
    ).toEqual({
      kind: 'address',
      ifindex: 7,
      address: Uint8Array.of(192, 0, 2, 9),
      prefix: { address: Uint8Array.of(192, 0, 2, 0), length: 24 },
    });
  });

  it('of a route; no device is not device 0', () => {
    const route = { 'head.kind': KIND.routeGone, family: 10, prefix_length: 8, address: address(0xfd) };
    expect(read({ ...route, ifindex: 3 })).toEqual({
      kind: 'routeGone',
      prefix: { address: address(0xfd), length: 8 },
      ifindex: 3,
    });
    expect(read(route)).toHaveProperty('ifindex', undefined);
  });

  it('of a telling', () => {
    expect(read({ 'head.kind': KIND.dumpStart })).toEqual({ kind: 'restart' });
    expect(read({ 'head.kind': KIND.dumpEnd })).toEqual({ kind: 'ready' });
    expect(read({ 'head.kind': KIND.overrun, 'head.count': 3 })).toEqual({ kind: 'overrun', count: 3 });
  });
});

it('counters beyond 32 bits and the longest kind', () => {
  const records = recordsOf(TC_STAT, encode(TC_STAT, { bytes: 2 ** 52 + 1, kind: text('x'.repeat(32)) }));
  expect(records.u64(0, TC_STAT.fields.bytes)).toBe(2 ** 52 + 1);
  expect(records.text(0, TC_STAT.fields.kind)).toBe('x'.repeat(32));
});
