// What the service tells systemd, with a receiver in its place, and what systemd says of the unit. Shown on the
// machine's own kernel (6.18), with systemd-analyze of Debian 12 (252); systemd itself: systemd-unit.test.ts.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { notifyManager } from '../../src/kernel/index.ts';
import { Program, packageFile } from '../../src/lab/index.ts';
import { feedWatchdog } from '../../src/service/index.ts';
import { Gateway, HEADGATE } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';
import { tool } from './tools.ts';

let folder: string;
let manager: Program;
let heard: string[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hg-systemd-'));
  heard = [];
  manager = Program.start('manager', [tool('recv_notify'), join(folder, 'notify')]);
  manager.onLine((line) => heard.push(line));
  await manager.line((line) => line === 'ready');
  heard.length = 0;
});
afterEach(async () => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  await manager.stop('SIGTERM');
  rmSync(folder, { recursive: true, force: true });
});

describe('the service under systemd', () => {
  let gateway: Gateway;
  let file: string;
  beforeEach(async () => {
    gateway = await Gateway.build();
    file = join(gateway.folder, 'test.gate');
    await writeFile(
      file,
      'link wan { device wan  download 50mbit }\nqueue q { share 50% }\ndefault local -> q  remote -> q  new -> q\n',
    );
  });
  afterEach(() => gateway.close());

  it('says that it is ready, that it lives, when it reloads, and that it stops, in this order', async () => {
    const settings = [`NOTIFY_SOCKET=${join(folder, 'notify')}`, `WATCHDOG_USEC=${200_000 * PATIENCE}`];
    const argv = ['env', ...settings, ...HEADGATE, 'up', '--json', file] as const;
    const program = Program.start('headgate up', argv, { netns: gateway.box.name });
    await soon(() => expect(heard).toContain('READY=1 STATUS=wan on wan'));
    expect(heard[0]).toBe('READY=1 STATUS=wan on wan');
    await soon(() => expect(heard.filter((line) => line === 'WATCHDOG=1').length).toBeGreaterThan(2));

    expect((await gateway.headgate('reload')).status).toBe(0);
    await soon(() => expect(heard.some((line) => line.includes('was read anew'))).toBe(true));
    await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'down');
    await soon(() => expect(heard.some((line) => line.startsWith('STATUS=wan on wan: open'))).toBe(true));
    expect((await program.stop('SIGTERM')).status).toBe(0);
    await soon(() => expect(heard.at(-1)).toBe('STOPPING=1'));

    const order = heard.filter((line) => line !== 'WATCHDOG=1');
    expect(order[1]).toMatch(/^RELOADING=1 MONOTONIC_USEC=\d+$/);
    // The manager compares it with its own clock, which counts from the boot.
    expect(Math.abs(Number(order[1]!.split('=')[2]) / 1e6 - Number(process.hrtime.bigint()) / 1e9)).toBeLessThan(120);
    expect(order[2]).toBe(`READY=1 STATUS=${file} was read anew, and is in force`);
    expect(order[3]).toMatch(/^STATUS=wan on wan: open, hg-wan was set down/);
    expect(order.slice(4)).toEqual(['STOPPING=1']);
  });

  it('says that it is ready again after a reload that changed nothing', async () => {
    const argv = ['env', `NOTIFY_SOCKET=${join(folder, 'notify')}`, ...HEADGATE, 'up', '--json', file] as const;
    await Program.start('headgate up', argv, { netns: gateway.box.name }).line(
      (line) => line.includes('"kind":"ready"'),
      20_000 * PATIENCE,
    );
    await writeFile(file, 'nonsense\n');
    expect((await gateway.headgate('reload')).status).toBe(1);
    await soon(() => expect(heard.map((line) => line.split('=')[0])).toEqual(['READY', 'RELOADING', 'READY']));
  });

  it('writes lines of JSON with a priority where its output is the journal', async () => {
    const script = 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/$$/fd/1) exec "$@"';
    const argv = ['sh', '-c', script, 'sh', ...HEADGATE, 'up', file] as const;
    const program = Program.start('headgate up', argv, { netns: gateway.box.name });
    const read = async (what: string) => {
      const line = await program.line((one) => one.includes(what), 20_000 * PATIENCE);
      const [, priority, json] = /^<(\d)>(\{.*\})$/.exec(line) ?? [];
      return { priority, ...JSON.parse(json!) };
    };
    expect(await read('"kind":"ready"')).toMatchObject({
      priority: '6',
      level: 'info',
      datapath: 'bpf',
      msg: expect.stringMatching(/^ready +datapath bpf/),
    });
    await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'down');
    expect(await read('"state":"open"')).toMatchObject({ priority: '4', level: 'warn', kind: 'link', name: 'wan' });

    const second = Program.start('headgate up', argv, { netns: gateway.box.name });
    expect(await second.ended).toEqual({ status: 4, signal: null });
    expect(second.output.map((line) => line.slice(0, 3))).toEqual(['<3>']);
    expect(JSON.parse(second.output[0]!.slice(3))).toMatchObject({
      level: 'error',
      code: 'HG_RUNNING',
      pid: program.pid,
    });
    expect((await program.stop('SIGTERM')).status).toBe(0);
  });
});

describe('the watchdog', () => {
  beforeEach(() => {
    vi.stubEnv('NOTIFY_SOCKET', join(folder, 'notify'));
    vi.stubEnv('WATCHDOG_USEC', '1000000');
    vi.useFakeTimers();
  });
  /** What was heard up to now: datagrams come in order. */
  const hear = async (mark: string) => {
    notifyManager({ STATUS: mark });
    vi.useRealTimers();
    await soon(() => expect(heard).toContain(`STATUS=${mark}`));
    vi.useFakeTimers();
    return heard.splice(0).slice(0, -1);
  };

  it('is fed twice in its time, and not where something does not follow any more', async () => {
    let alive = true;
    const stop = feedWatchdog({ isAlive: async () => alive });
    await vi.advanceTimersByTimeAsync(2000);
    expect(await hear('one')).toEqual(Array(4).fill('WATCHDOG=1'));
    stop();
    alive = false;
    const stopAgain = feedWatchdog({ isAlive: async () => alive });
    await vi.advanceTimersByTimeAsync(5000);
    expect(await hear('two')).toEqual([]);
    stopAgain();
  });

  it('is not fed by a question that ended after it was stopped', async () => {
    let answer = (_alive: boolean) => {};
    const stop = feedWatchdog({ isAlive: () => new Promise((resolve) => (answer = resolve)) });
    await vi.advanceTimersByTimeAsync(600);
    stop();
    answer(true);
    await vi.advanceTimersByTimeAsync(5000);
    expect(await hear('late')).toEqual([]);
  });

  it('is not fed while something hangs, nor for another process', async () => {
    const stop = feedWatchdog({ isAlive: () => new Promise(() => {}) });
    await vi.advanceTimersByTimeAsync(5000);
    expect(await hear('three')).toEqual([]);
    stop();
    vi.stubEnv('WATCHDOG_PID', '1');
    feedWatchdog({ isAlive: async () => true })();
    await vi.advanceTimersByTimeAsync(5000);
    expect(await hear('four')).toEqual([]);
  });
});

describe('the unit', () => {
  it('exposes little, as systemd-analyze security reckons: at most 3.0 of 10', () => {
    const unit = packageFile('docs/systemd/headgate.service');
    const check = (most: string) =>
      spawnSync('systemd-analyze', ['security', '--offline=true', `--threshold=${most}`, '--no-pager', unit], {
        encoding: 'utf8',
      });
    const { status, stdout, stderr } = check('30');
    expect(stdout, stderr).toMatch(/Overall exposure level for headgate.service: [12]\.\d OK/);
    expect(status).toBe(0);
    expect(check('10').status).toBe(1);
  });
});
