import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';

let bin: string;
beforeEach(() => {
  bin = mkdtempSync(join(tmpdir(), 'hg-setup-'));
});
afterEach(() => rmSync(bin, { recursive: true, force: true }));

const tool = (name: string, script: string) =>
  writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });

/** Runs setup with nothing on the PATH but what the test puts there. */
function setup(task: string, { node = [] as string[] } = {}) {
  const { status, stderr, stdout } = spawnSync(process.execPath, [...node, packageFile('src/setup/setup.mjs'), task], {
    encoding: 'utf8',
    env: { PATH: bin },
  });
  expect(stdout).toBe('');
  return { status, lines: stderr.trim().split('\n') };
}

it('names what is missing in one line where this is no Debian system', () => {
  const { status, lines } = setup('build');
  expect(status).toBe(3);
  expect(lines).toEqual([expect.stringMatching(/this is no Debian system; install what corresponds to: gcc /)]);
});

it('says what it installs before it does, and in one line why that failed', () => {
  tool('dpkg-query', 'echo "gcc installed"; echo "make config-files"');
  tool('env', 'echo "E: Unable to locate package" >&2; exit 100');
  const { status, lines } = setup('test');
  expect(status).toBe(3);
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/installing Debian packages: libc6-dev make .*conntrack/);
  expect(lines[1]).toMatch(/could not be installed: .* \(E: Unable to locate package\)$/);
});

it('refuses a Node that is too old', () => {
  const old = `Object.defineProperty(process.versions, 'node', { value: '18.19.0' })`;
  const { status, lines } = setup('demo', { node: ['--import', `data:text/javascript,${encodeURIComponent(old)}`] });
  expect([status, lines]).toEqual([3, ['headgate setup: Node 20.19 or later is needed, and this is 18.19.0.']]);
});

it('refuses to go on without root and without sudo', () => {
  const nobody = 'process.geteuid = () => 1000';
  const { status, lines } = setup('demo', { node: ['--import', `data:text/javascript,${encodeURIComponent(nobody)}`] });
  expect([status, lines]).toEqual([3, ['headgate setup: this needs root, and there is no sudo: run it as root.']]);
});

it('keeps what running needs apart from what the tests need', () => {
  const { run, test } = JSON.parse(readFileSync(packageFile('src/setup/packages.json'), 'utf8')) as Record<
    string,
    string[]
  >;
  expect(run!.filter((name) => test!.includes(name))).toEqual([]);
});

it('takes less than five seconds where everything is there', () => {
  const start = performance.now();
  const { status, stderr } = spawnSync(process.execPath, [packageFile('src/setup/setup.mjs'), 'build'], {
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
  expect(performance.now() - start).toBeLessThan(5000);
});
