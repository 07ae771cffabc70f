// What `check` says of a machine that cannot serve a word, asked of a namespace's own sysctls. Shown on 6.18.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Namespace } from '../../src/lab/index.ts';
import { exitOf, HEADGATE } from './gateway.ts';

const POLICY = `link wan { }
queue mine { share 50% }  queue bulk { share 5% }
rule bulk when bytes.in > 50MB or packets > 9 or age > 1h -> bulk
default local -> mine  remote -> bulk  new -> mine
`;
let box: Namespace;
let folder: string;
beforeAll(async () => {
  box = await Namespace.add('box');
  folder = await mkdtemp(join(tmpdir(), 'hg-unserved-'));
  await writeFile(join(folder, 'test.gate'), POLICY);
  // Conntrack's sysctls are there once something has asked for it.
  await box.feed('table inet t {\n  chain c {\n    ct state new\n  }\n}\n', 'nft', '-f', '-');
});
afterAll(async () => {
  await box?.del();
  await rm(folder, { recursive: true, force: true });
});

const found = async (...args: string[]): Promise<string[]> => {
  const { stdout, status } = await exitOf(box.name, ...HEADGATE, 'check', ...args, join(folder, 'test.gate'));
  expect(status).toBe(0);
  const { diagnostics, runs } = JSON.parse(stdout);
  return (diagnostics ?? runs[0].results).map((d: { code: string; message: string }) => `${d.code}: ${d.message}`);
};
const set = (acct: 0 | 1, timestamp: 0 | 1) =>
  box.run(
    ...['sysctl', '-qw', `net.netfilter.nf_conntrack_acct=${acct}`],
    `net.netfilter.nf_conntrack_timestamp=${timestamp}`,
  );

test('says once what each missing sysctl keeps from being served, and nothing where they are set', async () => {
  await set(0, 0);
  expect(await found('--json')).toEqual([
    'unserved: this machine cannot serve "bytes.in": net.netfilter.nf_conntrack_acct is 0',
    'unserved: this machine cannot serve "age": net.netfilter.nf_conntrack_timestamp is 0',
  ]);
  await set(1, 0);
  expect(await found('--json')).toHaveLength(1);
  await set(1, 1);
  expect(await found('--json')).toEqual([]);
});

test('says which users it does not have', async () => {
  await set(1, 1);
  const file = join(folder, 'user.gate');
  await writeFile(file, POLICY.replace('bytes.in > 50MB', 'user { root, nobody-of-that-name, 4242 }'));
  const { stdout } = await exitOf(box.name, ...HEADGATE, 'check', '--json', file);
  const { diagnostics } = JSON.parse(stdout);
  expect(diagnostics.map(({ message }: { message: string }) => message)).toEqual([
    'this machine cannot serve "user nobody-of-that-name": it has no user of that name',
  ]);
});

test('leaves the machine out of it where the file alone is asked about', async () => {
  await set(0, 0);
  expect(await found('--json', '--no-machine')).toEqual([]);
  expect(await found('--sarif')).toEqual([]);
});
