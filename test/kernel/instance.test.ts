// One service a network namespace, whoever is against it. Shown on the machine's own kernel (6.18).

import { access, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { getStatePath, run, STATE_FOLDER } from '../../src/kernel/index.ts';
import { Namespace, Program } from '../../src/lab/index.ts';
import { standIn } from './faults.ts';
import { type Exit, exitOf, FORGETFUL, Gateway, HEADGATE } from './gateway.ts';
import { soon } from './soon.ts';

const RATES = ['--device', 'wan', '--download', '50mbit'];

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

describe('the place of the one service', () => {
  it('cannot be kept by a user who is not root', async () => {
    const script = `require('net').createServer().listen({ path: '\\0headgate' }, () => console.log('bound'))`;
    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, '-e', script];
    const squatter = Program.start('squatter', nobody as [string, ...string[]], { netns: gateway.box.name });
    await squatter.line((line) => line === 'bound');
    const before = await gateway.snapshot();
    const program = await gateway.up();
    expect(await gateway.headgate('up', ...RATES)).toMatchObject({
      status: 4,
      stderr: expect.stringContaining(`headgate runs here already (pid ${program.pid})`),
    });
    expect((await gateway.headgate('down')).status).toBe(0);
    expect((await program.ended).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
    await squatter.stop('SIGTERM');
  });

  it('is one also where another /run is mounted, as in a container', async () => {
    await gateway.up();
    expect(await gateway.forgetful('up', ...RATES)).toMatchObject({ status: 4 });
    expect((await gateway.link()).state).toBe('steering');
  });

  it('is taken by one that hangs, whose pid is said; down kills it, and takes everything down', async () => {
    const before = await gateway.snapshot();
    const program = await gateway.up();
    process.kill(program.pid!, 'SIGSTOP');
    const running = { status: 4, stderr: expect.stringContaining(`headgate runs here already (pid ${program.pid})`) };
    expect(await gateway.headgate('recover')).toMatchObject(running);
    expect(await gateway.headgate('down', '--left')).toMatchObject(running);
    const silent = { status: 6, stderr: expect.stringContaining('does not answer') };
    const asking = ['confirm', 'reload', 'events', 'metrics'].map((command) => gateway.headgate(command));
    expect(await Promise.all(asking)).toEqual(asking.map(() => expect.objectContaining(silent)));
    const [status, doctor] = await Promise.all([gateway.headgate('status'), gateway.headgate('doctor')]);
    expect(status).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`(pid ${program.pid}) does not answer`),
    });
    expect(doctor.stdout).toContain(`headgate (pid ${program.pid}) has the place of the service and does not answer`);
    expect(await gateway.headgate('down')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`kill headgate (pid ${program.pid}), which did not stop\n`),
    });
    expect((await program.ended).signal).toBe('SIGKILL');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('is free again after kill -9, and nothing of it is left after a proper end, or down', async () => {
    const id = await gateway.box.getId();
    const lock = await getStatePath('lock', id);
    const killed = await gateway.up();
    await killed.stop('SIGKILL');
    await access(lock);
    const next = await gateway.up();
    await next.stop('SIGTERM');
    await expect(access(lock)).rejects.toMatchObject({ code: 'ENOENT' });
    const token = await getStatePath('token', id);
    await (await gateway.up('--web', '127.0.0.1:8053')).stop('SIGKILL');
    await access(token);
    await (await gateway.up()).stop('SIGKILL');
    await expect(access(token)).rejects.toMatchObject({ code: 'ENOENT' });
    await (await gateway.up('--web', '127.0.0.1:8053')).stop('SIGKILL');
    await access(token);
    await access(await getStatePath('sock', id));
    expect((await gateway.headgate('down')).status).toBe(0);
    const left = (await readdir(STATE_FOLDER)).filter((name) => name.startsWith(`${id}.`));
    expect(left).toEqual([]);
  });
});

describe('a command that has the place for a moment', () => {
  /** Starts one whose tc takes its time, and resolves when it has the place. */
  async function startSlowly(...argv: readonly string[]): Promise<Promise<Exit>[]> {
    const path = await standIn(
      join(gateway.folder, 'slow'),
      'tc',
      `#!/bin/sh\nsleep 1\nPATH=${process.env.PATH} exec tc "$@"\n`,
    );
    const ended = exitOf(gateway.box.name, 'env', path, ...argv);
    await soon(async () => expect(await gateway.box.run('cat', '/proc/net/unix')).toContain('@headgate'));
    return [ended];
  }
  const command = (name: string) => [...HEADGATE, name];

  it('is waited for by another such, and not stopped', async () => {
    const before = await gateway.snapshot();
    await gateway.killUnguarded(await gateway.up());
    const [recovering] = await startSlowly(...command('recover'));
    const down = await gateway.headgate('down');
    expect(down).toMatchObject({ status: 0, stdout: expect.not.stringContaining('stop headgate') });
    expect((await recovering!).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });

  it.each([
    ['recover', command('recover')],
    ['down', command('down')],
    ['recover, from another /run', [...FORGETFUL, ...command('recover')]],
  ])('%s: up waits for it, and then starts', async (_, argv) => {
    await gateway.killUnguarded(await gateway.up());
    const [brief] = await startSlowly(...argv);
    const program = await gateway.up();
    expect((await brief!).status).toBe(0);
    expect((await gateway.link()).state).toBe('steering');
    expect(await gateway.headgate('recover')).toMatchObject({
      status: 4,
      stderr: expect.stringContaining(`headgate runs here already (pid ${program.pid})`),
    });
  });
});

describe('what services of dead namespaces have left', () => {
  it('goes when the next one starts; what belongs to living ones stays', async () => {
    const alive = await Namespace.add('alive');
    // No namespace gets so low a number (PROC_DYNAMIC_FIRST, fs/proc/generic.c); one that has just gone may be given anew.
    const [gone, there] = ['12345', await alive.getId()];
    const del = (id: string) => run(['sh', '-c', `rm -rf ${STATE_FOLDER}/${id}.*`]);
    const leave = async (id: string) => {
      await del(id);
      await mkdir(await getStatePath('d', id), { recursive: true });
      for (const name of [`${id}.d/ingress-0.bpf.o`, `${id}.lock`, `${id}.sock`, `${id}.journal`])
        await writeFile(join(STATE_FOLDER, name), '');
    };
    try {
      await leave(gone);
      await leave(there);
      await gateway.up();
      const left = await readdir(STATE_FOLDER);
      expect(left.filter((name) => name.startsWith(`${gone}.`))).toEqual([]);
      expect(left.filter((name) => name.startsWith(`${there}.`)).sort()).toEqual(
        ['d', 'journal', 'lock', 'sock'].map((end) => `${there}.${end}`),
      );
    } finally {
      await Promise.all([del(gone), del(there)]);
      await alive.del();
    }
  });
});
