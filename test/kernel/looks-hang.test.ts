// Looks at the kernel that hang at the worst moment: after a reload has changed it, and while a device goes. What is said
// to be in force is in force. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import { Faults } from './faults.ts';
import { Gateway } from './gateway.ts';
import { PATIENCE } from './soon.ts';

vi.setConfig({ testTimeout: 240_000 * PATIENCE });

const policy = (download: string, queue: string) => `link wan { device wan  download ${download}  upload 20mbit }
queue mine { share 70% }  queue ${queue} { share 10% }
default local -> mine  remote -> ${queue}  new -> ${queue}
`;

let gateway: Gateway;
let faults: Faults;
let file: string;
let program: Program;
beforeEach(async () => {
  gateway = await Gateway.build();
  faults = await Faults.build(gateway.folder);
  file = join(gateway.folder, 'test.gate');
  await writeFile(file, policy('50mbit', 'theirs'));
  program = await gateway.upIn([faults.path], file);
});
afterEach(() => gateway.close());

/** Longer than a tool that hangs is waited for. */
const late = <T>(assertion: () => T | Promise<T>) =>
  vi.waitFor(assertion, { timeout: 60_000 * PATIENCE, interval: 250 });

it('at the trees that a reload has made: the new policy is in force, and the next reload goes on from there', async () => {
  await writeFile(file, policy('40mbit', 'seed'));
  // The first look is at the trees of before.
  await faults.set('hangs', 2, 'tc -details qdisc show dev hg-wan');
  expect((await gateway.headgate('reload')).status).toBe(0);
  expect(await faults.hit()).toContain('qdisc show');
  expect(program.output.join('\n')).toContain('what the trees are like');
  const { service, links } = await gateway.status();
  expect(service!.queues.map(({ name }) => name)).toEqual(['mine', 'seed']);
  expect(links[0]!.download!.queues[0]!.ceil).toBe(40e6);
  const built = await gateway.built();
  expect((await gateway.headgate('reload')).status).toBe(0);
  expect(await gateway.built()).toBe(built);
});

it('at what a reload has made: that is taken back', async () => {
  const built = await gateway.built();
  const lan = 'link lan { device lan  download 30mbit }\n';
  await writeFile(file, lan + policy('50mbit', 'theirs'));
  // Nothing else looks there.
  await faults.set('hangs', 1, 'filter show dev lan egress');
  const { status, stderr } = await gateway.headgate('reload');
  expect(await faults.hit()).toContain('dev lan egress');
  expect([status, stderr]).toEqual([5, expect.stringContaining('took too long')]);
  expect(await gateway.built()).toBe(built);
  expect((await gateway.headgate('reload')).status).toBe(0);
  expect((await gateway.status()).links.map(({ state }) => state)).toEqual(['steering', 'steering']);
});

it('while a device goes: its link is said to be absent nevertheless, and comes back', async () => {
  // The first look finds it gone, the second is for what was on it.
  await faults.set('hangs', 2, 'ip -json -details -statistics link show');
  await gateway.box.batch('link del wan');
  await late(async () => expect(await faults.hit()).toBeDefined());
  await late(() => expect(program.output.join('\n')).toContain('"state":"absent"'));
  expect(await gateway.built()).not.toContain('hg-wan');
  await gateway.layWan();
  await late(async () => expect((await gateway.link()).state).toBe('steering'));
  expect(await gateway.ping(5)).toBe(0);
});
