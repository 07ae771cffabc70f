// Opening and closing: what it leaves behind, which is nothing, and how it fails.

import { readdirSync } from 'node:fs';
import type { Observable } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { getBpfCounters, getTcStats, MarkWriter } from '../../src/kernel/index.ts';
import { conntrackDump, conntrackEvents, linkEvents, packetSamples } from '../../src/kernel/sources.ts';
import type { Namespace } from '../../src/lab/index.ts';
import { HeadgateError } from '../../src/model/index.ts';
import { addTracked, sendUdp } from './shim-lab.ts';
import { soon } from './soon.ts';

let ns: Namespace;
beforeAll(async () => {
  ns = await addTracked('lifecycle');
  await sendUdp(ns, '127.0.0.9', 7002);
});
afterAll(() => ns.del());

const sources: [string, (netns: string | undefined) => Observable<unknown>][] = [
  ['conntrackEvents', (netns) => conntrackEvents({ netns })],
  ['conntrackDump', (netns) => conntrackDump({ netns })],
  ['packetSamples', (netns) => packetSamples({ netns, group: 7 })],
  ['linkEvents', (netns) => linkEvents({ netns })],
];

/** Descriptors by what they lead to, threads, and what keeps the event loop alive. */
const held = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  threads: readdirSync('/proc/self/task').length,
  resources: process
    .getActiveResourcesInfo()
    .filter((name) => !/Immediate|Timeout/.test(name))
    .sort(),
  timers: process.getActiveResourcesInfo().filter((name) => /Immediate/.test(name)),
});

const countTimers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

/** What is held once what came before has gone: the same in two looks with turns of the event loop between them. */
async function settled(): Promise<ReturnType<typeof held>> {
  let last: ReturnType<typeof held> | undefined;
  await soon(() => {
    const before = last;
    last = held();
    expect(last).toEqual(before);
  });
  return last!;
}

describe.each(sources)('%s', (_, observe) => {
  // A dump makes the kernel walk its whole hash table, 10 ms and more: fewer of them show the same.
  const times = observe === sources[1]![1] ? 200 : 1000;

  it(`leaves nothing behind after ${times} times open and close`, async () => {
    observe(ns.path).subscribe().unsubscribe();
    const before = await settled();
    const timers = countTimers();
    for (let i = 0; i < times; i++) {
      let error: unknown;
      const subscription = observe(ns.path).subscribe({
        error: (e) => {
          error = e;
        },
      });
      // Some are closed at once, some when the loop has turned, so that the doorbell has rung.
      if (i % 4 === 0) await new Promise(setImmediate);
      if (i % 4 === 1) await new Promise((resolve) => setTimeout(resolve, 1));
      subscription.unsubscribe();
      expect(error).toBeUndefined();
    }
    await soon(() => expect(held()).toEqual(before));
    // The test runner has some of its own, which come and go.
    expect(countTimers()).toBeLessThan(timers + 10);
  });

  it('has ended its thread and closed its socket when unsubscribe returns', () => {
    const threads = () => readdirSync('/proc/self/task').length;
    const before = threads();
    const subscription = observe(ns.path).subscribe();
    expect(threads()).toBe(before + 1);
    subscription.unsubscribe();
    expect(threads()).toBe(before);
  });

  it('errors where the namespace is not there', () => {
    let problem: unknown;
    observe('/run/netns/hg-no-such').subscribe({
      error: (e) => {
        problem = e;
      },
    });
    expect(problem).toBeInstanceOf(HeadgateError);
    expect(problem).toMatchObject({ code: 'HG_KERNEL', message: expect.stringMatching(/hg-no-such: ENOENT/) });
  });

  it('errors where the path is no namespace', () => {
    let problem: unknown;
    observe('/proc/self/status').subscribe({
      error: (e) => {
        problem = e;
      },
    });
    expect(problem).toMatchObject({ code: 'HG_KERNEL', message: expect.stringMatching(/setns: EINVAL/) });
  });
});

it.each([sources[1]!, sources[3]!])('%s can be closed from inside its own handler', async (_, observe) => {
  let emissions = 0;
  await new Promise<void>((resolve, reject) => {
    const subscription = observe(ns.path).subscribe({
      next: () => {
        emissions++;
        subscription.unsubscribe();
        setImmediate(resolve);
      },
      error: reject,
    });
  });
  expect(emissions).toBe(1);
});

describe('without root', () => {
  /** The same process without its capabilities, for as long as `f` runs. */
  function asNobody<T>(f: () => T): T {
    process.seteuid!(65534);
    try {
      return f();
    } finally {
      process.seteuid!(0);
    }
  }

  it.each(sources.slice(0, 3))('%s says that it needs it', (_, observe) => {
    let problem: unknown;
    asNobody(() =>
      observe(undefined).subscribe({
        error: (e) => {
          problem = e;
        },
      }),
    );
    expect(problem).toMatchObject({ code: 'HG_NOT_ROOT', exit: 3 });
  });

  it('marks and counters say so, too', () => {
    expect(() => asNobody(() => MarkWriter.open())).toThrow(expect.objectContaining({ code: 'HG_NOT_ROOT' }));
    expect(() => asNobody(() => getBpfCounters(1, 'x', 1))).toThrow(expect.objectContaining({ code: 'HG_NOT_ROOT' }));
  });

  it('links and statistics can be looked at', () => {
    let problem: unknown;
    asNobody(() =>
      linkEvents()
        .subscribe({
          error: (e) => {
            problem = e;
          },
        })
        .unsubscribe(),
    );
    expect(problem).toBeUndefined();
    expect(asNobody(() => getTcStats(undefined, 1)).length).toBeGreaterThan(0);
  });
});

it('a program that is not there has no counters', () => {
  expect(() => getBpfCounters(0x7fff_ffff, 'verdicts', 4)).toThrow(
    expect.objectContaining({ code: 'HG_KERNEL', message: expect.stringContaining('ENOENT') }),
  );
});

it('1,000 mark writers leave nothing behind', async () => {
  const before = await settled();
  for (let i = 0; i < 1000; i++) MarkWriter.open(ns.path).close();
  expect(held()).toEqual(before);
});
