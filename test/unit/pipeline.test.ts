import fc from 'fast-check';
import { EMPTY, NEVER, Observable, of, startWith } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it, vi } from 'vitest';
import { type FlowRecord, MARK_GONE, MARK_WRITTEN } from '../../src/kernel/index.ts';
import { parsePolicy } from '../../src/language/index.ts';
import { DEFAULT_MARK_FIELD, parseAddress, parsePrefix, type Tuple } from '../../src/model/index.ts';
import type { MonitorEvent } from '../../src/monitor/index.ts';
import {
  FlowClassifier,
  type FlowNews,
  FlowTable,
  MOST_SETTLED,
  MOST_SWEPT,
  RESYNC_DELAY_MS,
  runPipeline,
  Sides,
  SWEEP_MS,
  TICK_MS,
} from '../../src/pipeline/index.ts';
import { type News, record, requestsOf } from './flow-records.ts';

const policy = parsePolicy(
  `link wan { }
queue local { share 50% }  queue new { share 10% }  queue remote { share 10% }  queue seed { share 5% }
rule seeders when origin remote and local.port in 51413 -> seed
rule own when origin local and remote.port in 443 -> local
default local -> local  remote -> remote  new -> new`,
  'test.gate',
).policy!;
const SEED = 4;

const sides = new Sides((ifindex) => ifindex === 2);
sides.apply({ kind: 'address', address: parseAddress('203.0.113.7')!, ifindex: 2 });
sides.apply({ kind: 'route', prefix: parsePrefix('0.0.0.0/0')!, ifindex: 2 });
sides.apply({ kind: 'route', prefix: parsePrefix('192.168.1.0/24')!, ifindex: 3 });

const tuple = (source: string, sourcePort: number, destination: string, destinationPort: number): Tuple => ({
  source: parseAddress(source)!,
  destination: parseAddress(destination)!,
  sourcePort,
  destinationPort,
});

/** Of a flow that `key` tells from others: the source port is as many above. */
function news(kind: FlowNews['kind'], key = 'a', more: News = {}): FlowRecord {
  const step = key.codePointAt(0)! - 97;
  // From a stranger to the torrent port of a host behind DNAT.
  const {
    original = tuple('1.1.1.1', 5000, '203.0.113.7', 51413),
    reply = tuple('192.168.1.20', 51413, '1.1.1.1', 5000),
  } = more;
  return record(kind, {
    ...more,
    original: { ...original, sourcePort: original.sourcePort! + step },
    reply: { ...reply, destinationPort: reply.destinationPort! + step },
  });
}
const local = {
  original: tuple('192.168.1.20', 40000, '1.1.1.1', 443),
  reply: tuple('1.1.1.1', 443, '203.0.113.7', 40000),
};

function bench(results: (count: number) => number[] = (count) => Array(count).fill(MARK_WRITTEN), marksOrigin = false) {
  const events: MonitorEvent[] = [];
  const writes: ReturnType<typeof requestsOf>[] = [];
  const decided: (string | undefined)[][] = [];
  const classifier = new FlowClassifier({
    policy,
    field: DEFAULT_MARK_FIELD,
    marksOrigin,
    sides,
    writeMarks: (batch) => {
      writes.push(requestsOf(batch));
      return results(batch.count);
    },
    emit: (event) => events.push(event),
    listening: () => true,
    decided: (rule, origin, seen) => decided.push([rule?.name, origin, seen]),
  });
  return { classifier, events, writes, decided, kinds: () => events.map((e) => e.kind) };
}

describe('classifier of flows, where the datapath knows them by their mark alone', () => {
  const [LOCAL, REMOTE] = [1, 3];
  const other = {
    original: tuple('1.1.1.1', 5000, '203.0.113.7', 80),
    reply: tuple('192.168.1.20', 80, '1.1.1.1', 5000),
  };
  const writesOf = (kind: 'new' | 'dumped', more: News) => {
    const { classifier, writes } = bench(undefined, true);
    classifier.see(news(kind, 'a', more), kind === 'new' ? 'event' : 'start');
    classifier.flush();
    return writes.flat().map(({ mark, mask }) => [mark >>> 24, mask]);
  };

  it('marks one that goes by its origin, when it finds it', () => {
    expect(writesOf('dumped', other)).toEqual([[REMOTE, 0x7f000000]]);
    expect(writesOf('dumped', local)).toEqual([[LOCAL, 0x7f000000]]);
    expect(writesOf('dumped', { ...other, mark: REMOTE << 24 })).toEqual([]);
  });

  it('leaves alone what the kernel has marked so already, by origin or by a rule', () => {
    expect(writesOf('new', { ...other, mark: REMOTE << 24 })).toEqual([]);
    expect(writesOf('new', { ...other, mark: 2 << 24 })).toEqual([]);
  });

  it('sends a flow on that nft has let go by its origin for want of the rule', () => {
    expect(writesOf('new', { mark: REMOTE << 24 })).toEqual([[SEED, 0x7f000000]]);
  });

  it('gives no mark where it cannot place the ends', () => {
    const foreign = {
      original: tuple('8.8.8.8', 1, '9.9.9.9', 2),
      reply: tuple('9.9.9.9', 2, '8.8.8.8', 1),
    };
    expect(writesOf('dumped', foreign)).toEqual([]);
  });

  it('follows the numbers of another policy', () => {
    const { classifier, writes } = bench(undefined, true);
    classifier.see(news('dumped', 'a', other), 'start');
    classifier.flush();
    const next = parsePolicy(
      `link wan { }
queue remote { share 10% }  queue local { share 50% }  queue new { share 10% }
default local -> local  remote -> remote  new -> new`,
      'test.gate',
    ).policy!;
    classifier.replacePolicy(next);
    expect(writes.flat().map(({ mark }) => mark >>> 24)).toEqual([REMOTE, 1]);
  });
});

describe('classifier of flows', () => {
  it('says what it has decided of a flow that is new to it, and how it came, and when another rule takes it', () => {
    const { classifier, decided } = bench();
    const replace = (rules: string) =>
      classifier.replacePolicy(
        parsePolicy(
          `link wan { }
queue local { share 50% }  queue seed { share 5% }
${rules}
default local -> local  remote -> seed  new -> local`,
          'test.gate',
        ).policy!,
      );
    classifier.see(news('new', 'a'), 'event');
    classifier.see(news('dumped', 'a'), 'start');
    classifier.see(news('dumped', 'b', local), 'start');
    expect(decided.splice(0)).toEqual([
      ['seeders', 'remote', 'event'],
      ['own', 'local', 'start'],
    ]);
    replace('rule seeders when origin remote -> seed');
    expect(decided.splice(0)).toEqual([[undefined, 'local', undefined]]);
    replace('rule seeders when origin remote -> seed  rule own when origin local -> local');
    expect(decided).toEqual([['own', 'local', undefined]]);
  });

  it('marks a flow that a rule sends elsewhere, within our mask, with one write for a batch', () => {
    const { classifier, events, writes } = bench();
    classifier.see(news('new', 'a'), 'event');
    classifier.see(news('new', 'b'), 'event');
    classifier.flush();
    expect(writes).toEqual([[5000, 5001].map((port) => ({ port, mark: SEED << 24, mask: 0x7f000000 }))]);
    expect(events[0]).toEqual({
      kind: 'flow.new',
      id: 1,
      began: expect.any(String),
      because: [
        { term: 'origin remote', value: 'remote' },
        { term: 'local.port in 51413', value: '51413' },
      ],
      protocol: 'tcp',
      local: '192.168.1.20:51413',
      remote: '1.1.1.1:5000',
      origin: 'remote',
      queue: 'seed',
      rule: 'seeders',
    });
    expect(classifier.marks.written).toBe(2);
  });

  it('writes nothing for a flow that its origin sends there anyway, whether by default or by a rule', () => {
    const { classifier, events, writes } = bench();
    classifier.see(news('new', 'a', local), 'event');
    classifier.flush();
    expect(writes).toEqual([]);
    expect(events[0]).toMatchObject({ origin: 'local', queue: 'local', rule: 'own' });
  });

  it('leaves the class that the kernel gave a new flow by its own rules, whatever it saw that we cannot', () => {
    const { classifier, writes } = bench();
    classifier.see(news('new', 'a', { ...local, mark: SEED << 24 }), 'event');
    classifier.see(news('new', 'b', { mark: SEED << 24 }), 'event');
    classifier.flush();
    expect(writes).toEqual([]);
  });

  it('takes away a class that an earlier policy wrote, and leaves one that is right', () => {
    const { classifier, writes } = bench();
    classifier.see(news('dumped', 'a', { ...local, mark: 0x8700_0001 }), 'start');
    classifier.see(news('dumped', 'b', { mark: (SEED << 24) | 5 }), 'start');
    classifier.flush();
    expect(writes).toEqual([[{ port: 40000, mark: 0, mask: 0x7f000000 }]]);
  });

  it('counts a flow that ended before its mark came as neither written nor failed', () => {
    const { classifier } = bench(() => [MARK_GONE, -22]);
    classifier.see(news('new', 'a'), 'event');
    classifier.see(news('new', 'b'), 'event');
    classifier.flush();
    expect([classifier.marks.written, classifier.marks.failed]).toEqual([0, 1]);
  });

  it('does not look at what stays inside', () => {
    const { classifier, events } = bench();
    const inside = {
      original: tuple('192.168.1.20', 1, '192.168.1.21', 2),
      reply: tuple('192.168.1.21', 2, '192.168.1.20', 1),
    };
    expect(classifier.see(news('new', 'a', inside), 'event')).toBe(false);
    expect([classifier.table.size, events]).toEqual([0, []]);
  });

  it('says at the end how much it was, where the kernel counts', () => {
    const { classifier, events } = bench();
    classifier.see(news('new', 'a'), 'event');
    classifier.end(news('destroy', 'a', { counters: [100, 2, 50, 1] }));
    expect(events[1]).toMatchObject({ kind: 'flow.end', queue: 'seed', bytes: 150, packets: 3 });
    expect(classifier.table.size).toBe(0);
  });
});

const following = (events: () => Observable<Iterable<FlowNews>>) => ({
  demand: NEVER.pipe(startWith({ groups: ['new', 'destroy'], counters: false, ticks: false, links: [] } as const)),
  events,
  read: () => EMPTY,
});

describe('pipeline', () => {
  const scheduled = (
    test: (helpers: {
      hot: TestScheduler['createHotObservable'];
      cold: TestScheduler['createColdObservable'];
      scheduler: TestScheduler;
      flush: () => void;
    }) => void,
  ) => {
    const scheduler = new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
    scheduler.run(({ hot, cold, flush }) => test({ hot, cold, scheduler, flush }));
  };
  const batches = {
    n: [news('new', 'a')],
    d: [news('destroy', 'a')],
    o: [news('overrun', '', { count: 3 })],
    k: [news('dumpStart'), news('dumped', 'b')],
    e: [news('dumpEnd')],
    i: [news('dumpEnd', '', { interrupted: true })],
  };

  it('reads the table once at the start, and follows', () => {
    scheduled(({ hot, cold, scheduler, flush }) => {
      const { classifier, events } = bench();
      const source = hot('    --n-d|', batches);
      const dump = cold('     k(e|)', batches);
      const running = runPipeline({
        ...following(() => source),
        dump: () => dump,
        classifier,
        emit: (e) => events.push(e),
        scheduler,
      }).subscribe();
      scheduler.schedule(() => running.unsubscribe(), SWEEP_MS - 1);
      flush();
      expect(events.map((e) => e.kind)).toEqual(['flow.known', 'resync', 'flow.new', 'flow.end']);
      expect(events[1]).toEqual({ kind: 'resync', reason: 'start', flows: 1, added: 1, removed: 0, complete: true });
    });
  });

  it('tells an overrun and reads the table anew once for many, after a pause', () => {
    scheduled(({ hot, cold, scheduler, flush }) => {
      const { classifier, events } = bench();
      let dumps = 0;
      const source = hot(`n-o-o-o ${RESYNC_DELAY_MS}ms -`, batches);
      const dump = () => {
        dumps++;
        return cold<Iterable<FlowNews>>('k(e|)', batches);
      };
      const running = runPipeline({
        ...following(() => source),
        dump,
        classifier,
        emit: (e) => events.push(e),
        scheduler,
      }).subscribe();
      scheduler.schedule(() => running.unsubscribe(), SWEEP_MS - 1);
      flush();
      expect(events.filter((e) => e.kind === 'overrun')).toEqual([1, 2, 3].map(() => ({ kind: 'overrun', count: 3 })));
      expect(dumps).toBe(2);
      // Flow a came by an event before the first dump ended; the second dump does not know it, so it is gone.
      expect(events.at(-1)).toEqual({
        kind: 'resync',
        reason: 'overrun',
        flows: 1,
        added: 0,
        removed: 1,
        complete: true,
      });
    });
  });

  it('dumps again where events were lost while a dump ran', () => {
    scheduled(({ hot, cold, scheduler, flush }) => {
      const { classifier, events } = bench();
      let dumps = 0;
      const source = hot(`-o ${3 * RESYNC_DELAY_MS}ms -`, batches);
      const dump = () => cold<Iterable<FlowNews>>(dumps++ === 0 ? 'k--(e|)' : 'k(e|)', batches);
      const running = runPipeline({
        ...following(() => source),
        dump,
        classifier,
        emit: (e) => events.push(e),
        scheduler,
      }).subscribe();
      scheduler.schedule(() => running.unsubscribe(), SWEEP_MS - 1);
      flush();
      expect(dumps).toBe(2);
    });
  });

  it('sweeps while it holds flows that no event will end, says so when one was gone, and then rests', () => {
    scheduled(({ hot, cold, scheduler, flush }) => {
      const { classifier, events } = bench();
      let dumps = 0;
      // Flow b was there at the start; the second sweep no longer finds it.
      const dump = () => cold<Iterable<FlowNews>>(dumps++ < 2 ? 'k(e|)' : '(e|)', batches);
      const running = runPipeline({
        ...following(() => hot('-')),
        dump,
        classifier,
        emit: (e) => events.push(e),
        scheduler,
      }).subscribe();
      scheduler.schedule(() => running.unsubscribe(), 5 * SWEEP_MS);
      flush();
      expect(dumps).toBe(3);
      expect(events.map((e) => e.kind)).toEqual(['flow.known', 'resync', 'flow.end', 'resync']);
      expect(events.at(-1)).toMatchObject({ flows: 0, removed: 1 });
      expect(classifier.table.silent).toBe(0);
    });
  });

  it('removes nothing after a dump that was interrupted, and has another', () => {
    scheduled(({ hot, cold, scheduler, flush }) => {
      const { classifier, events } = bench();
      const dumps = ['k(e|)', '--k(i|)', '(e|)'];
      const running = runPipeline({
        ...following(() => hot('n-o-----', batches)),
        dump: () => cold<Iterable<FlowNews>>(dumps.shift()!, batches),
        classifier,
        emit: (e) => events.push(e),
        scheduler,
      }).subscribe();
      scheduler.schedule(() => running.unsubscribe(), SWEEP_MS - 1);
      flush();
      const told = events.filter(({ kind }) => kind === 'resync');
      expect(told).toEqual([
        { kind: 'resync', reason: 'start', flows: 2, added: 1, removed: 0, complete: true },
        { kind: 'resync', reason: 'overrun', flows: 2, added: 0, removed: 0, complete: false },
        { kind: 'resync', reason: 'overrun', flows: 0, added: 0, removed: 2, complete: true },
      ]);
    });
  });

  it('waits twice as long each time for another dump where one after the other is interrupted, up to a bound', () => {
    scheduled(({ hot, cold, scheduler, flush }) => {
      const { classifier } = bench();
      const times: number[] = [];
      const running = runPipeline({
        ...following(() => hot('-')),
        dump: () => {
          times.push(scheduler.now());
          return cold<Iterable<FlowNews>>('(i|)', batches);
        },
        classifier,
        emit: () => {},
        scheduler,
      }).subscribe();
      scheduler.schedule(() => running.unsubscribe(), 25_000);
      flush();
      const waits = times.slice(1).map((time, i) => time - times[i]!);
      expect(waits).toEqual([200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    });
  });

  it('decides at each tick all that waits, in turns, and not what comes to wait by that', () => {
    scheduled(({ hot, cold, scheduler, flush }) => {
      const { classifier } = bench();
      const times: number[] = [];
      const settle = vi.spyOn(classifier, 'settle').mockImplementation(() => times.push(scheduler.now()) > 0);
      const running = runPipeline({
        ...following(() => hot('-')),
        demand: NEVER.pipe(startWith({ groups: ['new'], counters: false, ticks: true, links: [] } as const)),
        dump: () => cold<Iterable<FlowNews>>('-'),
        classifier,
        emit: () => {},
        scheduler,
      }).subscribe();
      for (let row = 0; row <= 2 * MOST_SETTLED; row++) classifier.live.dirty.add(row);
      classifier.live.stirred.next();
      scheduler.schedule(() => running.unsubscribe(), 2.5 * TICK_MS);
      flush();
      expect(times).toEqual([1, 1, 1, 2, 2, 2].map((tick) => tick * TICK_MS));
      settle.mockRestore();
    });
  });

  it('takes out of the datapath’s map what ended while nobody followed, when all is read again, and nothing before', () => {
    const sets: (number | undefined)[] = [];
    const map = { set: (_: unknown, number: number | undefined) => sets.push(number), flush: async () => {} };
    const classifier = new FlowClassifier({
      ...{ policy, field: DEFAULT_MARK_FIELD, sides, map, emit: () => {}, listening: () => false },
      writeMarks: ({ count }) => Array(count).fill(MARK_WRITTEN),
    });
    const look = (interrupted: boolean, ...keys: string[]) => {
      sets.length = 0;
      runPipeline({
        demand: of({ groups: ['new', 'destroy'], counters: false, ticks: false, links: [] }),
        ...{ classifier, emit: () => {}, events: () => NEVER, read: () => EMPTY },
        dump: () => of([...keys.map((key) => news('dumped', key)), news('dumpEnd', 'a', { interrupted })]),
      })
        .subscribe()
        .unsubscribe();
      return [...sets];
    };
    expect(look(false, 'a', 'b')).toEqual([SEED, SEED]);
    expect(look(true, 'a')).toEqual([SEED]);
    expect(look(false, 'a')).toEqual([SEED, undefined]);
    expect(look(false, 'a')).toEqual([SEED]);
  });

  it('errors once where the marks cannot be written, and writes them when it is tried again', () => {
    let broken = true;
    const { classifier, writes } = bench((count) => {
      if (broken) throw new Error('socket');
      return Array(count).fill(MARK_WRITTEN);
    });
    const options = {
      demand: of({ groups: [], counters: false, ticks: false, links: [] }),
      ...{ classifier, emit: () => {}, events: () => EMPTY, read: () => EMPTY },
      dump: () => of([news('dumped')]),
    };
    const errors: string[] = [];
    const tryIt = () => runPipeline(options).subscribe({ error: (error) => errors.push(String(error)) });
    tryIt();
    broken = false;
    tryIt();
    expect(errors).toEqual(['Error: socket']);
    expect(writes.map((write) => write.length)).toEqual([1, 1]);
    expect([classifier.marks.written, classifier.marks.failed]).toEqual([1, 1]);
  });

  it('emits nothing, errors when a source cannot be opened, and closes both when unsubscribed early', () => {
    scheduled(({ hot, cold, scheduler, flush }) => {
      const { classifier } = bench();
      const run = (events: Observable<Iterable<FlowNews>>, dump: Observable<Iterable<FlowNews>>) =>
        runPipeline({ ...following(() => events), dump: () => dump, classifier, emit: () => {}, scheduler });
      const source = hot<Iterable<FlowNews>>('-n-d-');
      const dump = cold<Iterable<FlowNews>>('k----', batches);
      const running = run(source, dump).subscribe({ next: () => expect.unreachable() });
      scheduler.schedule(() => running.unsubscribe(), 3);
      flush();
      for (const { subscriptions } of [source, dump])
        expect(subscriptions).toEqual([{ subscribedFrame: 0, unsubscribedFrame: 3 }]);

      let failed: unknown;
      run(new Observable((s) => s.error('no socket')), dump).subscribe({ error: (e) => (failed = e) });
      expect(failed).toBe('no socket');
    });
  });
});

describe('flow table', () => {
  it('equals the kernel’s table after any mixture of events, losses and a dump at the end', () => {
    // The kernel: a map of key to id, changed by steps whose events may be lost. A dump tells it as it was when the
    // dump began or later, entry by entry, while events go on.
    const step = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), lost: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.array(step, { maxLength: 10 }), (before, during) => {
        const { classifier } = bench();
        const kernel = new Map<string, number>();
        let ids = 0;
        const apply = ({ key, lost }: { key: string; lost: boolean }) => {
          const id = kernel.get(key);
          if (id === undefined) {
            kernel.set(key, ++ids);
            if (!lost) classifier.see(news('new', key, { id: ids }), 'event');
          } else {
            kernel.delete(key);
            if (!lost) classifier.end(news('destroy', key, { id }));
          }
        };
        for (const s of before) apply(s);
        classifier.table.beginDump();
        // Read into the dump's socket now, handled only after the events that follow: nothing is lost meanwhile.
        const dumped = [...kernel];
        for (const s of during) apply({ ...s, lost: false });
        for (const [key, id] of dumped) classifier.see(news('dumped', key, { id }), 'start');
        classifier.table.endDump(true);
        classifier.sweep();
        const known = Array.from(classifier.flows(), ({ row, remote }) => [
          String.fromCodePoint(97 + remote.port! - 5000),
          classifier.table.idOf(row),
        ]);
        expect(known.sort()).toEqual([...kernel].sort());
        expect(classifier.table.perOrigin.remote).toBe(kernel.size);
      }),
    );
  });

  it('removes what a dump has not seen in turns, and nothing that comes between them', () => {
    const { classifier } = bench();
    const { table } = classifier;
    const keys = Array.from({ length: MOST_SWEPT + 10 }, (_, i) => String.fromCodePoint(97 + i));
    for (const key of keys) classifier.see(news('new', key), 'event');
    table.beginDump();
    expect(table.endDump(true)).toBe(true);
    expect([classifier.sweep(), table.isSweeping]).toEqual([MOST_SWEPT, true]);
    // One that is gone, and whose row is used again, and one that is there again.
    classifier.end(news('destroy', keys.at(-1)));
    classifier.see(news('new', keys[0], { id: 7 }), 'event');
    classifier.see(news('new', keys.at(-2), { id: 8 }), 'event');
    expect([classifier.sweep(), table.isSweeping]).toEqual([8, false]);
    expect(Array.from(classifier.flows(), ({ row }) => table.idOf(row)).sort()).toEqual([7, 8]);
  });

  it('forgets the tombstones when the dump is over', () => {
    const table = new FlowTable();
    table.beginDump();
    expect(table.findEnding(news('destroy'))).toBe(-1);
    expect(table.hasEnded(news('dumped'))).toBe(true);
    table.endDump(true);
    expect(table.hasEnded(news('dumped'))).toBe(false);
  });
});
