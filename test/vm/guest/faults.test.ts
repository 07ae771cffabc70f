// Kernel modules that were there when Headgate asked what this kernel can do, and are gone when it needs them. Shown on
// Linux 6.1 and 6.12.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../../../src/kernel/index.ts';
import type { Program } from '../../../src/lab/index.ts';
import { Gateway } from '../../kernel/gateway.ts';
import { PATIENCE } from '../../kernel/soon.ts';
import { forgetFindings, giveModulesBack, takeModule } from './modules.ts';

let gateway: Gateway;
let program: Program | undefined;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(async () => {
  await program?.stop('SIGTERM');
  program = undefined;
  await giveModulesBack();
  await gateway.close();
});
afterAll(forgetFindings);

const policy = async (link: string, leaf: string): Promise<string> => {
  const file = join(gateway.folder, 'test.gate');
  await writeFile(
    file,
    `link wan { device wan  download 20mbit ${link} }\nqueue q { share 50%  leaf ${leaf} }\ndefault local -> q  remote -> q  new -> q\n`,
  );
  return file;
};
const said = (text: string) => program!.line((line) => line.includes(text), 20_000 * PATIENCE);
/** Packets that have arrived through the one queue. */
const queued = async () => (await gateway.link()).download!.queues[0]!.packets;

test('while it runs: what is in use stays, a leaf that cannot be had leaves all as it was, a device that comes back is not blocked', async () => {
  program = await gateway.up(await policy('', 'fq_codel'));
  for (const module of ['act_mirred', 'cls_bpf', 'sch_htb'])
    await expect(run(['modprobe', '-r', module])).rejects.toThrow('in use');

  await takeModule('sch_sfq');
  const before = await gateway.snapshot();
  await policy('', 'sfq');
  expect(await gateway.headgate('reload')).toMatchObject({ status: 5, stderr: expect.stringContaining('sfq') });
  expect(await gateway.snapshot()).toBe(before);

  await gateway.box.run('ip', 'link', 'del', 'wan');
  await said('"state":"absent"');
  await takeModule('cls_bpf');
  await gateway.layWan();
  await said('"reason":"wan is back, but: ');
  expect(await gateway.ping(5)).toBe(0);
  await giveModulesBack();
  // Any news of it is the next try.
  await gateway.box.run('ip', 'link', 'set', 'wan', 'mtu', '1400');
  await said('"reason":"wan is back"');
  expect(await gateway.ping(5)).toBe(0);
  expect(await queued()).toBeGreaterThanOrEqual(5);
});

test('while it runs: with its module the ifb goes, and so does the redirect', async () => {
  const before = await gateway.snapshot();
  program = await gateway.up(await policy('', 'fq_codel'));
  await run(['modprobe', '-r', 'ifb']);
  await said('"state":"open"');
  expect(await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).toBe('');
  expect(await gateway.ping(5)).toBe(0);
  await program.stop('SIGTERM');
  program = undefined;
  expect(await gateway.snapshot()).toBe(before);
});

test('between two runs: up asks the kernel again, and takes the next datapath', async () => {
  const before = await gateway.snapshot();
  await (await gateway.up(await policy('', 'fq_codel'))).stop('SIGTERM');
  await takeModule('cls_bpf');
  program = await gateway.up(await policy('', 'fq_codel'));
  expect((await gateway.status()).service!.datapath).toBe('ct');
  expect(await gateway.ping(5)).toBe(0);
  expect(await queued()).toBeGreaterThanOrEqual(5);
  await program.stop('SIGTERM');
  program = undefined;
  expect(await gateway.snapshot()).toBe(before);
});

test('between two runs: where nothing else would do, up says what is missing, and leaves nothing', async () => {
  await gateway.headgate('doctor');
  const before = await gateway.snapshot();
  await takeModule('sch_cake');
  const file = await policy('tree cake', 'fq_codel');
  // A service that has no right to ask the kernel again forgets what was found, and the next start asks.
  expect([3, 5]).toContain((await gateway.headgate('up', file)).status);
  expect(await gateway.snapshot()).toBe(before);
  const exit = await gateway.headgate('up', file);
  expect(exit).toMatchObject({ status: 3, stderr: expect.stringContaining('this kernel cannot do tree cake') });
  expect(await gateway.snapshot()).toBe(before);
});
