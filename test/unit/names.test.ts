import { Buffer } from 'node:buffer';
import { type Answer, type DecodedPacket, encode, streamEncode } from 'dns-packet';
import fc from 'fast-check';
import { Subject, VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { MOST_ANSWERS, readAnswer } from '../../src/facts/dns-answer.ts';
import { DnsStreams, MOST_STREAMS } from '../../src/facts/dns-stream.ts';
import {
  LEAST_LIFE,
  MOST_ADDRESSES,
  MOST_ADDRESSES_OF_NAME,
  MOST_LIFE,
  MOST_NAMES,
  NameTable,
} from '../../src/facts/name-table.ts';
import { nameSource } from '../../src/facts/names.ts';
import type { PayloadItem, PayloadSample } from '../../src/kernel/index.ts';
import { formatAddress, parseAddress } from '../../src/model/index.ts';
import { flowOf } from './swarm-scenes.ts';

const a = (name: string, data: string, ttl = 60): Answer => ({
  type: data.includes(':') ? 'AAAA' : 'A',
  name,
  data,
  ttl,
});
const cname = (name: string, data: string, ttl = 60): Answer => ({ type: 'CNAME', name, data, ttl });

/** An answer as a server sends it; `flags` beside those that say that it is one. */
const message = (asked: string, answers: readonly Answer[], more: Partial<DecodedPacket> = {}): Buffer =>
  encode({ type: 'response', id: 7, questions: [{ type: 'A', name: asked }], answers: [...answers], ...more });

const read = (bytes: Uint8Array) =>
  readAnswer(bytes).map(({ address, names, ttl }) => `${formatAddress(address)} ${names.join(' ')} ${ttl}`);

describe('a DNS answer', () => {
  it('names addresses by the name that was asked for, and by all of its chain, as long as the shortest step', () => {
    const answers = [
      cname('cdn.example.net', 'edge.example.com', 20),
      cname('www.Example.org', 'CDN.example.net', 300),
      a('edge.example.com', '192.0.2.1', 90),
      a('EDGE.example.com', '192.0.2.2', 10),
      a('edge.example.com', '2001:db8::1', 30),
    ];
    const names = 'www.example.org cdn.example.net edge.example.com';
    expect(read(message('WWW.example.org', answers))).toEqual([
      `192.0.2.1 ${names} 20`,
      `192.0.2.2 ${names} 10`,
      `2001:db8::1 ${names} 20`,
    ]);
  });

  it('says nothing of names that nobody asked for', () => {
    const answers = [a('bank.example', '192.0.2.6'), cname('bank.example', 'www.example.org')];
    expect(read(message('www.example.org', answers))).toEqual([]);
    expect(
      read(message('www.example.org', [cname('www.example.org', 'x.example'), a('www.example.org', '192.0.2.1')])),
    ).toEqual([]);
  });

  it('is none unless it is good, and answers one question', () => {
    const good = [a('www.example.org', '192.0.2.1')];
    expect(read(message('www.example.org', good))).toHaveLength(1);
    expect(read(message('www.example.org', good, { flags: 3 }))).toEqual([]);
    expect(read(message('www.example.org', good, { type: 'query' }))).toEqual([]);
    expect(read(message('www.example.org', good, { questions: [] }))).toEqual([]);
    const many = Array.from({ length: MOST_ANSWERS + 1 }, (_, i) => a('www.example.org', `192.0.2.${i}`));
    expect(read(message('www.example.org', many))).toEqual([]);
    expect(read(message('www.example.org', many.slice(1)))).toHaveLength(MOST_ANSWERS);
  });

  it('is read whatever stands behind the answers', () => {
    const bytes = message('www.example.org', [a('www.example.org', '192.0.2.1')]);
    bytes.writeUInt16BE(900, 8);
    bytes.writeUInt16BE(900, 10);
    expect(read(Buffer.concat([bytes, Buffer.from([1, 2, 3])]))).toHaveLength(1);
  });

  it('ends where names lead in a circle, by pointers or by CNAMEs', () => {
    const bytes = message('x.example', [cname('x.example', 'y.example'), cname('y.example', 'x.example')]);
    expect(read(bytes)).toEqual([]);
    const loop = message('x.example', [a('x.example', '192.0.2.1')]);
    loop.writeUInt16BE(0xc00c, 12);
    expect(read(loop)).toEqual([]);
  });

  it('gives no name that no host has', () => {
    const odd = 'a b.example';
    expect(read(message(odd, [a(odd, '192.0.2.1')]))).toEqual([]);
    expect(read(message(odd, [cname(odd, 'fine.example'), a('fine.example', '192.0.2.1')]))).toEqual([
      '192.0.2.1 fine.example 60',
    ]);
  });

  it('never throws, and costs little, whatever the bytes', () => {
    const good = message('www.example.org', [
      cname('www.example.org', 'cdn.example.net'),
      a('cdn.example.net', '192.0.2.1'),
      { type: 'TXT', name: 'cdn.example.net', data: 'x' },
    ]);
    const mutated = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 12 })
      .map((changes) => changes.reduce((bytes, [at, value]) => bytes.fill(value, at, at + 1), Buffer.from(good)));
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 600 })), (bytes) => {
        for (const { address, names } of readAnswer(bytes)) {
          expect([4, 16]).toContain(address.length);
          for (const name of names) expect(name).toMatch(/^[a-z0-9_.-]{1,253}$/);
        }
      }),
      { numRuns: 5000 },
    );
  });
});

const segment = (data: Uint8Array, sequence: number, sourcePort = 1): PayloadSample => {
  const tuple = {
    source: parseAddress('192.0.2.2')!,
    destination: parseAddress('10.0.0.2')!,
    sourcePort,
    destinationPort: 9,
  };
  return { kind: 'payload', group: 1, family: 4, protocol: 6, tuple, sequence, size: data.length, data };
};

describe('DNS over TCP', () => {
  const stream = Buffer.concat(
    ['a.example', 'b.example', 'c.example'].map((name) =>
      streamEncode({ type: 'response', questions: [{ type: 'A', name }], answers: [a(name, '192.0.2.1')] }),
    ),
  );
  const namesIn = (streams: DnsStreams, cuts: readonly number[]) => {
    const start = 0xffff_fff0;
    return [0, ...cuts, stream.length].slice(0, -1).flatMap((from, i) => {
      const part = stream.subarray(from, [...cuts, stream.length][i]);
      return streams.take(segment(part, (start + from) >>> 0)).map((bytes) => readAnswer(bytes)[0]?.names[0]);
    });
  };

  it('is cut into its messages, however it is cut into segments', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: stream.length - 1 }), { maxLength: 12 }), (cuts) => {
        const streams = new DnsStreams();
        expect(
          namesIn(
            streams,
            cuts.toSorted((x, y) => x - y),
          ),
        ).toEqual(['a.example', 'b.example', 'c.example']);
        expect(streams.size).toBe(0);
      }),
    );
  });

  it('begins anew behind a gap, and waits for no end that cannot come', () => {
    const streams = new DnsStreams();
    streams.take(segment(stream.subarray(0, 20), 0));
    expect(streams.take(segment(stream, 500)).map((bytes) => readAnswer(bytes)[0]?.names[0])).toHaveLength(3);
    streams.take({ ...segment(stream.subarray(0, 20), 900), size: 9000 });
    expect(streams.size).toBe(0);
  });

  it('waits on a bounded number of connections', () => {
    const streams = new DnsStreams();
    for (let port = 0; port < 2 * MOST_STREAMS; port++) streams.take(segment(stream.subarray(0, 20), 0, port));
    expect(streams.size).toBe(MOST_STREAMS);
  });
});

describe('the table of names', () => {
  const at = (start = 0) => {
    const clock = { now: start };
    return { clock, table: new NameTable(() => clock.now) };
  };

  it('keeps a name as long as the answer says, but neither too short nor too long', () => {
    const { clock, table } = at();
    table.add('x', ['short'], 0);
    table.add('x', ['middle'], LEAST_LIFE * 2);
    table.add('x', ['long'], MOST_LIFE * 2);
    expect(table.namesOf('x')).toEqual(['short', 'middle', 'long']);
    clock.now = LEAST_LIFE;
    expect(table.namesOf('x')).toEqual(['middle', 'long']);
    clock.now = MOST_LIFE;
    expect(table.namesOf('x')).toEqual([]);
    table.sweep();
    expect([table.addresses, table.names]).toEqual([0, 0]);
  });

  it('does not let a later answer take life from a name', () => {
    const { clock, table } = at();
    table.add('x', ['n'], LEAST_LIFE * 3);
    table.add('x', ['n'], 0);
    clock.now = LEAST_LIFE * 2;
    expect(table.namesOf('x')).toEqual(['n']);
  });

  it('is bounded by address, by name and in all, the oldest going first', () => {
    const { table } = at();
    for (let i = 0; i <= MOST_NAMES; i++) table.add('x', [`n${i}`], 0);
    expect(table.namesOf('x')).toHaveLength(MOST_NAMES);
    expect(table.namesOf('x')).not.toContain('n0');
    for (let i = 0; i <= MOST_ADDRESSES_OF_NAME; i++) table.add(`y${i}`, ['flux'], 0);
    expect([table.namesOf('y0'), table.namesOf('y1')]).toEqual([[], ['flux']]);
    for (let i = 0; i <= MOST_ADDRESSES; i++) table.add(`z${i}`, [`z${i}`], 0);
    expect(table.addresses).toBeLessThanOrEqual(MOST_ADDRESSES);
    expect(table.addresses).toBeGreaterThan(0.9 * MOST_ADDRESSES);
    expect(table.names).toBe(table.addresses);
    expect(table.namesOf(`z${MOST_ADDRESSES}`)).toHaveLength(1);
    expect(table.namesOf('x')).toEqual([]);
    expect(table.evicted).toBe(MOST_NAMES + MOST_ADDRESSES_OF_NAME + MOST_ADDRESSES + 3 - table.names);
  });
});

describe('the source of names', () => {
  it('tells flows that are there of new names, new flows of known ones, and takes no name from a flow', () => {
    const scheduler = new VirtualTimeScheduler();
    const samples = new Subject<readonly PayloadItem[]>();
    const source = nameSource(samples, scheduler);
    const told: string[] = [];
    const running = source.answers.subscribe(({ flow, facts }) =>
      told.push(`${flow.local.port} ${facts.domains!.join(' ')}`),
    );
    const answer = (name: string, address: string) =>
      samples.next([{ ...segment(message(name, [a(name, address)]), 0), protocol: 17 }]);
    const flow = (port: number) => flowOf('local', 'tcp', port, '192.0.2.1', 443);
    const [early, gone, late, last] = [flow(1), flow(2), flow(3), flow(4)];
    source.ask(early);
    source.ask(gone);
    source.end(gone);
    answer('one.example', '192.0.2.1');
    answer('one.example', '192.0.2.1');
    answer('other.example', '192.0.2.9');
    source.ask(late);
    samples.next([{ kind: 'overrun', count: 2 }]);
    expect(source.counts()).toEqual({ answers: 3, names: 2, addresses: 2, evicted: 0, overruns: 2 });
    scheduler.maxFrames = LEAST_LIFE + 60_000;
    scheduler.flush();
    expect(source.counts()).toMatchObject({ names: 0, addresses: 0 });
    answer('two.example', '192.0.2.1');
    source.ask(last);
    expect(told).toEqual([
      '1 one.example',
      '3 one.example',
      '1 two.example one.example',
      '3 two.example one.example',
      '4 two.example',
    ]);
    running.unsubscribe();
    expect([samples.observed, source.counts()]).toEqual([false, {}]);
    source.ask(flow(5));
  });
});
