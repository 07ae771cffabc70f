// The guest is what it should be: Debian's kernel, with what the machine's own may lack, and a root that can be written.
// Shown on Linux 6.1 and 6.12.

import { existsSync, mkdtempSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Namespace } from '../../../src/lab/index.ts';

let ns: Namespace;
beforeEach(async () => {
  ns = await Namespace.add('box');
  await ns.run('ip', 'link', 'add', 'gate', 'type', 'ifb');
});
afterEach(() => ns.del());

test('it is a kernel of Debian', () => {
  expect(release()).toMatch(/^6\.(1\.0-\d+|12\.\d+\+deb13)-amd64$/);
});

test('files can be made', () => {
  expect(existsSync(mkdtempSync(join(tmpdir(), 'hg-')))).toBe(true);
});

test.each(['prio', 'sfq', 'fq_codel', 'cake', 'htb'])('it has qdisc %s', async (kind) => {
  await ns.run('tc', 'qdisc', 'add', 'dev', 'gate', 'root', 'handle', '1:', kind);
  const [qdisc] = JSON.parse(await ns.run('tc', '-json', 'qdisc', 'show', 'dev', 'gate'));
  expect(qdisc.kind).toBe(kind);
});

test.each(['ct', 'connmark', 'ctinfo'])('it has action %s', async (kind) => {
  await ns.run('tc', 'qdisc', 'add', 'dev', 'gate', 'clsact');
  const rule = ['protocol', 'ip', 'prio', '1', 'u32', 'match', 'u32', '0', '0', 'action', kind];
  await ns.run('tc', 'filter', 'add', 'dev', 'gate', 'ingress', ...rule, ...(kind === 'ctinfo' ? ['cpmark'] : []));
  expect(await ns.run('tc', 'filter', 'show', 'dev', 'gate', 'ingress')).toContain(kind);
});
