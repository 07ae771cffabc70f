import { describe, expect, it } from 'vitest';
import { formatLoopback, parseLoopback } from '../../src/model/index.ts';
import { GAP_MS, MOST_POINTS, Rates } from '../../src/web/history.ts';

type Looked = Parameters<Rates['add']>[0];

const queue = (name: string, bytes: number, more: object = {}) => ({
  ...{ name, device: 'hg-wan', classid: '7fe0:1', leaf: 'bfifo', bytes, packets: 0, drops: 0, overlimits: 0 },
  ...{ backlogBytes: 0, ...more },
});
const look = (...queues: ReturnType<typeof queue>[]): Looked => ({
  links: [
    {
      ...{ name: 'wan', device: 'wan', state: 'steering', ifbs: [], downloadLost: false, uploadLost: false },
      download: { packets: { local: queues[0]?.bytes ?? 0 }, queues },
    },
  ],
});

describe('rates of the page', () => {
  it('are what came between two looks, by the time that passed; the first has none', () => {
    const rates = new Rates();
    expect(rates.add(look(queue('a', 1000)), 0)[0]?.points).toEqual([{ time: 0, queues: undefined, verdicts: {} }]);
    const [track] = rates.add(look(queue('a', 2000, { drops: 4, backlogBytes: 500 })), 2000);
    expect(track).toMatchObject({ link: 'wan', way: 'download' });
    expect(track!.points[1]).toEqual({
      time: 2000,
      queues: [{ name: 'a', rate: 4000, drops: 2, backlog: 500, delay: 1000 }],
      verdicts: { local: 500 },
    });
  });

  it('know no delay of what stands, and add up what a queue has on several ifbs', () => {
    const rates = new Rates();
    rates.add(look(queue('a', 10), queue('a', 20), queue('b', 5)), 0);
    const [track] = rates.add(look(queue('a', 20), queue('a', 30), queue('b', 5, { backlogBytes: 9 })), 1000);
    expect(track!.points[1]?.queues).toMatchObject([
      { name: 'a', rate: 160, delay: 0 },
      { name: 'b', rate: 0, delay: undefined },
    ]);
  });

  it('are not known where counters began anew, or nobody looked for long; a queue that is new begins with nothing', () => {
    const rates = new Rates();
    rates.add(look(queue('a', 1000)), 0);
    expect(rates.add(look(queue('a', 10)), 1000)[0]?.points[1]?.queues).toBeUndefined();
    expect(rates.add(look(queue('a', 20), queue('b', 900)), 2000)[0]?.points[2]?.queues).toMatchObject([
      { name: 'a', rate: 80 },
      { name: 'b', rate: 0 },
    ]);
    expect(rates.add(look(queue('a', 99)), 2001 + GAP_MS)[0]?.points[3]?.queues).toBeUndefined();
  });

  it('are kept for so long, and not of links that have gone', () => {
    const rates = new Rates();
    for (let i = 0; i < 2 * MOST_POINTS; i++) rates.add(look(queue('a', i)), i * 1000);
    expect(rates.add(look(queue('a', 1e6)), 1e6)[0]?.points).toHaveLength(MOST_POINTS);
    expect(rates.add({ links: [] }, 1e6 + 1)).toEqual([]);
    expect(rates.add(look(queue('a', 1)), 1e6 + 2)[0]?.points).toHaveLength(1);
  });
});

describe('an address of loopback', () => {
  it('is 127.0.0.1 or [::1], with a port', () => {
    for (const text of ['127.0.0.1:8053', '[::1]:0', '127.0.0.1:65535']) {
      const read = parseLoopback(text);
      expect(typeof read === 'string' ? read : formatLoopback(read)).toBe(text);
    }
  });

  it.each([
    '',
    '8053',
    ':8053',
    'localhost:8053',
    '::1:8053',
    '127.0.0.2:1',
    '0.0.0.0:1',
    '[::]:1',
    '127.0.0.1:65536',
    '127.0.0.1:-1',
    '127.0.0.1:1 ',
  ])('is not "%s"', (text) => expect(parseLoopback(text)).toBeTypeOf('string'));
});
