import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';

const CLI = packageFile('dist/cli/headgate.js');
const help = (...args: string[]) => execFileSync(process.execPath, [CLI, ...args, '--help'], { encoding: 'utf8' });
const COMMANDS = [
  'up',
  'down',
  'reload',
  'confirm',
  'status',
  'events',
  'web',
  'check',
  'fmt',
  'explain',
  'plan',
  'compile',
  'doctor',
  'init',
  'lsp',
  'demo',
];

it('lists every command, and the exit statuses that docs/errors.md lists', () => {
  const text = help();
  for (const command of COMMANDS) expect(text).toMatch(new RegExp(`^  ${command} `, 'm'));
  const documented = [...readFileSync(packageFile('docs/errors.md'), 'utf8').matchAll(/^\| (\d+) \|/gm)].map(
    (m) => m[1]!,
  );
  for (const status of documented.filter((s) => s !== '70')) expect(text).toMatch(new RegExp(`\\b${status}  `));
});

it.each(COMMANDS)('%s --help has an example and says how it ends', (command) => {
  const text = help(command);
  expect(text).toMatch(/Examples?:\n.*headgate/);
  // What lsp says is JSON by itself, compile has it as one of its forms, and plan prints a script.
  if (!['lsp', 'compile', 'plan'].includes(command)) expect(text).toContain('--json');
  expect(text).toContain('Exit status');
});

it('answers wrong usage with status 2, and says where help is', () => {
  for (const args of [['frobnicate'], ['check'], ['status', 'extra']]) {
    const { status, stderr, stdout } = spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8' });
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^error: /);
    expect(stderr).toContain('--help');
  }
});

it('check says the number of links, queues and rules, and exits 1 for a policy with errors', () => {
  const check = (...args: string[]) => spawnSync(process.execPath, [CLI, 'check', ...args], { encoding: 'utf8' });
  expect(check(packageFile('rules/favour-local.gate')).stdout).toMatch(
    /favour-local\.gate: ok \(1 link, 3 queues, 0 rules\)\n$/,
  );
  const bad = spawnSync(process.execPath, [CLI, 'check', '-', '--json'], {
    encoding: 'utf8',
    input: 'queue a { share 200% }',
  });
  expect(bad.status).toBe(1);
  expect(JSON.parse(bad.stdout)).toMatchObject({ ok: false });
  expect(JSON.parse(bad.stdout).diagnostics.length).toBeGreaterThan(0);
});
