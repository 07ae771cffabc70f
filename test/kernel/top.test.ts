// `headgate top` in a real terminal, that of tmux, beside a running service. Shown on the machine's own kernel (6.18: cls_bpf, HTB).

import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import { Gateway, HEADGATE, INSIDE, WAN, WORLD } from './gateway.ts';
import { soon } from './soon.ts';

let gateway: Gateway;
let service: Program;
let socket: string;
const tmux = (...args: string[]): Promise<string> => gateway.box.run('tmux', '-S', socket, '-f', '/dev/null', ...args);
const keys = (...names: string[]): Promise<string> => tmux('send-keys', '-t', 't', ...names);
const screen = (): Promise<string> => tmux('capture-pane', '-p', '-t', 't');
const shows = (what: RegExp | string) => soon(async () => expect(await screen()).toMatch(what));
/** Types a command; each has its own mark at its end, with the status. */
let typed = 0;
async function type(command: string): Promise<RegExp> {
  typed++;
  await keys('-l', `${command}; printf '\\nend ${typed}:%s\\n' $?`);
  await keys('Enter');
  return new RegExp(`^end ${typed}:(\\d+)`, 'm');
}
const TOP = HEADGATE.join(' ');

beforeAll(async () => {
  gateway = await Gateway.build();
  await gateway.box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1');
  socket = `${gateway.folder}/tmux`;
  await gateway.serve(gateway.world, 'udp', WORLD, 5000);
  await gateway.serve(gateway.inside, 'udp', INSIDE, 51413);
  service = await gateway.up('--device', 'wan', '--download', '2mbit', '--upload', '2mbit');
  await gateway.box.run(
    ...(['env', 'LC_ALL=C.UTF-8', 'PS1=$ ', 'tmux', '-S', socket, '-f', '/dev/null'] as const),
    ...['new-session', '-d', '-s', 't', '-x', '80', '-y', '24', 'sh'],
  );
});
afterAll(async () => {
  await tmux('kill-server').catch(() => '');
  await gateway.close();
});

/** What of the terminal a program could leave changed. */
async function modes(): Promise<string> {
  await shows(await type(`stty -a > ${gateway.folder}/modes`));
  // The number of rows and columns is another thing.
  const line = (await readFile(`${gateway.folder}/modes`, 'utf8')).replace(/rows.*/, '');
  return line + (await tmux('display-message', '-p', '-t', 't', '#{cursor_flag} #{alternate_on} #{wrap_flag}'));
}

it('shows queues and their rates, takes keys and another size, and gives the terminal back', async () => {
  const before = await modes();
  await keys('-l', 'clear');
  await keys('Enter');
  let end = await type(`echo was here; ${TOP} top`);
  await shows(/^headgate .* wan steering .*bpf/m);
  await shows(/^wan download .*rate .*waits$/m);
  await shows(/^local .*│.* 2mbit +0 +0 +0$/m);
  expect(await screen()).not.toContain('was here');
  await soon(async () => {
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 60_000);
    expect(await screen()).toMatch(/^local +█.* \d+(\.\d+)?[km]bit +2mbit/m);
  });

  // The flows that it asked for itself, by a condition, and what is no condition.
  await shows(/^udp 192\.0\.2\.2:5000 10\.0\.0\.2:\d+ +local +local /m);
  // By whatever they are sorted, their rates are there.
  await keys('s');
  await shows(/ +bytes +in +out$/m);
  await shows(/^udp 192\.0\.2\.2:5000 .* local +local +- +\d\S*B +\d\S*bit +\d\S*bit$/m);
  await keys('s', 's', 's');
  await keys('/');
  await keys('-l', 'remote.port 5001');
  await shows(/^where: remote\.port 5001_/m);
  await keys('Enter');
  await shows(/^no flow meets the condition/m);
  await keys('/', 'BSpace', '0', 'Enter');
  await shows(/^\d+ of \d+ flows/m);
  await shows(/^udp 192\.0\.2\.2:5000 /m);
  await keys('/', 'x', 'Enter');
  await shows(/^column 13: .* no unit/m);
  // Esc takes both away, the condition and what is wrong with it.
  await keys('Escape');
  await shows(/^q quit/m);
  await shows(/^\d+ flows/m);
  await keys('/');
  await shows(/^where: _/m);
  await keys('Escape');
  await shows(/^q quit/m);

  await keys('p');
  await shows(/^PAUSED/m);
  await keys('?');
  await shows(/any key: back/);
  await keys('x');
  await keys('p');
  await shows(/^headgate/m);
  await tmux('resize-window', '-t', 't', '-x', '40', '-y', '10');
  await shows(/^local +\d*\.?\d*k?m?bit$/m);
  await tmux('resize-window', '-t', 't', '-x', '120', '-y', '40');
  await shows(/^local .{60,}2mbit/m);
  await tmux('resize-window', '-t', 't', '-x', '80', '-y', '24');

  await keys('C-z');
  await shows(end);
  expect(await screen()).toContain('was here');
  end = await type('fg');
  await shows(/^wan download/m);
  await keys('q');
  await shows(end);
  expect(end.exec(await screen())![1]).toBe('0');
  expect(await screen()).toContain('was here');
  expect(await modes()).toBe(before);

  // Ended from outside it does the same.
  end = await type(`NO_COLOR=1 ${TOP} top`);
  await shows(/^wan download/m);
  expect(await tmux('capture-pane', '-e', '-p', '-t', 't')).not.toContain('\u001b[');
  const pid = Number((await gateway.box.run('pgrep', '-n', '-f', 'headgate.js top')).trim());
  process.kill(pid, 'SIGTERM');
  await shows(end);
  expect(await modes()).toBe(before);
});

it('is left at once, also while the service hangs, and ends when that says nothing', async () => {
  const { pid } = (await gateway.status()).service!;
  for (const key of ['q', undefined]) {
    const end = await type(`${TOP} top`);
    await shows(/^\d+ flows/m);
    process.kill(pid, 'SIGSTOP');
    try {
      if (key) await keys(key);
      await shows(end);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(end.exec(await screen())![1]).toBe(key ? '0' : '6');
  }
});

it('ends with the service, and says so on a terminal that is as it was; without a terminal it says what to do', async () => {
  const before = await modes();
  const end = await type(`${TOP} top`);
  await shows(/^wan download/m);
  await gateway.ask(gateway.world, 'udp', WAN, 51413);
  await service.stop('SIGTERM');
  await shows(end);
  expect(end.exec(await screen())![1]).toBe('6');
  expect(await screen()).toMatch(/headgate is not running/);
  expect(await modes()).toBe(before);
  const piped = await gateway.headgate('top');
  expect(piped.status).toBe(2);
  expect(piped.stderr).toMatch(/needs a terminal.*headgate status --json/s);
});
