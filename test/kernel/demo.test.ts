import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { bar, figures, verdictSentence } from '../../src/cli/demo-report.ts';
import { run } from '../../src/kernel/index.ts';
import {
  ACCESS_LINK,
  delLeftovers,
  type ExperimentResult,
  judge,
  type PhaseResult,
  packageFile,
} from '../../src/lab/index.ts';

/** A demo as a child process, with what it prints. */
class Demo {
  out = '';
  err = '';
  readonly child: ChildProcess;
  readonly ended: Promise<{ status: number | null; signal: NodeJS.Signals | null }>;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(process.execPath, [packageFile('dist/cli/headgate.js'), 'demo', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.child.stdout!.on('data', (part) => (this.out += part));
    this.child.stderr!.on('data', (part) => (this.err += part));
    this.ended = new Promise((resolve) => this.child.on('close', (status, signal) => resolve({ status, signal })));
  }

  /** Waits until standard error, or in its place standard output, holds that; fails where the demo ends before. */
  async says(pattern: RegExp): Promise<void> {
    const seen = vi.waitFor(
      () => {
        if (!pattern.test(this.err) && !pattern.test(this.out)) throw new Error(`not yet: ${this.err}${this.out}`);
      },
      { timeout: 60_000, interval: 50 },
    );
    const early = this.ended.then(() => {
      if (!pattern.test(this.err) && !pattern.test(this.out)) throw new Error(`ended: ${this.err}${this.out}`);
    });
    await Promise.race([seen, early]);
  }

  async namespaces(): Promise<string[]> {
    const names = (await run(['ip', 'netns', 'list'])).split('\n').map((line) => line.split(' ')[0]!);
    return names.filter((name) => name.startsWith(`hg-${this.child.pid}-`));
  }

  /** Every process below it, with what each was started as. */
  async descendants(): Promise<Map<number, string>> {
    const rows = (await run(['ps', '-eo', 'pid=,ppid=,args=']))
      .split('\n')
      .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
      .filter((row) => row !== null);
    const below = new Map<number, string>();
    const add = (parent: number) => {
      for (const [, pid, ppid, args] of rows) {
        if (Number(ppid) !== parent) continue;
        below.set(Number(pid), args!);
        add(Number(pid));
      }
    };
    add(this.child.pid!);
    return below;
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

let demo: Demo | undefined;
let folder: string | undefined;

afterEach(async () => {
  demo?.child.kill('SIGKILL');
  await demo?.ended;
  if (demo) await delLeftovers();
  if (folder) await rm(folder, { recursive: true });
  demo = folder = undefined;
});

/** A PATH on which `tool` is a program that complains and fails. */
async function pathWithBroken(tool: string): Promise<string> {
  folder = await mkdtemp(join(tmpdir(), 'headgate-test-'));
  await writeFile(join(folder, tool), '#!/bin/sh\necho "broken for the test" >&2\nexit 3\n');
  await chmod(join(folder, tool), 0o755);
  return `${folder}:${process.env.PATH}`;
}

describe('headgate demo', () => {
  it('shows that the main job works, as one JSON object, and leaves nothing', { timeout: 100_000 }, async () => {
    demo = new Demo(['--json', '--seconds', '2']);
    const { status } = await demo.ended;
    expect(demo.out, demo.err).toMatch(/^\{.*\}\n$/);
    const result: ExperimentResult = JSON.parse(demo.out);
    expect(Object.keys(result)).toEqual(['kernel', 'datapath', 'link', 'phases', 'verdict']);
    expect(result.datapath).toBe('bpf');
    expect(result.link).toEqual(ACCESS_LINK);
    expect(result.phases.map((phase) => phase.name)).toEqual(['nothing', 'one-queue', 'headgate']);
    for (const phase of result.phases) {
      expect(Object.keys(phase)).toEqual([
        'name',
        'pingMs',
        'localDownMbit',
        'localUpMbit',
        'remoteDownMbit',
        'remoteUpMbit',
      ]);
      expect(Object.keys(phase.pingMs)).toEqual(['p50', 'p95', 'lossPct']);
      expect(phase.pingMs.p50).toBeGreaterThan(29);
      expect(phase.pingMs.p95).toBeGreaterThanOrEqual(phase.pingMs.p50!);
      for (const rate of ['localDownMbit', 'localUpMbit', 'remoteDownMbit', 'remoteUpMbit'] as const) {
        expect(phase[rate], `${phase.name} ${rate}`).toBeGreaterThan(0);
        expect(phase[rate], `${phase.name} ${rate}`).toBeLessThan(ACCESS_LINK.rateMbit);
      }
    }
    // The load is one: strangers fill most of the untreated line in both directions.
    expect(result.phases[0]!.remoteDownMbit).toBeGreaterThan(5);
    expect(result.phases[0]!.remoteUpMbit).toBeGreaterThan(5);
    expect(result.verdict).toEqual({ ...judge(result.phases, result.link), pass: true });
    expect(status).toBe(0);
    expect(demo.err).toMatch(/Headgate +your upload +\d/);
    expect(await demo.namespaces()).toEqual([]);
  });

  for (const [signal, status, moment, headgates] of [
    ['SIGINT', 130, /one shaped queue +ping/, 1],
    ['SIGTERM', 143, /nothing done +strangers connect/, 0],
  ] as const)
    it(`is taken down by ${signal} half-way`, async () => {
      demo = new Demo(['--json', '--seconds', '1']);
      await demo.says(moment);
      const children = await demo.descendants();
      expect([...children.values()].filter((args) => /headgate\.js up/.test(args))).toHaveLength(headgates);
      expect([...children.values()].some((args) => /access-link/.test(args))).toBe(true);
      expect(await demo.namespaces()).toHaveLength(3);
      demo.child.kill(signal);
      const ending = await demo.ended;
      expect(ending).toEqual({ status, signal: null });
      expect(demo.out).toBe('');
      expect(demo.err).toContain('interrupted');
      expect(await demo.namespaces()).toEqual([]);
      expect([...children].filter(([pid]) => isAlive(pid))).toEqual([]);
    });

  it('takes its processes along when it is killed, and the next start removes the rest', async () => {
    demo = new Demo(['--json', '--seconds', '1']);
    await demo.says(/one shaped queue +strangers connect/);
    const children = await demo.descendants();
    const namespaces = await demo.namespaces();
    expect(children.size).toBeGreaterThanOrEqual(6);
    expect(namespaces).toHaveLength(3);
    demo.child.kill('SIGKILL');
    await demo.ended;
    await vi.waitFor(() => expect([...children].filter(([pid]) => isAlive(pid))).toEqual([]), 10_000);
    expect(await delLeftovers()).toEqual(expect.arrayContaining(namespaces));
    expect(await demo.namespaces()).toEqual([]);
  });

  it('takes everything down when its reader goes away', async () => {
    demo = new Demo(['--seconds', '1']);
    await demo.says(/strangers connect/);
    expect(await demo.namespaces()).toHaveLength(3);
    demo.child.stdout!.destroy();
    expect((await demo.ended).status).toBe(0);
    expect(await demo.namespaces()).toEqual([]);
  });

  it('says what failed, and leaves nothing, when the lab cannot be built', async () => {
    demo = new Demo(['--json'], { PATH: await pathWithBroken('nft') });
    expect((await demo.ended).status).toBe(5);
    expect(demo.out).toBe('');
    expect(demo.err).toContain('broken for the test');
    expect(await demo.namespaces()).toEqual([]);
  });

  it('says what failed, and leaves nothing, when a step fails', async () => {
    demo = new Demo([], { PATH: await pathWithBroken('ping') });
    expect((await demo.ended).status).toBe(5);
    expect(demo.err).toMatch(/^headgate: the demo could not run: ping .*broken for the test/m);
    expect(await demo.namespaces()).toEqual([]);
  });

  it('wants seconds that it can keep', async () => {
    for (const seconds of ['0', '61', 'ten']) {
      demo = new Demo(['--seconds', seconds]);
      expect((await demo.ended).status).toBe(2);
      expect(demo.out).toBe('');
    }
  });
});

describe("the demo's report", () => {
  const phase = (name: PhaseResult['name'], p50: number | null, localDownMbit: number): PhaseResult => ({
    name,
    pingMs: { p50, p95: p50, lossPct: p50 === null ? 100 : 0 },
    localDownMbit,
    localUpMbit: 1,
    remoteDownMbit: 16,
    remoteUpMbit: 0,
  });
  const phases = [phase('nothing', 280, 4), phase('one-queue', 100, 2), phase('headgate', 40, 16)];

  it('passes at 70 % of the link and a third of the ping, and not below', () => {
    const verdict = (p50: number | null, down: number) =>
      judge([phases[0]!, phases[1]!, phase('headgate', p50, down)], ACCESS_LINK);
    expect(verdict(40, 16)).toEqual({ downGain: 4, pingGain: 7, pass: true });
    expect(verdict(280 / 3, 14).pass).toBe(true);
    expect(verdict(40, 13.9).pass).toBe(false);
    expect(verdict(94, 16).pass).toBe(false);
    expect(verdict(null, 16)).toMatchObject({ pingGain: 0, pass: false });
  });

  it('fits into 80 columns, with bars in proportion', () => {
    const lines = figures({ phases }, false).split('\n');
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
    expect(lines[1]).toMatch(/^ping, median +ms 280\.0 █{10} +100\.0 ███▋ +40\.0 █▍$/);
    expect(lines[7]).toMatch(/^strangers fetch +mbit +0\.0 +0\.0 +0\.0$/);
    expect(bar(0)).toBe('');
    expect(bar(1e-6)).toBe('▏');
    expect(bar(1)).toBe('██████████');
  });

  it('colours only where that is wanted', () => {
    expect(figures({ phases }, false)).not.toContain('\x1b');
    expect(figures({ phases }, true)).toContain('\x1b[32m');
  });

  it('says in one sentence what came out', () => {
    const link = ACCESS_LINK;
    expect(verdictSentence({ link, phases, verdict: judge(phases, link) })).toBe(
      "Passed: with Headgate your download gets 16.0 of 20 mbit instead of 4.0 (wanted: 14), and the ping's median is 40 ms instead of 280 ms (wanted: a third).",
    );
  });
});
