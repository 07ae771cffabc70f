// What `headgate top` shows, as lines: no terminal here (test/kernel/top.test.ts has a real one).

import { expect, it } from 'vitest';
import { drawFrame, type FlowLine, figuresOf, type Style, sortFlows, type View } from '../../src/screen/index.ts';
import type { QueueStatus, Status } from '../../src/service/index.ts';

const queue = (name: string, n: number, bytes: number, drops = 0): QueueStatus => ({
  ...{ name, device: 'hg-wan', classid: `7fe0:${n}`, leaf: 'fq_codel', rate: 25e6, ceil: 50e6 },
  ...{ bytes, packets: bytes / 1000, drops, overlimits: 0, backlogBytes: 12_345, backlogPackets: 9 },
});
const status = (...queues: QueueStatus[]): Status => ({
  ...{ running: true, tracking: true, policers: [] },
  links: [
    {
      ...{ name: 'wan', device: 'eth0', state: 'steering', ifbs: [], uploadLost: false },
      download: { packets: {}, queues },
    },
  ],
});
const before = { status: status(queue('local', 1, 1_000_000), queue('seed', 2, 0, 10)), at: 1000 };
const now = { status: status(queue('local', 1, 6_000_000), queue('seed', 2, 0, 30)), at: 3000 };
const flow = (remote: string, more: Partial<FlowLine> = {}): FlowLine => ({
  ...{ protocol: 'tcp', local: '10.0.0.2:4000', remote, origin: 'local', queue: 'local', rateIn: 1e6, rateOut: 1e5 },
  ...more,
});
const view = (more: Partial<View> = {}): View => ({
  ...{ figures: figuresOf(now, before), flows: undefined, sort: 'rate', filter: '', typing: false, paused: false },
  ...{ help: false, scroll: 0, clock: '10:02:11', ...more },
});
const plain: Style = { columns: 80, rows: 24, color: false, unicode: false };

it('reckons rates from two looks; one look, or a tree made anew, has none', () => {
  expect(figuresOf(now, before).queues).toMatchObject([
    { link: 'wan', way: 'download', name: 'local', rate: 20e6, dropRate: 0, share: 25e6, ceil: 50e6 },
    { name: 'seed', rate: 0, dropRate: 10, drops: 30, backlogBytes: 12_345 },
  ]);
  expect(figuresOf(now).queues[0]!.rate).toBeUndefined();
  expect(figuresOf(before, { ...now, at: 0 }).queues[0]!.rate).toBeUndefined();
});

it('says of each queue the rate, of what, drops and what waits, in 80 columns', () => {
  const [title, head, local, seed] = drawFrame(view(), plain);
  expect(title).toBe('headgate  10:02:11  eth0 steering  no service');
  expect(head).toMatch(/^wan download +rate +of +drops\/s +drops +waits$/);
  expect(local).toMatch(/^local #{11,12}\.+\|\.+ +20mbit +50mbit +0 +0 +12\.3k$/);
  expect(seed).toMatch(/^seed {2}\.+\|\.+ +0bit +50mbit +10 +30 +12\.3k$/);
});

it.each([
  [80, 24],
  [40, 10],
  [20, 5],
  [200, 60],
  [1, 1],
])('fills %i x %i and no more, with flows, help, a problem', (columns, rows) => {
  const flows = Array.from({ length: 100 }, (_, i) => flow(`192.0.2.${i}:443`, { rule: 'a'.repeat(30) }));
  for (const more of [
    {},
    { flows },
    { flows, help: true },
    { flows, problem: 'x'.repeat(300) },
    { figures: undefined },
  ])
    for (const color of [false, true]) {
      const lines = drawFrame(view(more), { ...plain, columns, rows, color, unicode: true });
      expect(lines).toHaveLength(rows);
      for (const line of lines) expect(line.replace(/\u001b\[\d+m/g, '').length).toBeLessThanOrEqual(columns);
    }
});

it('sorts flows, scrolls, and says when there is none', () => {
  const flows = [flow('a', { rateIn: 1, bytes: 9 }), flow('b', { rateIn: 5, bytes: 1 }), flow('c', { queue: 'a' })];
  expect(sortFlows(flows, 'rate').map(({ remote }) => remote)).toEqual(['c', 'b', 'a']);
  expect(sortFlows(flows, 'bytes').map(({ remote }) => remote)).toEqual(['a', 'b', 'c']);
  expect(sortFlows(flows, 'queue').map(({ remote }) => remote)).toEqual(['c', 'b', 'a']);
  const lines = drawFrame(view({ flows, scroll: 1 }), plain);
  expect(lines[5]).toMatch(/^tcp b 10\.0\.0\.2:4000 /);
  expect(drawFrame(view({ flows: [], filter: 'p2p' }), plain)[5]).toBe('no flow meets the condition');
});

it('sends nothing to the terminal that others wrote to move it', () => {
  const name = '\u001b]0;owned\u0007\u001b[2Jx\u009b1m\ny';
  const text = drawFrame(view({ flows: [flow('192.0.2.1:1', { name, queue: '\u001b[31mq' })] }), plain).join('|');
  expect(text).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
});
