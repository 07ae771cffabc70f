import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { getText, MAX_FILE_BYTES, readLines } from '../../src/kernel/index.ts';
import { packageFile } from '../../src/lab/index.ts';

const CLI = packageFile('dist/cli/headgate.js');
const POLICY = 'link wan { }\nqueue all { share 100% }\ndefault local -> all  remote -> all  new -> all\n';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hg-text-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const problem = async (file: string, read: (file: string) => Promise<unknown> = getText): Promise<string> =>
  read(file).then(
    () => 'none',
    (error: Error) => error.message,
  );

test('a regular file is read up to the bound, and refused beyond', async () => {
  const file = join(folder, 'a.gate');
  writeFileSync(file, Buffer.alloc(MAX_FILE_BYTES, '#'));
  expect((await getText(file)).length).toBe(MAX_FILE_BYTES);
  truncateSync(file, MAX_FILE_BYTES + 1);
  expect(await problem(file)).toContain('it has more than 16 MiB');
  writeFileSync(file, 'größe\r\n');
  expect(await getText(file)).toBe('größe\r\n');
  // Regular, of size 0, and with something in it.
  expect(await getText('/proc/self/status')).toContain('CapEff');
});

test('what is no regular file is refused at once', async () => {
  execFileSync('mkfifo', [join(folder, 'fifo')]);
  symlinkSync('/dev/zero', join(folder, 'zero'));
  symlinkSync('loop', join(folder, 'loop'));
  expect(await problem(join(folder, 'fifo'))).toContain('it is a FIFO');
  for (const device of ['/dev/zero', '/dev/null', join(folder, 'zero')])
    expect(await problem(device)).toContain('it is no regular file');
  expect(await problem(folder)).toContain('it is a folder');
  expect(await problem(join(folder, 'none'))).toContain('no such file');
  expect(await problem(join(folder, 'loop'))).toContain('in a circle');
  // Of a recording, too, which may be of any size.
  const first = (file: string) => readLines(file).next();
  expect(await problem(join(folder, 'fifo'), first)).toContain('it is a FIFO');
  expect(await problem('/dev/zero', first)).toContain('it is no regular file');
});

test('standard input and what a shell has opened are read to their end, or to the bound', async () => {
  const check = (script: string) => spawnSync('bash', ['-c', script, CLI], { encoding: 'utf8', input: POLICY });
  for (const script of [
    '"$0" check -',
    '"$0" check /dev/stdin',
    'cat | "$0" check -',
    `"$0" check <(cat <<<'${POLICY}')`,
  ]) {
    const { status, stderr } = check(script);
    expect([script, status, stderr]).toEqual([script, 0, '']);
  }
  for (const script of ['"$0" check - </dev/zero', '"$0" check <(cat /dev/zero)']) {
    const { status, stderr } = check(script);
    expect([script, status]).toEqual([script, 2]);
    expect(stderr).toContain('it has more than 16 MiB');
  }
});

test('a pipe that is written to late is waited for', async () => {
  const checking = spawn(process.execPath, [CLI, 'check', '-'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<number | null>((resolve) => checking.once('close', resolve));
  for (const line of POLICY.split('\n')) {
    checking.stdin.write(`${line}\n`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  checking.stdin.end();
  expect(await ended).toBe(0);
});
