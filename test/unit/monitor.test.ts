import { describe, expect, it } from 'vitest';
import { formatItem, type MonitorEvent, type MonitorItem } from '../../src/monitor/index.ts';
import { MonitorStream } from '../../src/monitor/stream.ts';

const flow = {
  kind: 'flow.new',
  protocol: 'tcp',
  local: '10.0.0.2:40000',
  remote: '[2001:db8::1]:443',
  origin: 'local',
  queue: 'local',
} as const;

describe('event stream', () => {
  it('numbers every event from 1, also those that nobody heard', () => {
    const stream = new MonitorStream(() => new Date('2026-01-02T03:04:05.678Z'));
    stream.emit({ kind: 'overrun', count: 2 });
    const heard: MonitorItem[] = [];
    const listening = stream.items.subscribe((item) => heard.push(item));
    stream.emit(flow);
    listening.unsubscribe();
    expect(stream.idle).toBe(true);
    stream.emit(flow);
    expect(heard).toEqual([{ seq: 2, time: '2026-01-02T03:04:05.678Z', ...flow }]);
  });

  it('gives notice of all but flows, and who takes notice reads of none', () => {
    const stream = new MonitorStream();
    const [kinds, ends]: [string[], string[]] = [[], []];
    stream.notices.subscribe({ next: ({ kind }) => kinds.push(kind), complete: () => ends.push('notices') });
    expect(stream.idle).toBe(true);
    stream.items.subscribe({ complete: () => ends.push('items') });
    expect(stream.idle).toBe(false);
    stream.emit(flow);
    stream.emit({ kind: 'overrun', count: 1 });
    stream.complete();
    expect([kinds, ends.sort()]).toEqual([['overrun'], ['items', 'notices']]);
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
    },
    flow,
    { ...flow, kind: 'flow.end', origin: 'remote', queue: 'seed', rule: 'seeders', bytes: 150, packets: 3 },
    { kind: 'overrun', count: 2 },
    { kind: 'resync', reason: 'overrun', flows: 10, added: 3, removed: 1, complete: false },
    { kind: 'link', name: 'wan', device: 'eth0', state: 'open', reason: 'hg-eth0 was set down' },
    { kind: 'table', name: 'headgate', state: 'restored', reason: 'it is put back' },
    { kind: 'missed', count: 7 },
    { kind: 'warning', message: 'conntrack could not be followed' },
  ];

  it('read as one line each', () => {
    expect(events.map((event) => formatItem({ seq: 1, time: '2026-01-02T03:04:05.678Z', ...event }))).toEqual([
      '03:04:05.678 ready        datapath bpf, marks 0x7f000000; steering wan on eth0, download 90mbit, upload 18mbit; steering dsl on ppp0, download 16mbit',
      '03:04:05.678 flow.new     tcp    10.0.0.2:40000 -> [2001:db8::1]:443  origin local  queue local  default',
      '03:04:05.678 flow.end     tcp    10.0.0.2:40000 <- [2001:db8::1]:443  origin remote  queue seed  rule seeders  150 bytes, 3 packets',
      '03:04:05.678 overrun      the kernel dropped events for us (2x); reading the table anew',
      '03:04:05.678 resync       10 flows known: 3 found, 1 gone after an overrun (dump interrupted)',
      '03:04:05.678 link.open    wan on eth0: hg-eth0 was set down',
      '03:04:05.678 table.restored headgate: it is put back',
      '03:04:05.678 missed       7 items: this reader was too slow',
      '03:04:05.678 warning      conntrack could not be followed',
    ]);
  });
});
