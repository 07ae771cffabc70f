// A reload that is under way when headgate is told to stop, and one that is asked for while it goes down: neither builds
// anything that stays. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Program } from '../../src/lab/index.ts';
import { Faults } from './faults.ts';
import { Gateway } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

vi.setConfig({ testTimeout: 180_000 * PATIENCE });

/** The device of the link is all that changes: one that nobody watches yet. */
const policy = (device: string) => `link wan { device ${device}  download 50mbit  upload 20mbit }
queue mine { share 70% }  queue theirs { share 10% }
default local -> mine  remote -> theirs  new -> theirs
`;

let gateway: Gateway;
let faults: Faults;
let file: string;
let nothing: string;
let program: Program;
/** Names of devices that came and went. */
let told: string[];
beforeEach(async () => {
  gateway = await Gateway.build();
  faults = await Faults.build(gateway.folder);
  nothing = await gateway.snapshot();
  file = join(gateway.folder, 'test.gate');
  await writeFile(file, policy('wan'));
  program = await gateway.upIn([faults.path], file);
  await writeFile(file, policy('lan'));
  const monitor = Program.start('ip monitor', ['stdbuf', '-oL', 'ip', 'monitor', 'link'], { netns: gateway.box.name });
  told = [];
  monitor.onLine((line) => told.push(line));
});
afterEach(() => gateway.close());

const hit = () => soon(async () => expect(await faults.hit()).toBeDefined());

it.each([
  ['looks at what is there', 'tc -statistics -json filter show', 'headgate is being stopped'],
  ['makes an ifb', 'ip -batch', 'it took too long'],
])('SIGTERM while a reload %s: it comes to its end, and nothing is left', async (_, words, reason) => {
  await faults.set('hangs', 1, words);
  process.kill(program.pid!, 'SIGHUP');
  await hit();
  process.kill(program.pid!, 'SIGTERM');
  expect(await program.ended).toEqual({ status: 0, signal: null });
  expect(await faults.hit()).toContain(words);
  expect(program.output.join('\n')).toContain(reason);
  expect(await gateway.snapshot()).toBe(nothing);
});

it('SIGHUP on the way down: nothing is built', async () => {
  await faults.set('hangs', 1, 'tc -force -batch');
  process.kill(program.pid!, 'SIGTERM');
  await hit();
  process.kill(program.pid!, 'SIGHUP');
  expect(await program.ended).toEqual({ status: 0, signal: null });
  expect(await gateway.snapshot()).toBe(nothing);
  expect(told.join('\n')).toContain('hg-wan');
  expect(told.join('\n')).not.toContain('hg-lan');
});

/** Sixty, while the first reload looks at what is there, and is not answered. */
async function sendMany(): Promise<void> {
  await faults.set('hangs', 1, 'tc -statistics -json filter show');
  process.kill(program.pid!, 'SIGHUP');
  await hit();
  for (let sent = 0; sent < 60; sent++) {
    process.kill(program.pid!, 'SIGHUP');
    await sleep(5);
  }
}
const readings = () => program.output.filter((line) => line.includes('"state":"reading"')).length;

it('many SIGHUPs while a reload waits for its turn come to that one, which reads what is there then', async () => {
  await sendMany();
  await writeFile(file, policy('wan').replace('50mbit', '30mbit'));
  await program.line((line) => line.includes('"state":"changed"'), 60_000 * PATIENCE);
  expect((await gateway.link()).download!.queues[0]!.ceil).toBe(30e6);
  expect(readings()).toBe(1);
  process.kill(program.pid!, 'SIGHUP');
  await soon(() => expect(readings()).toBe(2));
});

it('many SIGHUPs, then SIGTERM: the stop waits for none of those that have not begun', async () => {
  await sendMany();
  process.kill(program.pid!, 'SIGTERM');
  expect(await program.ended).toEqual({ status: 0, signal: null });
  expect(readings()).toBe(1);
  expect(await gateway.snapshot()).toBe(nothing);
});
