// `headgate capture` beside a running service, read again by tcpdump. Shown on the machine's own kernel (6.18: cls_bpf, HTB).

import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { start } from '../../src/kernel/index.ts';
import { Program } from '../../src/lab/index.ts';
import { exitOf, Gateway, HEADGATE, INSIDE, WAN, WORLD } from './gateway.ts';
import { soon } from './soon.ts';

let gateway: Gateway;
beforeAll(async () => {
  gateway = await Gateway.build();
  await gateway.serve(gateway.world, 'udp', WORLD, 5000);
  await gateway.serve(gateway.inside, 'udp', INSIDE, 51413);
  await gateway.up();
});
afterAll(() => gateway.close());

/** What a capture of these arguments has written to a new file when `act` is done, as tcpdump reads it. */
async function captured(act: () => Promise<void>, ...args: string[]): Promise<{ lines: string[]; said: unknown }> {
  const file = join(gateway.folder, 'queue.pcap');
  await rm(file, { force: true });
  const argv = ['env', ...HEADGATE, 'capture', ...args, '--write', file, '--json'] as const;
  const program = Program.start('headgate capture', argv, { netns: gateway.box.name });
  // The header is there before the first packet is asked for.
  await soon(async () => expect((await readFile(file).catch(() => '')).length).toBeGreaterThanOrEqual(24));
  const said = program.line((line) => line.startsWith('{'));
  await act();
  const read = async () => (await gateway.box.run('tcpdump', '-n', '-r', file)).split('\n').filter(Boolean);
  let lines = await read();
  await soon(async () => {
    const before = lines.length;
    lines = await read();
    expect(lines.length).toBe(before);
  });
  expect(await program.stop('SIGINT')).toEqual({ status: 0, signal: null });
  return { lines: await read(), said: JSON.parse(await said) };
}

const askOut = (times = 1) => repeat(times, () => gateway.ask(gateway.inside, 'udp', WORLD, 5000));
const askIn = (times = 1) => repeat(times, () => gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000));
async function repeat(times: number, act: () => Promise<void>): Promise<void> {
  for (let i = 0; i < times; i++) await act();
}

it('copies what one queue sends, both ways, and nothing else; the queues count what they count', async () => {
  await askIn();
  const { lines, said } = await captured(async () => {
    await askOut(2);
    await askIn(2);
  }, 'remote');
  expect(said).toMatchObject({ packets: 4, dropped: 0, reason: 'stopped' });
  expect(lines).toHaveLength(4);
  for (const line of lines) expect(line).toMatch(/\.(7000 > \S+\.51413|51413 > \S+\.7000): .*\(200\)/);
  const { packets } = (await gateway.link()).download!;
  expect(packets).toMatchObject({ local: 2, remote: 2, new: 1 });
});

it('of one direction, with a filter, and so much of each packet', async () => {
  const act = async () => {
    await askOut();
    await gateway.ping(2);
  };
  const answers = await captured(act, 'local', '--download', '--snaplen', '28');
  expect(answers.lines).toHaveLength(3);
  for (const line of answers.lines) expect(line).toMatch(new RegExp(`IP ${WORLD.replaceAll('.', '\\.')}`));
  const size = (await readFile(join(gateway.folder, 'queue.pcap'))).length;
  // pcap's header, and three times a packet's, that of the link layer (SLL2), and 28 bytes.
  expect(size).toBe(24 + 3 * (16 + 20 + 28));
  const pings = await captured(act, 'local', 'icmp');
  expect(pings.lines).toHaveLength(4);
});

it('says what is wrong, where, and what there is', async () => {
  const unknown = await gateway.headgate('capture', 'sead');
  expect(unknown).toMatchObject({ status: 3 });
  expect(unknown.stderr).toMatch(/no queue sead .*\n.*Queues here: local, new, remote/);
  const here = await gateway.headgate('capture', 'local', '--link', 'lan', '--upload');
  expect(here.stderr).toMatch(/no queue local in the kernel, for what leaves, of a link lan.*\n.*Queues here: none/);
  const there = await gateway.headgate('capture', 'local', '--write', join(gateway.folder, 'queue.pcap'));
  expect(there).toMatchObject({ status: 4 });
  expect(there.stderr).toMatch(/queue\.pcap/);
  for (const wrong of [
    ['--snaplen', '0'],
    ['--write', '-'],
  ])
    expect(await gateway.headgate('capture', 'local', ...wrong)).toMatchObject({ status: 2 });
  const filter = await gateway.headgate(
    'capture',
    'local',
    '--write',
    join(gateway.folder, 'none'),
    'bogus',
    'filter (',
  );
  expect(filter).toMatchObject({ status: 2 });
  expect(filter.stderr).toMatch(/filter "bogus filter \(": .*syntax error\n/);
  expect(existsSync(join(gateway.folder, 'none'))).toBe(false);
});

it('ends when nobody reads any more, and when the device goes', async () => {
  const argv = ['env', ...HEADGATE, 'capture', 'local'] as const;
  const unread = start(argv, { netns: gateway.box.name });
  await once(unread.stdout!, 'data');
  unread.stdout!.destroy();
  expect(await once(unread, 'exit')).toEqual([0, null]);
  const gone = start(argv, { netns: gateway.box.name });
  let said = '';
  gone.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text));
  await once(gone.stdout!, 'data');
  const closed = once(gone, 'close');
  await gateway.box.run('ip', 'link', 'del', 'hg-wan');
  expect(await closed).toEqual([0, null]);
  expect(said).toContain('went');
});

it('ends with the command that has started it, also by kill -9, with and without a filter between', async () => {
  const captures = async () => {
    const pids = (await gateway.box.run('ip', 'netns', 'pids', gateway.box.name)).split('\n').filter(Boolean);
    const names = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')));
    return names.filter((name) => /^(capture|tcpdump)\n$/.test(name)).length;
  };
  for (const filter of [[], ['udp']]) {
    const file = join(gateway.folder, 'killed.pcap');
    const argv = ['env', ...HEADGATE, 'capture', 'local', ...filter, '--write', file, '--force'] as const;
    const program = Program.start('headgate capture', argv, { netns: gateway.box.name });
    await soon(async () => expect((await readFile(file).catch(() => '')).length).toBeGreaterThanOrEqual(24));
    expect(await captures()).toBe(1 + filter.length);
    expect(await program.stop('SIGKILL')).toEqual({ status: null, signal: 'SIGKILL' });
    await soon(async () => expect(await captures()).toBe(0));
    await rm(file);
  }
});

/** Writes onto a disk of 64 kB that nobody else sees, and keeps what is there in the end: `sh -c … DISK KEPT COMMAND …`. */
const SMALL_DISK = [
  ...['kept=$1; shift; mount -t tmpfs -o size=64k none "$0" && "$@" --write "$0/f.pcap"'],
  ...['status=$?; cp "$0/f.pcap" "$kept"; exit $status'],
].join('\n');

it.each([[[]], [['tcp']]])('says that the disk is full, with the filter %j', async (filter: string[]) => {
  const [disk, kept] = [join(gateway.folder, 'disk'), join(gateway.folder, 'kept.pcap')];
  await mkdir(disk, { recursive: true });
  const inside = ['unshare', '--mount', 'sh', '-c', SMALL_DISK, disk, kept] as const;
  const full = exitOf(gateway.box.name, ...inside, ...HEADGATE, 'capture', 'local', ...filter, '--json');
  let ended = false;
  void full.then(() => (ended = true));
  await gateway.serve(gateway.world, 'tcp', WORLD, 5000 + filter.length);
  await soon(async () => {
    await gateway.ask(gateway.inside, 'tcp', WORLD, 5000 + filter.length, 100_000);
    expect(ended).toBe(true);
  });
  const { status, stderr } = await full;
  const { code, problem } = JSON.parse(stderr.split('\n').find((line) => line.startsWith('{'))!).error;
  expect([status, code]).toEqual([2, 'HG_WRITE']);
  const read = (await exitOf(undefined, 'tcpdump', '-n', '-r', kept)).stdout.split('\n').length - 1;
  const [, whole] = /^(?:No space left on device; (\d+) packets are whole in it|the disk is full)$/.exec(problem)!;
  expect(read).toBeGreaterThanOrEqual(Number(whole ?? 0));
  // As large as offloads make them: few fill it.
  expect(read).toBeGreaterThan(0);
});
