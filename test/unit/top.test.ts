// What `headgate top` shows, as lines: no terminal here (test/kernel/top.test.ts has a real one).

import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import type { ReadStream, WriteStream } from 'node:tty';
import { expect, it } from 'vitest';
import { drawFrame, figuresOf, type Style, Terminal, type View } from '../../src/screen/index.ts';
import type { ListedFlow, QueueStatus, Status } from '../../src/service/index.ts';

const queue = (name: string, n: number, bytes: number, drops = 0): QueueStatus => ({
  ...{ name, device: 'hg-wan', classid: `7fe0:${n}`, leaf: 'fq_codel', rate: 25e6, ceil: 50e6 },
  ...{ bytes, packets: bytes / 1000, drops, overlimits: 0, backlogBytes: 12_345, backlogPackets: 9 },
});
const status = (...queues: QueueStatus[]): Status => ({
  ...{ running: true, tracking: true, policers: [] },
  links: [
    {
      ...{ name: 'wan', device: 'eth0', state: 'steering', ifbs: [], downloadLost: false, uploadLost: false },
      download: { packets: {}, queues },
    },
  ],
});
const before = { status: status(queue('local', 1, 1_000_000), queue('seed', 2, 0, 10)), at: 1000 };
const now = { status: status(queue('local', 1, 6_000_000), queue('seed', 2, 0, 30)), at: 3000 };
const flow = (remote: string, more: Partial<ListedFlow> = {}): ListedFlow => ({
  ...{ protocol: 'tcp', local: '10.0.0.2:4000', remote, origin: 'local', queue: 'local', rate: { in: 1e6, out: 1e5 } },
  ...more,
});
const listOf = (...flows: ListedFlow[]) => ({ total: 500, matched: flows.length, flows, unknown: [] as string[] });
const view = (more: Partial<View> = {}): View => ({
  ...{ figures: figuresOf(now, before), list: undefined, sort: 'rate', filter: '', typing: false, paused: false },
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
  const list = listOf(...Array.from({ length: 100 }, (_, i) => flow(`192.0.2.${i}:443`, { rule: 'a'.repeat(30) })));
  const views: Partial<View>[] = [
    {},
    { list },
    { list, help: true },
    { list, problem: 'x'.repeat(300) },
    { figures: undefined },
  ];
  for (const more of views)
    for (const color of [false, true]) {
      const lines = drawFrame(view(more), { ...plain, columns, rows, color, unicode: true });
      expect(lines).toHaveLength(rows);
      for (const line of lines) expect(line.replace(/\u001b\[\d+m/g, '').length).toBeLessThanOrEqual(columns);
    }
});

it('shows flows with what is known of them, scrolls, and says when there is none', () => {
  const list = listOf(
    flow('192.0.2.1:443'),
    flow('192.0.2.2:443', { domains: ['cdn.example.org'], process: 'curl', origin: 'remote' }),
    flow('192.0.2.3:443', { rate: undefined, rule: 'seeders' }),
  );
  const lines = drawFrame(view({ list }), plain);
  expect(lines[4]).toMatch(/^500 flows +opened +queue +rule +in +out$/);
  expect(lines[5]).toMatch(/^tcp 192\.0\.2\.1:443 10\.0\.0\.2:4000 +local +local +- +1mbit +100kbit$/);
  expect(lines[6]).toMatch(/^tcp cdn\.example\.org curl 192\.0\.2.*~ remote /);
  expect(lines[7]).toMatch(/ seeders +- +-$/);
  expect(drawFrame(view({ list, scroll: 2 }), plain)[5]).toMatch(/^tcp 192\.0\.2\.3:443/);
  const none = drawFrame(view({ list: listOf(), filter: 'p2p' }), plain);
  expect(none[4]).toMatch(/^0 of 500 flows/);
  expect(none[5]).toBe('no flow meets the condition');
  const blind = drawFrame(view({ list: { ...listOf(), unknown: ['p2p'] }, filter: 'p2p' }), plain);
  expect(blind.at(-1)).toMatch(/^not known of every flow: p2p /);
});

it('shows what flows are sorted by beside their rates', () => {
  const list = listOf(flow('192.0.2.1:443', { bytes: { in: 2e6, out: 1e6 }, age: 81_234, rule: 'a'.repeat(15) }));
  const shown = (sort: View['sort'], columns = 80) =>
    drawFrame(view({ list, sort }), { ...plain, columns })
      .slice(4, 6)
      .map((line) => line.replace(/ +/g, ' '));
  const who = 'tcp 192.0.2.1:443 10.0.0.2:4000 local local';
  expect(shown('rate')).toEqual(['500 flows opened queue rule in out', `${who} aaaaaaaaa~ 1mbit 100kbit`]);
  expect(shown('queue')).toEqual(shown('rate'));
  expect(shown('bytes', 100)).toEqual([
    '500 flows opened queue rule bytes in out',
    `${who} ${'a'.repeat(15)} 3MB 1mbit 100kbit`,
  ]);
  expect(shown('age', 100)[1]).toBe(`${who} ${'a'.repeat(15)} 81s 1mbit 100kbit`);
});

it('shows every key in 80 by 24 however many queues there are, and the end of a condition that is too long', () => {
  const many = { status: status(...Array.from({ length: 30 }, (_, i) => queue(`q${i}`, i, 0))), at: 1 };
  const help = drawFrame(view({ figures: figuresOf(many), help: true }), plain);
  expect(help.join('\n')).toMatch(/q, Ctrl-C[\s\S]*Ctrl-Z[\s\S]*any key: back$/);
  const filter = `remote.port in { ${Array.from({ length: 40 }, (_, i) => i).join(', ')} }`;
  const foot = drawFrame(view({ filter, typing: true }), plain).at(-1)!;
  expect(foot).toMatch(/^where: .*, 38, 39 }_$/);
  expect(foot).toHaveLength(80);
});

it('sends nothing to the terminal that others wrote to move it', () => {
  const process = '\u001b]0;owned\u0007\u001b[2Jx\u009b1m\ny';
  const list = listOf(flow('192.0.2.1:1', { process, domains: [process], queue: '\u001b[31mq' }));
  const text = drawFrame(view({ list, problem: process }), plain).join('|');
  expect(text).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
});

it('has the terminal anew after somebody else has stopped it', () => {
  const [written, modes]: [string[], boolean[]] = [[], []];
  const input = Object.assign(new PassThrough(), { setRawMode: (raw: boolean) => modes.push(raw) });
  const output = Object.assign(new EventEmitter(), { write: (text: string) => written.push(text) });
  const terminal = new Terminal(input as unknown as ReadStream, output as unknown as WriteStream);
  const draw = () => terminal.draw(['one', 'two']);
  terminal.open(
    () => {},
    () => {},
    draw,
  );
  draw();
  const before = written.splice(0);
  process.emit('SIGCONT', 'SIGCONT');
  expect(written.slice(-before.length)).toEqual(before);
  expect(modes).toEqual([true, false, true]);
  terminal.close();
});
