// What becomes of arriving packets when the ifb goes down or away and nobody runs any more who would watch, or who would hangs: a
// guard takes the redirect away. Real processes under traffic, on the machine's own kernel (6.18: cls_bpf, nft fwd, HTB).
// `ct` and `mark`: test/vm/guest/datapath-lifecycle.test.ts.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import { Gateway, WORLD } from './gateway.ts';
import { Heartbeat } from './heartbeat.ts';
import { PATIENCE, soon } from './soon.ts';

const POLICY = (link = '') => `link wan { device wan  download 50mbit  upload 20mbit  ${link} }
queue mine { share 70% }  queue theirs { share 10% }
default local -> mine  remote -> theirs  new -> theirs
`;
/** Before the words of a command that is to run as the user nobody. */
const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] as const;
/** Ms without an answer, at most. Most of it is the machine's, when it is busy: the guard takes one. */
const LONGEST_GAP = 1000 * PATIENCE;
/** Ms from the last that the service said until its guard is on duty, for certain: SILENCE_MS of guard.c and some. */
const SILENCE = 12_000;

// A machine that is busy takes a minute.
vi.setConfig({ testTimeout: 240_000 * PATIENCE });

let gateway: Gateway;
let file: string;
let heartbeat: Heartbeat;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
  await writeFile(file, POLICY());
  heartbeat = Heartbeat.start(gateway.box, WORLD);
  await heartbeat.since(Date.now());
});
afterEach(async () => {
  await heartbeat.stop();
  await gateway.close();
});

/** What stands between wan and its ifb, of tc and nft. */
const redirects = async (): Promise<string> =>
  (await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress').catch(() => '')) +
  (await gateway.box.run('nft', 'list', 'ruleset')).replace(/^(?!.*fwd to).*\n/gm, '');

const leads = async (ifb: string) => expect(await redirects()).toMatch(new RegExp(`(to device |fwd to ")${ifb}\\b`));

/** Does something to an ifb while nobody runs, and says how long no packet came through; the redirect goes, and the guard with it. */
async function breakIt(command: string): Promise<number> {
  const begin = Date.now();
  await gateway.box.batch(command);
  await soon(async () => expect(await redirects()).toBe(''));
  await gateway.unguarded();
  const gap = await heartbeat.longestGap(begin, Date.now());
  expect(gap, `ms without an answer: ${command}`).toBeLessThanOrEqual(LONGEST_GAP);
  return gap;
}

/** The guard that there is; one that has been ended may be there for a moment. @param not is no more */
const oneGuard = (not?: number): Promise<number> =>
  soon(async () => {
    const guards = await gateway.guards();
    expect(guards).toHaveLength(1);
    expect(guards[0]).not.toBe(not);
    return guards[0]!;
  });

/** It hears of links: its socket has that group (rtnetlink(7): RTMGRP_LINK is 1). */
async function isOnDuty(guard: number): Promise<boolean> {
  const held = await gateway.box.run('sh', '-c', `readlink /proc/${guard}/fd/*`);
  const sockets = (await readFile(`/proc/${guard}/net/netlink`, 'utf8')).split('\n').map((line) => line.split(/\s+/));
  return sockets.some(([, , , groups, , , , , , inode]) => Number(`0x${groups}`) & 1 && held.includes(`[${inode}]`));
}
/** Stops the service; resolves when its guard has waited for long enough. */
async function hang({ pid }: Program, guard: number): Promise<void> {
  process.kill(pid!, 'SIGSTOP');
  await vi.waitFor(async () => expect(await isOnDuty(guard)).toBe(true), { timeout: SILENCE * PATIENCE, interval: 50 });
}
const is = (state: string) => soon(async () => expect((await gateway.link()).state).toBe(state));

/** Does something while somebody looks for guards, and sees one whenever he looks. */
async function guardedMeanwhile<T>(act: () => Promise<T>): Promise<T> {
  const inside = gateway.box.start('sleep', '600');
  const look = async () => (await readFile(`/proc/${inside.pid}/net/unix`, 'utf8')).includes(' @headgate-guard-');
  await soon(async () => expect(await look()).toBe(true));
  let [looks, missed, done] = [0, 0, false];
  const looking = (async () => {
    for (; !done; looks++) {
      if (!(await look())) missed++;
      await delay(1);
    }
  })();
  try {
    return await act();
  } finally {
    done = true;
    await looking;
    inside.kill();
    expect(looks).toBeGreaterThan(10);
    expect(missed).toBe(0);
  }
}

describe.each(['bpf', 'map'])('datapath %s', (datapath) => {
  it('passes what arrives when the ifb is set down or deleted, after kill -9 and after --keep', async ({
    annotate,
  }) => {
    const gaps: number[] = [];
    for (const [args, signal] of [
      [[], 'SIGKILL'],
      [['--keep'], 'SIGTERM'],
      [['--keep'], 'SIGKILL'],
    ] as const)
      for (const command of ['link set hg-wan down', 'link del hg-wan']) {
        const program = await gateway.up(file, '--datapath', datapath, ...args);
        expect((await program.stop(signal)).status).toBe(signal === 'SIGTERM' ? 0 : null);
        await oneGuard();
        await leads('hg-wan');
        gaps.push(await breakIt(command));
        const status = await gateway.headgate('status');
        expect(status.stdout).not.toContain('and lost');
        if (command.endsWith('down')) expect(status.stdout).toMatch(/^link wan on wan: open/m);
      }
    await annotate(`longest without an answer: ${gaps.join(', ')} ms`);
    expect((await gateway.headgate('down')).status).toBe(0);
    expect(await redirects()).toBe('');
    expect(await gateway.box.run('nft', 'list', 'tables')).not.toContain('headgate');
  });

  it('follows a reload to another ifb, its name and a second link', async () => {
    const program = await gateway.up(file, '--datapath', datapath);
    const guard = await oneGuard();
    await writeFile(
      file,
      POLICY('numtxqueues 2').replace('\nqueue', '\nlink lan { device lan  download 9mbit }\nqueue'),
    );
    expect(await gateway.headgate('reload')).toMatchObject({ status: 0 });
    await leads('hg_wan');
    await soon(async () => expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-wan'));
    await program.stop('SIGKILL');
    expect(await oneGuard()).toBe(guard);
    // Its index stays.
    await gateway.box.batch('link set hg_wan name other');
    const begin = Date.now();
    await gateway.box.batch('link del other');
    await soon(async () => expect((await redirects()).replace(/.*hg-lan.*/g, '')).not.toMatch(/mirred|other/));
    expect(await heartbeat.longestGap(begin, Date.now())).toBeLessThanOrEqual(LONGEST_GAP);
    // The other one goes on, and so does its guard.
    expect(await oneGuard()).toBe(guard);
    expect((await gateway.status()).links).toMatchObject(
      expect.arrayContaining([expect.objectContaining({ device: 'lan', state: 'kept' })]),
    );
    expect(await gateway.ping(3)).toBe(0);
    await gateway.box.batch('link set hg-lan down');
    await gateway.unguarded();
    expect(await gateway.ping(3)).toBe(0);
  });

  it('passes what arrives when the ifb goes while the service hangs; that goes on and puts all right, with the same guard', async ({
    annotate,
  }) => {
    // What lets packets pass here is no deadline.
    const program = await gateway.up(file, '--datapath', datapath, '--deadline', '1h');
    const guard = await oneGuard();
    const opened = () =>
      vi.waitFor(async () => expect(await redirects()).toBe(''), { timeout: SILENCE * PATIENCE, interval: 50 });
    const steered = async () => {
      // Before it has heard what has happened, it says what was.
      await soon(() => leads('hg-wan'));
      await is('steering');
      expect(await gateway.ping(3)).toBe(0);
    };

    let begin = Date.now();
    process.kill(program.pid!, 'SIGSTOP');
    await gateway.box.batch('link set hg-wan down');
    await opened();
    const gap = await heartbeat.longestGap(begin, Date.now());
    await annotate(`without an answer, set down in the first moment: ${gap} ms`);
    expect(gap).toBeGreaterThan(7000);
    expect(gap).toBeLessThan(SILENCE + LONGEST_GAP);
    process.kill(program.pid!, 'SIGCONT');
    await is('open');
    expect(await gateway.ping(3)).toBe(0);
    await gateway.box.batch('link set hg-wan up');
    await steered();

    begin = Date.now();
    await hang(program, guard);
    // Nothing has happened.
    await leads('hg-wan');
    expect(await heartbeat.longestGap(begin, Date.now())).toBeLessThanOrEqual(LONGEST_GAP);
    begin = Date.now();
    await gateway.box.batch('link set hg-wan down');
    await opened();
    await gateway.box.batch('link set hg-wan up');
    expect(await heartbeat.longestGap(begin, Date.now())).toBeLessThanOrEqual(LONGEST_GAP);
    process.kill(program.pid!, 'SIGCONT');
    await steered();

    process.kill(program.pid!, 'SIGSTOP');
    await gateway.box.batch('link del hg-wan');
    await opened();
    process.kill(program.pid!, 'SIGCONT');
    await steered();

    expect(await gateway.guards()).toEqual([guard]);
    // Stopped while it waits for a tool, it has waited for too long when it goes on, and tries again.
    const warnings = program.output.filter((line) => /"kind":"warning"(?!.*took too long)/.test(line));
    expect(warnings).toEqual([]);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    await gateway.unguarded();
  });
});

describe('a guard', () => {
  it('is ended by the next up, which has its own, and by down; no process is left', async () => {
    const before = await gateway.snapshot();
    let program = await gateway.up(file);
    const first = await oneGuard();
    await program.stop('SIGKILL');
    // Refused before anything was touched: what was there is guarded as before.
    const refused = await guardedMeanwhile(() => gateway.headgate('up', file, '--device', 'none'));
    expect(refused.status).toBe(3);
    const second = await oneGuard(first);
    await leads('hg-wan');
    await writeFile(file, POLICY('numtxqueues 2'));
    program = await guardedMeanwhile(() => gateway.up(file));
    await oneGuard(second);
    await leads('hg_wan');
    await soon(async () => expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-wan'));
    await leads('hg_wan');
    expect((await program.stop('SIGTERM')).status).toBe(0);
    await gateway.unguarded();
    expect(await gateway.snapshot()).toBe(before);

    await (await gateway.up(file, '--keep')).stop('SIGTERM');
    const kept = await oneGuard();
    // Whoever has put things right leaves one, too.
    expect((await guardedMeanwhile(() => gateway.headgate('recover'))).status).toBe(0);
    await oneGuard(kept);
    await leads('hg-wan');
    expect((await gateway.forgetful('down')).status).toBe(0);
    await gateway.unguarded();
    expect(await gateway.snapshot()).toBe(before);
  });

  it('holds nothing of the service, is nobody’s to end but root’s, and is replaced when it is killed', async ({
    annotate,
  }) => {
    const program = await gateway.up(file);
    const pid = await oneGuard();
    const [, , , , , session, terminal] = (await readFile(`/proc/${pid}/stat`, 'utf8'))
      .replace(/^.*\)/, '1 x')
      .split(' ');
    expect([session, terminal]).toEqual([`${pid}`, '0']);
    const held = await gateway.box.run('sh', '-c', `readlink /proc/${pid}/fd/*`);
    expect(
      held
        .replace(/:\[\d+\]/g, '')
        .trim()
        .split('\n')
        .sort(),
    ).toEqual(['/dev/null', '/dev/null', '/dev/null', ...Array(5).fill('socket')].sort());
    expect(await readFile(`/proc/${pid}/environ`, 'utf8')).toBe('');
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
    const kilobytes = [...rollup.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce((sum, [, kb]) => sum + Number(kb), 0);
    await annotate(`private memory: ${kilobytes} kB`);
    expect(kilobytes).toBeLessThan(1024);

    const name = / @(headgate-guard-\w+)$/m.exec(await gateway.box.run('cat', '/proc/net/unix'))![1]!;
    const connect = `require('net').connect({ path: '\\0${name}' }).on('error', () => {}).on('close', () => console.log('closed'))`;
    expect(await gateway.box.run(...NOBODY, process.execPath, '-e', connect)).toBe('closed\n');
    expect(await oneGuard()).toBe(pid);

    process.kill(pid, 'SIGKILL');
    await program.line((line) => line.includes('the guard: it was ended; another one is started'), 10_000 * PATIENCE);
    await oneGuard(pid);
    expect(await gateway.ping(3)).toBe(0);
    await program.stop('SIGKILL');
    await breakIt('link del hg-wan');
  });

  it('is on duty while the service hangs, and stays so when that is killed; of what was before it hears nothing', async () => {
    const program = await gateway.up(file);
    const guard = await oneGuard();
    await delay(SILENCE);
    expect(await isOnDuty(guard)).toBe(false);
    await hang(program, guard);
    process.kill(program.pid!, 'SIGCONT');
    await soon(async () => expect(await isOnDuty(guard)).toBe(false));
    await gateway.box.batch('link set hg-wan down');
    await is('open');
    await gateway.box.batch('link set hg-wan up');
    await is('steering');
    await hang(program, guard);
    await leads('hg-wan');
    await program.stop('SIGKILL');
    expect(await oneGuard()).toBe(guard);
    await leads('hg-wan');
    await breakIt('link del hg-wan');
  });

  it('ignores what anybody else calls by its name', async () => {
    const name = `headgate-guard-${'0'.repeat(92)}`;
    const script = `require('net').createServer().listen({ path: '\\0${name}' }, () => console.log('bound'))`;
    const squatter = gateway.box.start(...NOBODY, process.execPath, '-e', script);
    await new Promise((resolve) => squatter.stdout!.once('data', resolve));
    const program = await gateway.up(file);
    await program.stop('SIGKILL');
    expect(squatter.exitCode).toBe(null);
    await breakIt('link set hg-wan down');
  });
});
