// `--confirm`: what is not confirmed in time is taken back, by real processes under traffic. Shown on the machine's own
// kernel (6.18: cls_bpf, HTB, bfifo).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import { Gateway } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

// Some start headgate three times.
vi.setConfig({ testTimeout: 240_000 * PATIENCE });

let gateway: Gateway;
let file: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
});
afterEach(() => gateway.close());

const policy = (download: string) => `link wan { device wan  download ${download} }
queue mine { share 70% }  queue theirs { share 10% }
default local -> mine  remote -> theirs  new -> theirs
`;
/** Longer than any machine takes to start a command. */
const LONG = '1h';
/** As long as a test may have to wait for it. */
const SHORT = `${2 * PATIENCE}s`;

const itemsOf = (program: Program): string[] => {
  const items = [...program.output];
  program.onLine((line) => items.push(line));
  return items;
};
const states = (items: readonly string[]) =>
  items.filter((line) => line.includes('"kind":"confirm"')).map((line) => JSON.parse(line).state);
const ceiling = async () => (await gateway.link()).download!.queues[0]!.ceil;

describe('up --confirm', () => {
  it('takes everything back when nobody confirms, --keep or not, and ends with status 1', async () => {
    const before = await gateway.snapshot();
    await writeFile(file, policy('50mbit'));
    const program = await gateway.up(file, '--confirm', SHORT, '--keep');
    const items = itemsOf(program);
    const waiting = JSON.parse(await program.line((line) => line.includes('"state":"waiting"')));
    expect(waiting).toMatchObject({ kind: 'confirm', what: 'up' });
    const pinging = gateway.ping(60);
    expect(await program.ended).toEqual({ status: 1, signal: null });
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(waiting.until));
    expect(states(items)).toEqual(['waiting', 'expired']);
    expect(await gateway.snapshot()).toBe(before);
    // The kernel stops the device for a moment where clsact goes: docs/limits.md.
    expect(await pinging).toBeLessThanOrEqual(1);
  });

  it('stays when it is confirmed, once', async () => {
    await writeFile(file, policy('50mbit'));
    const program = await gateway.up(file, '--confirm', LONG);
    const items = itemsOf(program);
    const { service } = await gateway.status();
    expect(service!.confirm).toMatchObject({ what: 'up' });
    expect((await gateway.headgate('status')).stdout).toMatch(
      /^up waits to be confirmed: type "headgate confirm" by \d\d:\d\d:\d\d, or it is taken back$/m,
    );
    // Until then there is no other change.
    expect(await gateway.headgate('reload')).toMatchObject({ status: 1, stderr: expect.stringContaining('waits') });
    expect(await gateway.headgate('confirm')).toMatchObject({ status: 0, stdout: 'up is confirmed, and stays\n' });
    expect(await gateway.headgate('confirm', '--json')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('HG_CONFIRM'),
    });
    expect((await gateway.status()).service).not.toHaveProperty('confirm');
    expect(states(items)).toEqual(['waiting', 'confirmed']);
    expect((await gateway.headgate('reload')).status).toBe(0);
  });

  it.each(['60', '0s', '2d', '5mbit', 'soon'])('refuses %s', async (time) => {
    const exit = await gateway.headgate('up', '--device', 'wan', '--download', '50mbit', '--confirm', time);
    expect(exit).toMatchObject({ status: 2, stderr: expect.stringContaining(`--confirm ${time}: write a duration`) });
  });
});

describe('killed while it waits to be confirmed', () => {
  it('up: recover takes it down', async () => {
    const before = await gateway.snapshot();
    await writeFile(file, policy('50mbit'));
    await (await gateway.up(file, '--confirm', LONG)).stop('SIGKILL');
    expect(await gateway.headgate('recover')).toMatchObject({ status: 0 });
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a reload: recover brings the policy before it, and a start stays with that until it is told otherwise', async () => {
    await writeFile(file, policy('50mbit'));
    const first = await gateway.up(file);
    await writeFile(
      file,
      policy('30mbit').replace('70%', '60%').replace('queue theirs', 'queue third { share 5% }  queue theirs'),
    );
    expect((await gateway.headgate('reload', '--confirm', LONG)).status).toBe(0);
    expect((await gateway.link()).download!.queues).toHaveLength(3);
    await first.stop('SIGKILL');
    const planned = async () => (await gateway.headgate('plan', file)).stdout;
    expect(await planned()).toContain('taken back first: headgate recover');
    expect(await gateway.headgate('recover')).toMatchObject({ status: 0 });
    expect(await planned()).toMatch(/was not confirmed: up goes back to what ran before/);
    expect((await gateway.link()).download!.queues).toHaveLength(2);
    expect(await ceiling()).toBe(50e6);

    for (let start = 1; start <= 2; start++) {
      const program = await gateway.up(file);
      const told = await program.line((line) => line.includes('was not confirmed'));
      expect(JSON.parse(told)).toMatchObject({
        kind: 'warning',
        message: expect.stringContaining('what ran before is in force'),
      });
      expect((await gateway.status()).service!.queues).toHaveLength(2);
      expect(await ceiling()).toBe(50e6);
      if (start === 1) await program.stop('SIGKILL');
    }
    expect((await gateway.headgate('reload')).status).toBe(0);
    expect(await ceiling()).toBe(30e6);
  });

  it('a reload that took another ifb: the first is there still, and recover goes back to it', async () => {
    const ifbs = async () => (await gateway.link()).ifbs.map(({ name }) => name);
    await writeFile(file, policy('50mbit'));
    const program = await gateway.up(file);
    await writeFile(file, policy('50mbit  numtxqueues 2'));
    expect((await gateway.headgate('reload', '--confirm', LONG)).status).toBe(0);
    expect(await ifbs()).toEqual(['hg-wan', 'hg_wan']);
    expect(await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).toContain('device hg_wan');
    await program.stop('SIGKILL');
    expect(await gateway.headgate('recover')).toMatchObject({ status: 0 });
    expect(await ifbs()).toEqual(['hg-wan']);
    expect(await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).toContain('device hg-wan');
    expect(await gateway.ping(5)).toBe(0);
  });
});

describe('stopped by whoever', () => {
  it.each([
    ['after it came back', SHORT],
    ['while it waits', LONG],
  ])('what nobody confirmed is not taken up again by a start, %s', async (_, time) => {
    await writeFile(file, policy('50mbit'));
    const first = await gateway.up(file);
    await writeFile(file, policy('30mbit'));
    expect((await gateway.headgate('reload', '--confirm', time)).status).toBe(0);
    if (time === SHORT) await soon(async () => expect(await ceiling()).toBe(50e6));
    expect((await gateway.headgate('down')).status).toBe(0);
    expect((await first.ended).status).toBe(0);

    expect((await gateway.headgate('plan', file)).stdout).toMatch(/was not confirmed: up goes back to what ran before/);
    const second = await gateway.up(file);
    await second.line((line) => line.includes('was not confirmed: what ran before is in force'));
    expect(await ceiling()).toBe(50e6);
    await second.stop('SIGTERM');
    const third = await gateway.up(file);
    expect(await ceiling()).toBe(50e6);
    // A reload takes it, and that is remembered.
    expect((await gateway.headgate('reload')).status).toBe(0);
    await third.stop('SIGTERM');
    await gateway.up(file);
    expect(await ceiling()).toBe(30e6);
  });

  it('up --confirm tries it again, and once it is confirmed each start takes it', async () => {
    await writeFile(file, policy('50mbit'));
    await gateway.up(file);
    await writeFile(file, policy('30mbit'));
    expect((await gateway.headgate('reload', '--confirm', LONG)).status).toBe(0);
    expect((await gateway.headgate('down')).status).toBe(0);
    const second = await gateway.up(file, '--confirm', LONG);
    expect(await ceiling()).toBe(30e6);
    await second.stop('SIGTERM');
    const third = await gateway.up(file);
    expect(await ceiling()).toBe(50e6);
    await third.stop('SIGTERM');
    await gateway.up(file, '--confirm', LONG);
    expect((await gateway.headgate('confirm')).status).toBe(0);
    expect((await gateway.headgate('down')).status).toBe(0);
    await gateway.up(file);
    expect(await ceiling()).toBe(30e6);
  });

  it('what was confirmed, and another policy, a start takes', async () => {
    await writeFile(file, policy('50mbit'));
    await gateway.up(file);
    await writeFile(file, policy('30mbit'));
    expect((await gateway.headgate('reload', '--confirm', LONG)).status).toBe(0);
    expect((await gateway.headgate('confirm')).status).toBe(0);
    expect((await gateway.headgate('down')).status).toBe(0);
    const second = await gateway.up(file);
    expect(await ceiling()).toBe(30e6);
    await writeFile(file, policy('20mbit'));
    expect((await gateway.headgate('reload', '--confirm', LONG)).status).toBe(0);
    await second.stop('SIGTERM');
    await writeFile(file, policy('40mbit'));
    await (await gateway.up(file)).stop('SIGTERM');
    // With another in between, what was refused is forgotten.
    await writeFile(file, policy('20mbit'));
    await gateway.up(file);
    expect(await ceiling()).toBe(20e6);
  });
});

describe('reload --confirm', () => {
  it('has the policy before come back when nobody confirms, and loses no packet', async () => {
    await writeFile(file, policy('50mbit'));
    const program = await gateway.up(file);
    const items = itemsOf(program);
    const pinging = gateway.ping(80);
    await writeFile(file, policy('30mbit'));
    const reloaded = await gateway.headgate('reload', '--confirm', SHORT);
    expect(reloaded).toMatchObject({ status: 0, stderr: '' });
    expect(reloaded.stdout).toMatch(
      /in force; type "headgate confirm" by \d\d:\d\d:\d\d, or the one before comes back\n$/,
    );
    await soon(() => expect(items.join('\n')).toContain('is what ran before, and is in force again'));
    expect(states(items)).toEqual(['waiting', 'expired']);
    expect(await ceiling()).toBe(50e6);
    expect(await pinging).toBe(0);
    // The file is as it was written: the next reload takes it.
    expect((await gateway.headgate('reload')).status).toBe(0);
    expect(await ceiling()).toBe(30e6);
  });

  it('stays when it is confirmed; one with mistakes asks for nothing', async () => {
    await writeFile(file, policy('50mbit'));
    const program = await gateway.up(file);
    const items = itemsOf(program);
    await writeFile(file, 'nonsense\n');
    expect((await gateway.headgate('reload', '--confirm', LONG)).status).toBe(1);
    expect((await gateway.headgate('confirm')).status).toBe(1);
    await writeFile(file, policy('30mbit'));
    const { confirm } = JSON.parse((await gateway.headgate('reload', '--confirm', LONG, '--json')).stdout);
    expect(confirm).toMatchObject({ what: 'reload' });
    expect(await gateway.headgate('confirm')).toMatchObject({ status: 0, stdout: 'reload is confirmed, and stays\n' });
    expect(states(items)).toEqual(['waiting', 'confirmed']);
    expect(await ceiling()).toBe(30e6);
  });
});
