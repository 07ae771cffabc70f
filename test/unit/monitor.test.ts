import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  EVERYTHING,
  formatItem,
  type ItemFilter,
  type MonitorEvent,
  type MonitorItem,
  parseFilter,
  parseSince,
  type ReadOptions,
  Ring,
} from '../../src/monitor/index.ts';
import { KINDS } from '../../src/monitor/items.ts';
import { eventSchemas, itemJsonSchema, itemSchema } from '../../src/monitor/schema.ts';
import { MonitorStream } from '../../src/monitor/stream.ts';

const flow = {
  kind: 'flow.new',
  id: 7,
  protocol: 'tcp',
  local: '10.0.0.2:40000',
  remote: '[2001:db8::1]:443',
  origin: 'local',
  queue: 'local',
} as const;

const clocks = { now: () => new Date('2026-01-02T03:04:05.678Z'), monotonic: () => 1.5 };
const stamp = { time: '2026-01-02T03:04:05.678Z', monotonic: 1.5 };

function streamOf(room?: number) {
  const stream = new MonitorStream('5e55', clocks, new Ring(room));
  const read = (options: ReadOptions = {}) => {
    const reader = stream.open(
      options,
      () => {},
      () => {},
    );
    const take = (): MonitorItem[] => {
      const items: MonitorItem[] = [];
      for (let kept = reader.next(); kept; kept = reader.next()) {
        expect(JSON.parse(kept.line)).toEqual(itemSchema.parse(kept.item));
        items.push(kept.item);
      }
      return items;
    };
    return { take, close: reader.close };
  };
  return { stream, read };
}
const warning = (message: string) => ({ kind: 'warning', message }) as const;
const seqs = (items: readonly MonitorItem[]) => items.map(({ seq, kind }) => `${seq} ${kind}`);

describe('event stream', () => {
  it('numbers what it tells from 1, and makes nothing of flows while nobody reads of them', () => {
    const { stream, read } = streamOf();
    stream.emit({ kind: 'overrun', count: 2 });
    stream.emit(flow);
    expect(stream.idle).toBe(true);
    const { take } = read();
    expect(stream.idle).toBe(false);
    stream.emit(flow);
    expect(take()).toEqual([
      { seq: 1, ...stamp, kind: 'stream', schema: 1, session: '5e55', oldest: 1, newest: 1 },
      { seq: 2, ...stamp, kind: 'flows', state: 'told' },
      { seq: 3, ...stamp, ...flow },
    ]);
    expect(take()).toEqual([]);
  });

  it('tells one who asks what is known already, before what comes, and nobody else', () => {
    const { stream, read } = streamOf();
    const other = read();
    let queue = 'local';
    const known = (function* () {
      for (const id of [1, 2, 3]) yield { ...flow, kind: 'flow.known', id, queue } as const;
    })();
    const reader = read({ filter: { ...EVERYTHING, queues: ['seed'] }, known });
    // Each as it is when its turn comes.
    queue = 'seed';
    stream.emit({ ...flow, queue });
    expect(seqs(reader.take())).toEqual([
      '1 stream',
      ...['1 flow.known', '1 flow.known', '1 flow.known'],
      '2 flow.new',
    ]);
    expect(seqs(other.take())).toEqual(['0 stream', '1 flows', '2 flow.new']);
    expect(seqs(read({ filter: { ...EVERYTHING, queues: ['bulk'] }, known: [flow] }).take())).toEqual(['2 stream']);
  });

  it('tells flows on for a while after the last reader has gone, and says when it stops', async () => {
    vi.useFakeTimers();
    try {
      const { stream, read } = streamOf();
      const told: boolean[] = [];
      stream.flowsRead.subscribe((one) => told.push(one));
      // Who asks for other things alone costs flows nothing.
      read({ filter: parseFilter([['kind', 'link']]) as ItemFilter }).close();
      expect(told).toEqual([false]);
      read().close();
      stream.emit(flow);
      await vi.advanceTimersByTimeAsync(2000);
      const back = read({ since: { seq: 1 } });
      await vi.advanceTimersByTimeAsync(10_000);
      expect(seqs(back.take())).toEqual(['1 stream', '2 flow.new']);
      back.close();
      await vi.advanceTimersByTimeAsync(10_000);
      expect(told).toEqual([false, true, false]);
      expect(seqs(read({ since: { seq: 2 } }).take())).toEqual(['2 stream', '3 flows', '4 flows']);
    } finally {
      vi.useRealTimers();
    }
  });

  it('goes on from where a reader was, and says what is kept no more', () => {
    const { stream, read } = streamOf(4);
    for (let i = 1; i <= 10; i++) stream.emit(warning(`${i}`));
    const filter = parseFilter([['kind', 'warning']]) as ItemFilter;
    const since = (text: string) => seqs(read({ filter, since: parseSince(text)! }).take());
    expect(since('8')).toEqual(['8 stream', '9 warning', '10 warning']);
    expect(since('10')).toEqual(['10 stream']);
    expect(since('5e55-6')).toEqual(['6 stream', '7 warning', '8 warning', '9 warning', '10 warning']);
    expect(since('5')).toEqual(['6 stream', '6 gap', '7 warning', '8 warning', '9 warning', '10 warning']);
    expect(read({ filter, since: { seq: 2 } }).take()[1]).toMatchObject({
      kind: 'gap',
      reason: 'late',
      from: 3,
      to: 6,
    });
    // Of another session, or of one that had come further.
    for (const text of ['abcd-8', '5e55-11', '11'])
      expect(read({ filter, since: parseSince(text)! }).take()[1]).toMatchObject({
        kind: 'gap',
        reason: 'restart',
        to: 6,
      });
    for (const text of ['', '-1', 'x', '1-', 'XYZ-1', '1.5']) expect(parseSince(text)).toBeUndefined();
  });

  it('tells a reader that stood still what it missed, in its place', () => {
    const { stream, read } = streamOf(4);
    const { take } = read();
    take();
    for (let i = 2; i <= 10; i++) stream.emit(warning(`${i}`));
    const [gap, ...rest] = take();
    expect(gap).toEqual({ seq: 6, ...stamp, kind: 'gap', reason: 'slow', from: 2, to: 6 });
    expect(seqs(rest)).toEqual(['7 warning', '8 warning', '9 warning', '10 warning']);
  });

  it('every reader has each item once, in order, or a gap in its place, however they take turns', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.array(fc.integer({ min: -1, max: 2 }), { maxLength: 60 }),
        (room, turns) => {
          const { stream, read } = streamOf(room);
          const filter = parseFilter([['kind', 'warning']]) as ItemFilter;
          const readers = [0, 1, 2].map(() => ({ ...read({ filter, since: { seq: 0 } }), at: 0 }));
          for (const turn of [...turns, 0, 1, 2]) {
            if (turn < 0) stream.emit(warning('x'));
            else
              for (const item of readers[turn]!.take()) {
                if (item.kind === 'stream') continue;
                expect(item.kind === 'gap' ? item.from : item.seq).toBe(readers[turn]!.at + 1);
                readers[turn]!.at = item.seq;
              }
          }
          expect(readers.map(({ at }) => at)).toEqual(Array(3).fill(turns.filter((turn) => turn < 0).length));
        },
      ),
    );
  });
});

describe('a filter', () => {
  const told = (...pairs: [string, string][]) => {
    const { stream, read } = streamOf();
    const { take } = read({ filter: parseFilter(pairs) as ItemFilter });
    read();
    stream.emit({ ...flow, because: [{ term: 'tcp' }] });
    stream.emit({ ...flow, local: '10.0.0.3', remote: '2001:db8::7', protocol: 'gre', origin: 'remote' });
    stream.emit({
      ...flow,
      kind: 'flow.update',
      queue: 'seed',
      rule: 'seeders',
      before: { queue: 'local', rule: 'own' },
    });
    stream.emit(warning('w'));
    return seqs(take()).slice(1);
  };
  const [FIRST, SECOND, THIRD, LAST] = ['2 flow.new', '3 flow.new', '4 flow.update', '5 warning'] as const;

  it('is asked of flows, by any of the values of each key', () => {
    expect(told()).toEqual(['1 flows', FIRST, SECOND, THIRD, LAST]);
    expect(told(['origin', 'remote'])).toEqual(['1 flows', SECOND, LAST]);
    expect(told(['origin', 'remote'], ['origin', 'local'])).toEqual(['1 flows', FIRST, SECOND, THIRD, LAST]);
    expect(told(['queue', 'seed'])).toEqual(['1 flows', THIRD, LAST]);
    // Also where it leaves that.
    expect(told(['rule', 'own'])).toEqual(['1 flows', THIRD, LAST]);
    expect(told(['queue', 'local'], ['origin', 'remote'])).toEqual(['1 flows', SECOND, LAST]);
    expect(told(['address', '10.0.0.3'])).toEqual(['1 flows', SECOND, LAST]);
    expect(told(['address', '2001:db8::/32'])).toEqual(['1 flows', FIRST, SECOND, THIRD, LAST]);
    expect(told(['address', '2001:db8::7'])).toEqual(['1 flows', SECOND, LAST]);
    expect(told(['kind', 'flow.update'], ['kind', 'warn*'])).toEqual(['1 flows', THIRD, LAST]);
    expect(told(['kind', 'warning'])).toEqual([LAST]);
  });

  it('says what is wrong with it', () => {
    expect(parseFilter([['colour', 'red']])).toMatch(/no filter by colour/);
    expect(parseFilter([['kind', 'flow.ends']])).toMatch(/^kind=flow.ends: a kind is .*flow.end,/);
    expect(parseFilter([['kind', 'flaw*']])).toMatch(/^kind=flaw\*: a kind is /);
    expect(parseFilter([['origin', 'us']])).toMatch(/an origin is local, remote, new/);
    expect(parseFilter([['address', 'example.org']])).toMatch(/write an address/);
  });
});

describe('the schema', () => {
  it('has the kinds that a filter knows', () => {
    const kinds = Object.values(eventSchemas).flatMap(({ shape: { kind } }) =>
      kind.type === 'enum' ? kind.options : [kind.value],
    );
    expect([...KINDS]).toEqual(kinds);
  });

  it('is published as it is', async () => {
    await expect(`${JSON.stringify(itemJsonSchema(), null, 2)}\n`).toMatchFileSnapshot('../../docs/events.schema.json');
  });
});

describe('items for people', () => {
  const events: MonitorEvent[] = [
    {
      kind: 'ready',
      datapath: 'bpf',
      marks: '0x7f000000',
      links: [
        { name: 'wan', device: 'eth0', download: 90e6, upload: 18e6 },
        { name: 'dsl', device: 'ppp0', download: 16e6 },
      ],
      queues: [{ name: 'local', number: 1, share: 0.7, ceiling: 1 }],
    },
    flow,
    { ...flow, kind: 'flow.update', queue: 'seed', rule: 'bulk', before: { queue: 'local', rule: 'own' } },
    { ...flow, kind: 'flow.end', origin: 'remote', queue: 'seed', rule: 'seeders', bytes: 150, packets: 3 },
    { kind: 'overrun', count: 2 },
    { kind: 'resync', reason: 'overrun', flows: 10, added: 3, removed: 1, complete: false },
    { kind: 'link', name: 'wan', device: 'eth0', state: 'open', reason: 'hg-eth0 was set down' },
    { kind: 'table', name: 'headgate', state: 'restored', reason: 'it is put back' },
    { kind: 'gap', reason: 'slow', from: 3, to: 9 },
    { kind: 'gap', reason: 'restart', from: 1, to: 0 },
    { kind: 'warning', message: 'conntrack could not be followed' },
  ];

  it('read as one line each', () => {
    expect(events.map((event) => formatItem({ seq: 1, ...stamp, ...event }))).toEqual([
      '03:04:05.678 ready          datapath bpf, marks 0x7f000000; steering wan on eth0, download 90mbit, upload 18mbit; steering dsl on ppp0, download 16mbit',
      '03:04:05.678 flow.new       tcp    10.0.0.2:40000 -> [2001:db8::1]:443  origin local  queue local  default',
      '03:04:05.678 flow.update    tcp    10.0.0.2:40000 -> [2001:db8::1]:443  origin local  queue seed  rule bulk (was in local by own)',
      '03:04:05.678 flow.end       tcp    10.0.0.2:40000 <- [2001:db8::1]:443  origin remote  queue seed  rule seeders  150 bytes, 3 packets',
      '03:04:05.678 overrun        the kernel dropped events for us (2 or more); reading the table anew',
      '03:04:05.678 resync         10 flows known: 3 found, 1 gone after an overrun (dump interrupted)',
      '03:04:05.678 link.open      wan on eth0: hg-eth0 was set down',
      '03:04:05.678 table.restored headgate: it is put back',
      '03:04:05.678 gap            this reader was too slow: items 3 to 9 are missing',
      '03:04:05.678 gap            the service was started anew, or never gave that number',
      '03:04:05.678 warning        conntrack could not be followed',
    ]);
  });
});
