// The port of `up --web`: who gets an answer, and who none, by requests written byte for byte; a client that says nothing.
// Shown on the machine's own kernel (6.18).

import { mkdir, rmdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { getStatePath } from '../../src/kernel/index.ts';
import { Program, packageFile } from '../../src/lab/index.ts';
import { Gateway } from './gateway.ts';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
  await gateway.box.batch('link set lo up');
});
afterEach(() => gateway.close());

const RATES = ['--device', 'wan', '--download', '50mbit'] as const;

async function talk(port: string, requests: readonly string[], more: object = {}) {
  const given = JSON.stringify({ port: Number(port), requests, ...more });
  const out = await gateway.box.run(process.execPath, packageFile('test/kernel/web-asker.mjs'), given);
  return JSON.parse(out) as { answers: Answer[]; open: number; held?: boolean };
}

it('answers GET of this machine with its key, and nobody else', async () => {
  const file = join(gateway.folder, 'web.gate');
  await writeFile(
    file,
    'link wan { device wan  download 50mbit }\nqueue all { share 1% }\nrule ssh when tcp -> all\ndefault local -> all remote -> all new -> all\n',
  );
  const program = await gateway.up('--web', '127.0.0.1:0', file);
  const { url, tokenFile } = JSON.parse((await gateway.headgate('web', '--json')).stdout) as Record<string, string>;
  expect((await gateway.headgate('web')).stdout).toBe(`${url}\n`);
  const [, port = '', token = ''] = /^http:\/\/127\.0\.0\.1:(\d+)\/#([\w-]{43})$/.exec(url!) ?? [];
  // What the log says others may read.
  expect(program.output.join()).not.toContain(token);
  expect((await stat(tokenFile!)).mode & 0o077 & ~0o040).toBe(0);

  const request = (path: string, { method = 'GET', host = `127.0.0.1:${port}`, key = token, more = '' } = {}) =>
    `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${key && `Authorization: Bearer ${key}\r\n`}${more}\r\n`;
  const cases: readonly (readonly [what: string, status: number, text: string])[] = [
    ['the page, without a key', 200, request('/', { key: '' })],
    ['with the key', 200, request('/status')],
    ['by the other names of this machine, through a tunnel', 200, request('/service', { host: 'localhost:9' })],
    ['by IPv6 address', 200, request('/service', { host: '[::1]:9' })],
    ['from its own page', 200, request('/policy', { more: `Origin: http://127.0.0.1:${port}\r\n` })],
    ['no key', 401, request('/status', { key: '' })],
    ['a wrong key', 401, request('/status', { key: `${token.slice(0, -1)}!` })],
    ['a key that is too short', 401, request('/status', { key: 'x' })],
    ['a name that leads here by DNS', 421, request('/', { host: `evil.example:${port}` })],
    ['a name that looks like it', 421, request('/', { host: `127.0.0.1.evil.example:${port}` })],
    ['an empty name', 421, request('/', { host: '' })],
    ['a page from elsewhere', 403, request('/status', { more: 'Origin: http://evil.example\r\n' })],
    ['a page of another port', 403, request('/status', { more: 'Origin: http://127.0.0.1:1\r\n' })],
    ['no origin at all', 403, request('/status', { more: 'Origin: null\r\n' })],
    ['a change', 405, request('/reload', { method: 'POST' })],
    ['another', 405, request('/confirm', { method: 'POST' })],
    ['a deletion', 405, request('/status', { method: 'DELETE' })],
    ['a preflight', 405, request('/status', { method: 'OPTIONS' })],
    ['a change by GET', 404, request('/reload')],
    ['the key', 404, request('/web')],
    ['a path up', 404, request('/../../../etc/passwd')],
    ['a path up, written otherwise', 404, request('/..%2f..%2fetc%2fpasswd')],
    ['a name of every object', 404, request('/constructor')],
    ['a file that is there', 404, request('/page.ts')],
    ['no address', 404, request('//[')],
    ['a mistake', 409, request('/flows?where=nonsense')],
    ['headers without end', 431, request('/', { more: `X: ${'x'.repeat(10_000)}\r\n` })],
    ['no HTTP', 400, 'hello\r\n\r\n'],
  ];
  const { answers } = await talk(
    port,
    cases.map(([, , text]) => text),
  );
  expect(answers.map(({ status }, i) => [cases[i]![0], status])).toEqual(cases.map(([what, status]) => [what, status]));
  answers.forEach(({ status, headers, body }, i) => {
    if (status === 431 || status === 400) return;
    expect(headers, cases[i]![0]).toMatchObject({
      'content-security-policy': expect.stringMatching(/^default-src 'none'; .*frame-ancestors 'none'/),
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    });
    expect(Object.keys(headers).join(), cases[i]![0]).not.toMatch(/access-control|set-cookie/);
    expect(body, cases[i]![0]).not.toContain(token);
    if (status >= 400) expect(JSON.parse(body).error.hint).toBeTruthy();
  });
  const policy = JSON.parse(answers[4]!.body);
  expect(policy.texts[0].text).toContain('rule ssh');
  expect(policy.rules).toMatchObject([{ name: 'ssh', line: 3, hits: 0 }]);

  // As Prometheus asks.
  const [metrics] = (await talk(port, [request('/metrics')])).answers;
  expect(metrics!.body).toMatch(/^headgate_queue_bytes_total\{/m);

  // Who connects and says nothing makes room for who comes then, and takes no place from who has the key.
  const crowd = await talk(port, [request('/service')], { idle: 200, held: request('/events') });
  expect(crowd.answers[0]!.status).toBe(200);
  expect(crowd.held).toBe(true);
  expect(crowd.open).toBeLessThan(64);
  expect(await gateway.ping(3)).toBe(0);

  expect(await program.stop('SIGTERM')).toMatchObject({ status: 0 });
  await expect(stat(tokenFile!)).rejects.toThrow('ENOENT');
});

it('refuses what is not this machine alone, and a port that is taken, before anything is touched', async () => {
  const nothing = await gateway.snapshot();
  for (const at of [
    '0.0.0.0:8053',
    '[::]:8053',
    '192.0.2.1:8053',
    'localhost',
    '127.0.0.1',
    ':80',
    '127.0.0.1:70000',
  ]) {
    const { status, stderr } = await gateway.headgate('up', ...RATES, '--web', at);
    expect([at, status, stderr]).toEqual([at, 2, expect.stringContaining(`--web ${at}: `)]);
  }
  const script = "require('net').createServer().listen(8053, '::1', () => console.log('ready'))";
  const holder = Program.start('holder', [process.execPath, '-e', script], { netns: gateway.box.name });
  await holder.line((line) => line === 'ready');
  const taken = await gateway.headgate('up', ...RATES, '--web', '[::1]:8053');
  expect(taken).toMatchObject({ status: 4, stderr: expect.stringContaining('[::1]:8053: EADDRINUSE') });
  const low = await gateway.headgate('up', ...RATES, '--web', '127.0.0.1:80');
  expect(low).toMatchObject({ status: 4, stderr: expect.stringContaining('127.0.0.1:80: EACCES') });
  const token = await getStatePath('token', await gateway.box.getId());
  await mkdir(token);
  const folder = await gateway.headgate('up', ...RATES, '--web', '127.0.0.1:8053');
  expect(folder).toMatchObject({
    status: 3,
    stderr: expect.stringMatching(/cannot write below .* is a directory.*\.token/),
  });
  await rmdir(token);
  expect(await gateway.snapshot()).toBe(nothing);
  await holder.stop('SIGTERM');

  await gateway.up('--web', '[::1]:8053');
  const { stdout } = await gateway.headgate('web');
  expect(stdout).toMatch(/^http:\/\/\[::1\]:8053\/#/);
  const page = `GET / HTTP/1.1\r\nHost: [::1]:8053\r\nConnection: close\r\n\r\n`;
  expect((await talk('8053', [page], { host: '::1' })).answers[0]!.status).toBe(200);
});

it('says that there is no page where none was asked for', async () => {
  await gateway.up();
  expect(await gateway.headgate('web')).toMatchObject({ status: 1, stderr: expect.stringContaining('--web') });
});
