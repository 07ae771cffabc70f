// The event stream of `headgate up` to its readers: each item by the schema, on real traffic of both families; filters,
// resuming, server-sent events; a reader that stands still under a storm. Shown on the machine's own kernel (6.18).

import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { getStatePath, start } from '../../src/kernel/index.ts';
import type { MonitorItem } from '../../src/monitor/index.ts';
import { itemSchema } from '../../src/monitor/schema.ts';
import { type Exit, exitOf, Gateway, HEADGATE, INSIDE, memoryOf, WAN, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { PATIENCE, soon } from './soon.ts';
import { tool } from './tools.ts';

const WORLD6 = '2001:db8::2';
const FLOWS = tool('gen_flows');

let gateway: Gateway;
let socketPath: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  socketPath = await getStatePath('sock', await gateway.box.getId());
});
afterEach(() => gateway.close());

const get = (path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> =>
  new Promise((resolve, reject) =>
    request({ socketPath, path, headers, agent: false }, resolve).once('error', reject).end(),
  );

/** Of a storm, checking each would take longer than the storm. */
const MOST_CHECKED = 2000;

/** Every number is there, or said to be missing, from the first item behind what says where the stream begins. */
function expectWhole(items: readonly MonitorItem[]): void {
  let at = items[1]!.kind === 'gap' ? items[1]!.from - 1 : items[1]!.seq - 1;
  for (const item of items.slice(1)) {
    expect(item.kind === 'gap' ? item.from : item.seq).toBe(at + 1);
    at = item.seq;
  }
}

/** Reads a stream; every item that comes is as the schema says. */
async function read(parameters = '', from?: IncomingMessage) {
  const response = from ?? (await get(`/events${parameters}`));
  const items: MonitorItem[] = [];
  const wrong: unknown[] = [];
  const ended = (async () => {
    for await (const line of createInterface({ input: response })) {
      const item = JSON.parse(line) as MonitorItem;
      items.push(item);
      if (items.length > MOST_CHECKED) continue;
      const { success, data, error } = itemSchema.safeParse(item);
      // What the schema does not know would be left out.
      if (!success || !isDeepStrictEqual(data, item)) wrong.push({ item, error });
    }
  })().catch(() => {});
  const close = () => {
    response.destroy();
    expect(wrong).toEqual([]);
  };
  return { items, ended, close };
}

const policy = (rules: string) => `link wan { device wan  download 50mbit  upload 50mbit }
queue local { share 50% }  queue seed { share 5% }
default local -> local  remote -> seed  new -> local
${rules}`;
const SEEDERS = 'rule seeders when udp and origin remote and local.port in 51413 -> seed\n';

it('tells each reader what it asks for', async () => {
  const { box, world, inside } = gateway;
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1', 'net.netfilter.nf_conntrack_timestamp=1');
  // On a busy machine what follows takes longer than an entry lives that nothing is heard of.
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
  await box.batch('address add 2001:db8::1/64 dev wan nodad');
  await world.batch(`address add ${WORLD6}/64 dev up0 nodad`);
  const file = join(gateway.folder, 'events.gate');
  await writeFile(file, policy(`${SEEDERS}rule talks when udp and remote.port 5001 and packets.out > 2 -> seed\n`));
  await gateway.serve(world, 'udp', WORLD, 5000);
  await gateway.serve(world, 'udp', WORLD6, 5000);
  await gateway.serve(inside, 'udp', INSIDE, 51413);
  const program = await gateway.up(file);

  const all = await read();
  const remote = await read('?origin=remote&kind=flow.*');
  const quiet = await read('?kind=policy&kind=link');
  await gateway.ask(inside, 'udp', WORLD, 5000, 200, 6000);
  await gateway.ask(box, 'udp', WORLD6, 5000, 200, 6001);
  await gateway.ask(world, 'udp', WAN, 51413, 200, 7000);
  const [asking, serving] = [await Host.start(inside), await Host.start(world)];
  await serving.sink(WORLD, 5001);
  await asking.tell(WORLD, 5001, 5, { from: 6002, size: 100 });

  const flows = (items: readonly MonitorItem[]) => items.filter((item) => 'origin' in item);
  await soon(() => {
    const told = (kind: string, end: string) =>
      flows(all.items).find((i) => i.kind === kind && 'local' in i && i.local === end);
    expect(told('flow.new', `${INSIDE}:6000`)).toMatchObject({ origin: 'local', queue: 'local', protocol: 'udp' });
    expect(told('flow.new', '[2001:db8::1]:6001')).toMatchObject({ remote: `[${WORLD6}]:5000`, origin: 'local' });
    expect(told('flow.new', `${INSIDE}:51413`)).toMatchObject({
      ...{ origin: 'remote', queue: 'seed', rule: 'seeders', remote: `${WORLD}:7000` },
      because: [{ term: 'udp', value: 'udp' }, { term: 'origin remote', value: 'remote' }, { value: '51413' }],
    });
    expect(told('flow.update', `${INSIDE}:6002`)).toMatchObject({
      ...{ queue: 'seed', rule: 'talks', before: { queue: 'local' } },
      because: expect.arrayContaining([{ term: 'packets.out > 2', value: expect.stringMatching(/^[3-5]$/) }]),
    });
  });
  await box.run('conntrack', '-D', '-p', 'udp', '--orig-port-dst', '51413');
  await soon(() => {
    const end = all.items.find(({ kind }) => kind === 'flow.end');
    expect(end).toMatchObject({ rule: 'seeders', bytes: 2 * 228, packets: 2, began: expect.any(String) });
    const { duration, unknown } = end as { duration: number; unknown: number };
    // It was decided within moments of its beginning, and not before it.
    expect(unknown).toBeLessThan(duration);
  });
  await writeFile(file, policy(SEEDERS).replace('queue seed', 'queue rest { share 1% }  queue seed'));
  expect((await gateway.headgate('reload')).status).toBe(0);
  await soon(() => expect(quiet.items.at(-1)).toMatchObject({ kind: 'policy', state: 'changed' }));
  expect(quiet.items.at(-1)).toMatchObject({
    queues: [{ name: 'local' }, { name: 'rest', number: 2 }, { name: 'seed' }],
  });
  expect(new Set(quiet.items.map(({ kind }) => kind))).toEqual(new Set(['stream', 'policy']));
  expect(flows(remote.items).map(({ kind }) => kind)).toEqual(['flow.new', 'flow.end']);

  // Whoever comes back goes on where he was, also by the browser's way of saying so.
  const { session } = all.items[0] as { session: string };
  const at = all.items.findIndex(({ kind }) => kind === 'flow.end');
  const { items, ended } = await read(`?since=${session}-${all.items[at]!.seq}&follow=0`);
  await ended;
  expect(items.slice(1)).toEqual(all.items.slice(at + 1));
  const sse = await get('/events?follow=0', {
    accept: 'text/event-stream',
    'last-event-id': `${session}-${all.items[at - 1]!.seq}`,
  });
  expect(sse.headers['content-type']).toBe('text/event-stream');
  let text = '';
  for await (const chunk of sse.setEncoding('utf8')) text += chunk;
  const frames = text.split('\n\n').slice(1, -1);
  expect(frames[0]).toBe(
    `id: ${session}-${all.items[at]!.seq}\nevent: flow.end\ndata: ${JSON.stringify(all.items[at])}`,
  );
  expect(frames.length).toBe(all.items.length - at);
  const other = await read('?since=00000000-4&follow=0');
  await other.ended;
  expect(other.items[1]).toMatchObject({ kind: 'gap', reason: 'restart' });

  const printed = await gateway.headgate(
    'events',
    '--no-follow',
    '--filter',
    'rule=seeders',
    '--filter',
    'kind=flow.new',
  );
  expect(printed).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\S+ flow\.new +udp .* rule seeders\n$/) });
  expect(await gateway.headgate('events', '--filter', 'colour=red')).toMatchObject({ status: 2 });
  expect(await gateway.headgate('events', '--since', 'x')).toMatchObject({ status: 2 });

  // A reload took nothing from who read through it.
  expectWhole(all.items);
  // A pipe that somebody has closed is no mistake; it shows with the next item.
  const script = '{ "$@"; echo "ended with $?" >&2; } | head -1';
  let short: Exit | undefined;
  const piped: [string, ...string[]] = ['sh', '-c', script, 'sh', ...HEADGATE, 'events', '--json', '--since', '0'];
  void exitOf(box.name, ...piped).then((exit) => (short = exit));
  await soon(async () => {
    await gateway.ask(inside, 'udp', WORLD, 5000);
    expect(short).toMatchObject({ stdout: expect.stringMatching(/^\{.*\}\n$/), stderr: 'ended with 0\n' });
  });

  for (const { close } of [remote, quiet]) close();
  const whole = gateway.events();
  await whole.line((line) => line.includes('"stream"'));
  expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
  // Who reads through a restart is told its end, and asks again by what it had last.
  await all.ended;
  expect(await whole.ended).toEqual({ status: 0, signal: null });
  const next = await gateway.up(file);
  const back = await read(`?since=${session}-${all.items.at(-1)!.seq}`);
  await soon(() => expect(back.items.some(({ kind }) => kind === 'ready')).toBe(true));
  expect(back.items[0]).not.toMatchObject({ session });
  expect(back.items[1]).toMatchObject({ kind: 'gap', reason: 'restart' });
  expect(back.items[2]).toMatchObject({ seq: 1 });
  expectWhole(back.items);
  for (const { close } of [all, back]) close();
  // No rule needs to follow flows now, and nobody reads of them.
  await soon(async () => expect((await gateway.status()).service).toMatchObject({ follows: [] }));
  const cut = gateway.events();
  await cut.line((line) => line.includes('"stream"'));
  await next.stop('SIGKILL');
  expect(await cut.ended).toEqual({ status: 6, signal: null });
}, 120_000);

it('tells a reader that stood still through a storm what it missed, and waits for nobody', async () => {
  const { box } = gateway;
  // What follows may take longer than an entry lives that nothing is heard of.
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
  const program = await gateway.up();
  const standing = await get('/events');
  // One that stands still, too, and goes without a word.
  const gone = gateway.events();
  await gone.line((line) => line.includes('"stream"'));
  process.kill(gone.pid!, 'SIGSTOP');
  const reading = await read('?since=0');
  await soon(() => expect(reading.items.some(({ kind }) => kind === 'resync')).toBe(true));
  await box.run(FLOWS, '30000', '0', '15000');
  // The pipeline has them all, whoever stands still; and who reads has come to the end.
  await soon(async () => {
    expect((await gateway.status()).service!.flows!.total).toBe(Number(await box.run('conntrack', '-C')));
    const now = await read('?kind=stream&follow=0');
    await now.ended;
    expect(now.items[0]).toMatchObject({ newest: reading.items.at(-1)!.seq });
  });
  expect(reading.items.at(-1)!.seq).toBeGreaterThan(30_000);

  const late = await read('', standing);
  await soon(() => expect(late.items.at(-1)?.seq).toBe(reading.items.at(-1)?.seq));
  const gaps = late.items.filter((item) => item.kind === 'gap');
  expect(gaps.length).toBeGreaterThan(0);
  for (const gap of gaps) expect(gap).toMatchObject({ reason: 'slow' });
  for (const { items } of [late, reading]) expectWhole(items);
  const readers = async () =>
    Number(/^headgate_stream_readers (\d+)/m.exec((await gateway.headgate('metrics')).stdout)?.[1]);
  expect(await readers()).toBe(3);
  await gone.stop('SIGKILL');
  await soon(async () => expect(await readers()).toBe(2));
  for (const { close } of [late, reading]) close();
  await soon(async () => expect((await gateway.status()).service).toMatchObject({ follows: [] }));
  expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
}, 120_000);

it('is read by `headgate events` no faster than what it prints is taken, and ends where nobody takes it', async () => {
  const { box } = gateway;
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
  const program = await gateway.up();
  // Nobody reads of what it prints until the storm is over.
  const client = () => start(['env', ...HEADGATE, 'events', '--json'], { netns: box.name });
  const readers = async () => (await gateway.headgate('metrics')).stdout;
  const [slow, never] = [client(), client()];
  await soon(async () => expect(await readers()).toMatch(/^headgate_stream_readers 2$/m));
  const before = await memoryOf(never.pid!);
  await box.run(FLOWS, '40000', '0', '20000');
  await soon(async () =>
    expect((await gateway.status()).service!.flows!.total).toBe(Number(await box.run('conntrack', '-C'))),
  );
  expect((await memoryOf(never.pid!)) - before).toBeLessThan(16e6);

  const items: MonitorItem[] = [];
  createInterface({ input: slow.stdout! }).on('line', (line) => items.push(JSON.parse(line)));
  await soon(() => expect(items.at(-1)?.seq).toBeGreaterThan(40_000));
  expect(items.find(({ kind }) => kind === 'gap')).toMatchObject({ reason: 'slow' });
  expectWhole(items);
  slow.kill('SIGINT');
  expect(await once(slow, 'exit')).toEqual([0, null]);

  const told = performance.now();
  never.kill('SIGTERM');
  expect(await once(never, 'exit')).toEqual([0, null]);
  expect(performance.now() - told).toBeLessThan(5000 * PATIENCE);
  expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
}, 120_000);
