import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';

const CLI = packageFile('dist/cli/headgate.js');
const UNTIDY = '\ufeffqueue a{share 5%}\nqueue bb{share 6%}';
const TIDY = 'queue a  { share 5% }\nqueue bb { share 6% }\n';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'headgate-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const fmt = (args: readonly string[], input = '') =>
  spawnSync(process.execPath, [CLI, 'fmt', ...args], { encoding: 'utf8', input, cwd: folder });
const put = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const read = (name: string) => readFileSync(join(folder, name), 'utf8');

describe('headgate fmt', () => {
  test('writes in place, keeps the mode, leaves nothing beside, and says which files it changed', () => {
    chmodSync(put('a.gate', UNTIDY), 0o640);
    put('b.gate', TIDY);
    const before = statSync(join(folder, 'b.gate'));
    const { status, stdout, stderr } = fmt(['a.gate', 'b.gate']);
    expect([status, stdout, stderr]).toEqual([0, '', 'a.gate: laid out\n']);
    expect(read('a.gate')).toBe(TIDY);
    expect(statSync(join(folder, 'a.gate')).mode & 0o7777).toBe(0o640);
    expect(statSync(join(folder, 'b.gate'))).toMatchObject({ ino: before.ino, mtimeMs: before.mtimeMs });
    expect(readdirSync(folder).sort()).toEqual(['a.gate', 'b.gate']);
    expect(fmt(['a.gate', 'b.gate'])).toMatchObject({ status: 0, stderr: '' });
  });

  test('keeps line ends', () => {
    put('a.gate', UNTIDY.replace('\n', '\r\n'));
    expect(fmt(['a.gate']).status).toBe(0);
    expect(read('a.gate')).toBe(TIDY.replaceAll('\n', '\r\n'));
    expect(fmt(['--check', 'a.gate']).status).toBe(0);
  });

  test('writes through a symbolic link', () => {
    put('real.gate', UNTIDY);
    symlinkSync('real.gate', join(folder, 'link.gate'));
    expect(fmt(['link.gate']).status).toBe(0);
    expect(lstatSync(join(folder, 'link.gate')).isSymbolicLink()).toBe(true);
    expect(read('real.gate')).toBe(TIDY);
  });

  test('--check writes nothing and shows what would change, fit for a terminal', () => {
    put('a.gate', 'queue a { share 5% }\n# why\r\n');
    const { status, stdout } = fmt(['--check', 'a.gate']);
    expect(status).toBe(1);
    expect(stdout).toBe('--- a.gate\n+++ a.gate\n@@ -2 +2 @@\n-# why␍\n+# why\n');
    expect(read('a.gate')).toBe('queue a { share 5% }\n# why\r\n');
    put('a.gate', TIDY);
    expect(fmt(['--check', 'a.gate'])).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });

  test('leaves a file with mistakes of form as it is, shows them, and goes on with the others', () => {
    put('bad.gate', 'queue  a { share 5%');
    put('good.gate', UNTIDY);
    const { status, stderr } = fmt(['bad.gate', 'good.gate']);
    expect(status).toBe(1);
    expect(stderr).toContain('bad.gate:1:10: error: ');
    expect(read('bad.gate')).toBe('queue  a { share 5%');
    expect(read('good.gate')).toBe(TIDY);
  });

  test('bytes that are no UTF-8 are left as they are', () => {
    writeFileSync(join(folder, 'a.gate'), Buffer.from([0x23, 0x20, 0xe9, 0x0a, 0x0a, 0x0a]));
    expect(fmt(['a.gate'])).toMatchObject({ status: 1, stderr: expect.stringContaining('[not-utf8]') });
    expect([...readFileSync(join(folder, 'a.gate'))]).toEqual([0x23, 0x20, 0xe9, 0x0a, 0x0a, 0x0a]);
  });

  test('- reads standard input and prints; of a broken text nothing', () => {
    expect(fmt(['-'], UNTIDY)).toMatchObject({ status: 0, stdout: TIDY });
    expect(fmt(['-'], TIDY)).toMatchObject({ status: 0, stdout: TIDY });
    expect(fmt(['-'], 'queue')).toMatchObject({ status: 1, stdout: '' });
  });

  test('a file that is not there, or cannot be replaced: status 2, and the others are laid out', () => {
    const long = `${'a'.repeat(250)}.gate`;
    put(long, UNTIDY);
    put('good.gate', UNTIDY);
    const { status, stderr } = fmt(['nowhere.gate', long, 'good.gate']);
    expect(status).toBe(2);
    expect(stderr).toContain('cannot read nowhere.gate: no such file');
    expect(stderr).toContain(`cannot write ${long}`);
    expect(read(long)).toBe(UNTIDY);
    expect(read('good.gate')).toBe(TIDY);
    expect(readdirSync(folder).sort()).toEqual([long, 'good.gate'].sort());
  });

  test('--json says of each file what became of it', () => {
    put('a.gate', UNTIDY);
    put('bad.gate', 'queue');
    const { status, stdout } = fmt(['--json', 'a.gate', 'bad.gate']);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      files: [
        { file: 'a.gate', changed: true, diagnostics: [] },
        { file: 'bad.gate', changed: false, diagnostics: [{ severity: 'error', code: 'expected' }] },
      ],
    });
    expect(JSON.parse(fmt(['--json', 'a.gate']).stdout)).toEqual({
      ok: true,
      files: [{ file: 'a.gate', changed: false, diagnostics: [] }],
    });
  });
});
