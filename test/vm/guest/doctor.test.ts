// `headgate doctor` on a kernel that has everything as modules, and where some are missing, forbidden or hang. Shown on
// Linux 6.1.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { addVeth, Namespace, Program } from '../../../src/lab/index.ts';
import { CAPABILITY_NAMES } from '../../../src/model/index.ts';
import { exitOf, HEADGATE } from '../../kernel/gateway.ts';
import { PATIENCE } from '../../kernel/soon.ts';
import { forgetFindings, giveModulesBack, replaceModule, takeModule } from './modules.ts';

const SLEEP = ['/bin/sleep', '98765'];

let box: Namespace;
let world: Namespace;
beforeEach(async () => {
  box = await Namespace.add('box');
  world = await Namespace.add('world');
  await addVeth(box, 'wan', world, 'up0');
});
afterEach(async () => {
  await giveModulesBack();
  for (const pid of await readdir('/proc')) {
    const command = await readFile(join('/proc', pid, 'cmdline'), 'utf8').catch(() => '');
    if (command === `${SLEEP.join('\0')}\0`) process.kill(Number(pid), 'SIGKILL');
  }
  await Promise.all([box?.del(), world?.del()]);
});
afterAll(forgetFindings);

interface Told {
  readonly takes?: string;
  readonly datapaths: readonly { readonly name: string; readonly answer: string }[];
  readonly capabilities: Readonly<Record<string, { answer: string; why?: string; enable?: string }>>;
}

async function doctor(...args: string[]): Promise<Told> {
  const { stdout, stderr } = await exitOf(box.name, ...HEADGATE, 'doctor', '--json', ...args);
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}
const answers = ({ datapaths }: Told) => Object.fromEntries(datapaths.map(({ name, answer }) => [name, answer]));
const missing = ({ capabilities }: Told) =>
  CAPABILITY_NAMES.filter((name) => capabilities[name]!.answer !== 'yes').map((name) => [
    name,
    capabilities[name]!.answer,
  ]);

test('a stock kernel can do everything', async () => {
  const told = await doctor('--fresh');
  expect(missing(told)).toEqual([]);
  expect(answers(told)).toEqual({ bpf: 'yes', ct: 'yes', mark: 'yes', map: 'yes' });
  expect(told.takes).toBe('bpf');
});

test('a module that does not load, or may not, is named, and nothing else is lost', async () => {
  await takeModule('act_ct');
  await replaceModule('sch_cake', '/bin/false');
  const told = await doctor('--fresh');
  expect(missing(told)).toEqual([
    ['qdisc cake', 'no'],
    ['classifier flower ct_state', 'unknown'],
    ['action ct', 'no'],
  ]);
  expect(told.capabilities['action ct']!.enable).toMatch(/CONFIG_NET_ACT_CT; module act_ct is installed/);
  expect(told.capabilities['qdisc cake']!.enable).toMatch(/module sch_cake is there.*install \/bin\/false/);
  expect(answers(told)).toEqual({ bpf: 'yes', ct: 'no', mark: 'yes', map: 'yes' });
});

test('without the best datapath, up takes the next one', async () => {
  await takeModule('cls_bpf');
  const told = await doctor('--fresh');
  expect(missing(told)).toEqual([['classifier bpf', 'no']]);
  expect(told.takes).toBe('ct');
  const rates = ['--device', 'wan', '--download', '5mbit', '--upload', '5mbit'];
  const up = Program.start('headgate up', ['env', ...HEADGATE, 'up', '--json', ...rates], { netns: box.name });
  const ready = await up.line((line) => line.includes('"kind":"ready"'), 60_000 * PATIENCE);
  expect(JSON.parse(ready).datapath).toBe('ct');
  await up.stop('SIGTERM');
});

test('a module that never comes is given up, is not taken for missing, and is asked for again', async () => {
  await replaceModule('act_police', ...SLEEP);
  const told = await doctor('--fresh');
  expect(missing(told)).toEqual([['action police', 'unknown']]);
  expect(told.capabilities['action police']!.why).toMatch(/hung/);
  expect(told.takes).toBe('bpf');
  await giveModulesBack();
  expect(missing(await doctor())).toEqual([]);
});
