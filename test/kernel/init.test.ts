// `headgate init` as a process on boxes of several shapes, each a network namespace of its own.

import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { start } from '../../src/kernel/index.ts';
import { addVeth, Namespace, Program } from '../../src/lab/index.ts';
import { parsePolicy } from '../../src/language/index.ts';
import { formatPrefix } from '../../src/model/index.ts';
import { type Exit, exitOf, HEADGATE } from './gateway.ts';

let box: Namespace;
let other: Namespace;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hg-test-'));
  [box, other] = [await Namespace.add('box'), await Namespace.add('other')];
});
afterEach(async () => {
  await Promise.all([box, other].map((ns) => ns.del()));
  await rm(folder, { recursive: true, force: true });
});

const init = (...args: string[]): Promise<Exit> => exitOf(box.name, ...HEADGATE, 'init', ...args);

/** What it prints, checked: there is nothing to say about it, and fmt would leave it as it is. */
async function written(...args: string[]) {
  const { status, stdout, stderr } = await init('-', ...args);
  expect([status, stderr]).toEqual([0, '']);
  const { policy, diagnostics } = parsePolicy(stdout, 'init.gate');
  expect(diagnostics).toEqual([]);
  const file = join(folder, 'written.gate');
  await writeFile(file, stdout);
  expect(await exitOf(box.name, ...HEADGATE, 'fmt', '--check', file)).toMatchObject({ status: 0 });
  return { text: stdout, policy: policy! };
}

/** A program that listens under a name, as /proc/PID/comm has it. */
async function listen(name: string, ...sockets: string[]): Promise<void> {
  const script = `
process.title = process.argv[1];
const { createServer } = require('node:net');
const { createSocket } = require('node:dgram');
Promise.all(process.argv.slice(2).map((socket) => new Promise((resolve) => {
  const [protocol, host, port] = socket.split(' ');
  if (protocol === 'tcp') createServer().listen(Number(port), host, resolve);
  else createSocket(host.includes(':') ? 'udp6' : 'udp4').bind(Number(port), host, resolve);
}))).then(() => console.log('ready'));
`;
  const program = Program.start(name, [process.execPath, '-e', script, name, ...sockets], { netns: box.name });
  await program.line((line) => line === 'ready');
}

describe('a router', () => {
  beforeEach(async () => {
    await addVeth(box, 'ppp0', other, 'up0');
    await addVeth(box, 'br-lan', other, 'eth0');
    await addVeth(box, 'guests', other, 'eth1');
    for (const [device, address] of [
      ['ppp0', '203.0.113.9/24'],
      ['br-lan', '192.168.1.1/24'],
      ['br-lan', 'fd00::1/64'],
      ['guests', '192.168.100.1/24'],
    ] as const)
      await box.run('ip', 'address', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : []));
    await box.run('ip', 'route', 'add', 'default', 'via', '203.0.113.1');
    await box.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
  });

  it('has networks behind it, somebody who logs in, and a torrent client', async () => {
    await listen('sshd', 'tcp 0.0.0.0 22', 'tcp 0.0.0.0 2222');
    await listen('transmission-da', 'tcp 0.0.0.0 50000', 'udp 0.0.0.0 50000', 'tcp 0.0.0.0 9091');
    await listen('nginx', 'tcp 0.0.0.0 443', 'tcp 127.0.0.1 8080');
    const { text, policy } = await written('--download', '95mbit', '--upload', '19mbit');
    expect(policy.links).toMatchObject([{ name: 'wan', device: 'ppp0', download: 95e6, upload: 19e6 }]);
    expect(text).toContain('set lan = { 192.168.1.0/24, fd00::/64, 192.168.100.0/24 }');
    expect(text).toContain('local.port in { 22, 2222 } -> local');
    expect(text).toContain('set torrent-ports = { 50000 }');
    expect(text).toContain('tcp 443 (nginx)');
    expect(text).not.toMatch(/9091|8080/);
    expect(policy.rules.map(({ name }) => name)).toEqual(['login', 'torrent', 'lookups', 'household']);
  });

  it('is written as it is told, whatever is found', async () => {
    const { policy } = await written(
      ...['--device', 'br-lan', '--download', '1gbit', '--upload', '20mbit'],
      ...['--lan', '10.0.0.0/8,fd01::/16', '--seed-ports', '6881-6889,51413', '--ssh-ports', ''],
    );
    expect(policy.links).toMatchObject([{ device: 'br-lan', download: 1e9, upload: 20e6 }]);
    const lan = policy.rules.find(({ name }) => name === 'household')!.when;
    expect(JSON.stringify(lan, (key, value) => (key === 'prefixes' ? value.map(formatPrefix) : value))).toContain(
      '"prefixes":["10.0.0.0/8","fd01::/16"]',
    );
    expect(policy.rules.map(({ name }) => name)).toEqual(['torrent', 'lookups', 'household']);
  });

  it('can be put to work as it was written', async () => {
    const file = join(folder, 'box.gate');
    expect(await init(file, '--download', '95mbit', '--upload', '19mbit')).toMatchObject({ status: 0 });
    const program = Program.start('headgate up', ['env', ...HEADGATE, 'up', '--json', file], { netns: box.name });
    await program.line((line) => line.includes('"kind":"ready"'), 20_000);
    expect(await box.run('tc', 'class', 'show', 'dev', 'hg-ppp0')).toContain('class htb 7fe0:4 ');
    expect((await program.stop('SIGTERM')).status).toBe(0);
  });
});

it('a host with one device: no networks, no queue for the router itself', async () => {
  await addVeth(box, 'eth0', other, 'up0');
  await box.run('ip', 'address', 'add', '192.0.2.5/24', 'dev', 'eth0');
  await box.run('ip', 'route', 'add', 'default', 'via', '192.0.2.1', 'metric', '100');
  const { text, policy } = await written();
  expect(policy.links).toMatchObject([{ device: 'eth0' }]);
  // A veth says that it runs at 10 Gbit/s.
  expect(policy.links[0]!.download).toBe(9.5e9);
  expect(text).toContain('95% of the speed of the card, 10gbit');
  expect(policy.queues.map(({ name }) => name)).toEqual(['local', 'new', 'remote']);
  expect(text).toContain('expect tcp 192.0.2.5:40000');
});

it('two ways out: the preferred one, and a word about the other', async () => {
  await addVeth(box, 'eth0', other, 'up0');
  await addVeth(box, 'wwan0', other, 'up1');
  await box.run('ip', 'address', 'add', '192.0.2.5/24', 'dev', 'eth0');
  await box.run('ip', 'address', 'add', '198.51.100.5/24', 'dev', 'wwan0');
  await box.run('ip', 'route', 'add', 'default', 'via', '198.51.100.1', 'metric', '700');
  await box.run('ip', 'route', 'add', 'default', 'via', '192.0.2.1', 'metric', '100');
  const { text, policy } = await written();
  expect(policy.links).toMatchObject([{ device: 'eth0' }]);
  expect(text).toContain('Other default routes lead to wwan0');
});

it('IPv6 alone', async () => {
  await addVeth(box, 'ens3', other, 'up0');
  await box.run('ip', 'address', 'add', '2001:db8::5/64', 'dev', 'ens3', 'nodad');
  await box.run('ip', '-6', 'route', 'add', 'default', 'via', '2001:db8::1', 'dev', 'ens3');
  await listen('sshd', 'tcp :: 22');
  const { text, policy } = await written();
  expect(policy.links).toMatchObject([{ device: 'ens3' }]);
  expect(text).toContain('expect tcp [2001:db8::5]:40000');
  expect(text).not.toMatch(/expect .*\d\.\d/);
});

it('nothing at all: still a whole policy, that says what it lacks', async () => {
  const { text, policy } = await written();
  expect(policy.links[0]!.device).toBeUndefined();
  expect(text).toContain('There is no default route here');
  expect(text).toContain('left out: download and upload');
});

describe('the file', () => {
  it('is written, and what to do next is said', async () => {
    const file = join(folder, 'my.gate');
    const exit = await init(file);
    expect(exit).toMatchObject({ status: 0, stdout: `${file} written\n` });
    expect(exit.stderr).toContain(`headgate check ${file}`);
    expect(exit.stderr).toContain(`sudo headgate up ${file} --device eth0 --download 95mbit --upload 19mbit`);
    expect(parsePolicy(await readFile(file, 'utf8'), file).diagnostics).toEqual([]);
  });

  it('is never written over, unless with --force, which keeps its mode', async () => {
    const file = join(folder, 'my.gate');
    await writeFile(file, 'mine', { mode: 0o640 });
    const exit = await init(file);
    expect([exit.status, exit.stdout, exit.stderr]).toEqual([4, '', expect.stringContaining('exists already')]);
    expect(await readFile(file, 'utf8')).toBe('mine');
    expect((await init(file, '--force')).status).toBe(0);
    expect(await readFile(file, 'utf8')).toContain('Written by headgate init');
    expect((await stat(file)).mode & 0o777).toBe(0o640);
  });

  it('that cannot be written is an error that leaves nothing', async () => {
    await mkdir(join(folder, 'folder'));
    expect(await init(join(folder, 'none', 'my.gate'))).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining('its folder does not exist'),
    });
    expect(await init(join(folder, 'folder'), '--force')).toMatchObject({ status: 2, stdout: '' });
  });

  it('is told as JSON', async () => {
    const file = join(folder, 'my.gate');
    const { stdout, stderr } = await init(
      file,
      '--json',
      '--device',
      'eth7',
      '--download',
      '5mbit',
      '--seed-ports',
      '1,3-4',
    );
    expect(stderr).toContain('there is no device eth7 here');
    expect(JSON.parse(stdout)).toEqual({
      file,
      device: 'eth7',
      download: 5e6,
      lan: [],
      seedPorts: ['1', '3-4'],
      sshPorts: [],
    });
  });
});

it.each([
  [['--device', 'a/b'], 'no device can be called that'],
  [['--device', 'a"b'], 'no device can be called that'],
  [['--download', '12'], 'that is no rate'],
  [['--upload', '1bit'], 'makes no good policy'],
  [['--lan', '10.0.0.1/8'], 'write 10.0.0.0/8'],
  [['--lan', 'home'], 'that is no prefix'],
  [['--seed-ports', '0'], 'these are no ports'],
  [['--seed-ports', '9-1'], 'these are no ports'],
  [['--seed-ports', '1-65535'], 'at most 1000'],
])('%j is wrong usage', async (args, problem) => {
  const file = join(folder, 'my.gate');
  const exit = await init(file, ...args);
  expect([exit.status, exit.stdout, exit.stderr]).toEqual([2, '', expect.stringContaining(problem)]);
  await expect(stat(file)).rejects.toThrow('ENOENT');
});

it('asks on a terminal, and takes what it found for an Enter', async () => {
  await addVeth(box, 'eth0', other, 'up0');
  await box.run('ip', 'address', 'add', '192.0.2.5/24', 'dev', 'eth0');
  await box.run('ip', 'route', 'add', 'default', 'via', '192.0.2.1');
  const file = join(folder, 'my.gate');
  const said = await converse(file, ['', 'fast', '95mbit', '19mbit', '6881-6889']);
  expect(said).toContain('Device of the link [eth0]');
  expect(said).toContain('that is no rate');
  const { policy } = parsePolicy(await readFile(file, 'utf8'), file);
  expect(policy!.links).toMatchObject([{ device: 'eth0', download: 95e6, upload: 19e6 }]);
  expect(policy!.rules.map(({ name }) => name)).toEqual(['torrent']);
});

it('writes nothing where the conversation is broken off', async () => {
  const file = join(folder, 'my.gate');
  expect(await converse(file, ['eth0', '\u0003'])).toContain('nothing was written');
  await expect(stat(file)).rejects.toThrow('ENOENT');
});

/** Runs init on a terminal, which script(1) lends it, and answers its questions. Returns all that was said. */
async function converse(file: string, answers: readonly string[]): Promise<string> {
  const command = `'${HEADGATE.join("' '")}' init '${file}'`;
  const child = start(['script', '-qec', command, '/dev/null'], { netns: box.name });
  let said = '';
  let question = '';
  const left = [...answers];
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
    // A question may come in pieces, its cursor movements last: each is answered once.
    question = (question + chunk).replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '');
    if (!/\S: $/.test(question) || left.length === 0) return;
    question = '';
    child.stdin!.write(`${left.shift()}\r`);
  });
  await new Promise((resolve) => child.on('close', resolve));
  expect(left).toEqual([]);
  return said;
}
