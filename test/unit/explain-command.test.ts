import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';

const CLI = packageFile('dist/cli/headgate.js');
const POLICY = `link wan { }
queue local { share 50% }
queue seed { share 5% }
rule seeders when origin remote and local.port in { 6881-6889, 51413 } -> seed
rule bulk when origin local and bytes.in > 50MB -> seed until rate.in < 1mbit
default local -> local  remote -> seed  new -> local
`;
const run = (...args: string[]) => spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8', input: POLICY });

test('explain says where a flow goes, and why, for people and as JSON', () => {
  const flow = 'tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local bytes.in 60MB age 40s';
  const text = run('explain', '-', '--flow', flow);
  expect([text.status, text.stderr]).toEqual([0, '']);
  expect(text.stdout).toContain('-> bulk');
  expect(text.stdout).toContain('bytes.in > 50MB (it is 60MB)');
  expect(text.stdout).toContain('queue seed, by rule bulk');
  const json = JSON.parse(run('explain', '-', '--json', '--flow', flow).stdout);
  expect(json).toMatchObject({ queue: 'seed', rule: 'bulk', facts: { local: { address: '10.0.0.5', port: 40000 } } });
  expect(json.rules[0]).toMatchObject({
    name: 'seeders',
    verdict: 'fails',
    change: [
      { text: 'origin remote', subject: 'origin', value: 'local', holds: false },
      { text: 'local.port in { 6881-6889, 51413 }', subject: 'local.port', value: '40000', holds: false },
    ],
  });
});

test('what does not do as it expects is explained and printed as data, and made no rules of', () => {
  const input = `${POLICY}expect tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local in seed\n`;
  const look = (...args: string[]) => spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8', input });
  const text = look('explain', '-', '--flow', 'tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local');
  expect(text.status).toBe(0);
  expect(text.stdout).toContain('queue local, the default of origin local');
  expect(text.stderr).toContain('[failed-expect]');
  expect(text.stderr).toContain('would not run');
  const json = look('compile', '-', '--to', 'json');
  expect([json.status, JSON.parse(json.stdout).rules.length]).toEqual([0, 2]);
  const nft = look('compile', '-', '--to', 'nft', '--device', 'eth0');
  expect([nft.status, nft.stdout]).toEqual([1, '']);
  const broken = spawnSync(process.execPath, [CLI, 'compile', '-', '--to', 'json'], {
    encoding: 'utf8',
    input: `${input}rule x when tcp -> sead\n`,
  });
  expect([broken.status, broken.stdout]).toEqual([1, '']);
});

test('explain answers a mistake in the flow as one in a policy, with status 1', () => {
  const { status, stdout, stderr } = run('explain', '-', '--flow', 'tcp 10.0.0.5:40000 -> 1.1.1.1:443 orgin local');
  expect([status, stdout]).toEqual([1, '']);
  expect(stderr).toContain('did you mean "origin"?');
});

test('compile prints the table, or the policy with its tiers and what it needs', () => {
  const nft = run('compile', '-', '--to', 'nft', '--device', 'eth0');
  expect(nft.status).toBe(0);
  expect(nft.stdout).toMatch(/^table inet headgate \{\n[\s\S]*\n\}\n$/);
  const json = JSON.parse(run('compile', '-', '--to', 'json').stdout);
  expect(json.rules.map((rule: { tier: { kind: string } }) => rule.tier.kind)).toEqual(['kernel', 'live']);
  expect(json.needs).toMatchObject({ counters: true, dns: false });
  // Where the device is not known there is no table, and nothing is printed.
  const without = run('compile', '-', '--to', 'nft');
  expect([without.status, without.stdout]).toEqual([2, '']);
  expect(without.stderr).toContain('device');
});
