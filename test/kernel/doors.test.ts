// Every door of the kernel beside tc, ip and nft (netlink sockets, locks, sockets to listen on, files of state), made to
// fail once, each, with a real errno by strace --inject: of a start nothing is left but a clear error, a running service goes on.
// Nothing in Headgate knows. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo).

import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { getStatePath, STATE_FOLDER } from '../../src/kernel/index.ts';
import { Program } from '../../src/lab/index.ts';
import { type Exit, Gateway, WORLD } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

vi.setConfig({ testTimeout: 400_000 * PATIENCE });

const RATES = ['--device', 'wan', '--download', '50mbit', '--upload', '20mbit'] as const;

const traceOf = ({ folder }: Gateway): string => join(folder, 'trace');

const injected = async (gateway: Gateway): Promise<boolean> =>
  (await readFile(traceOf(gateway), 'utf8').catch(() => '')).includes('(INJECTED)');

/** One call of a kind fails: the `n`th of each thread that is traced; `1+`: all of them. */
const inject = (gateway: Gateway, call: string, error: string, n: number | '1+') =>
  [
    'strace',
    '-qq',
    '-o',
    traceOf(gateway),
    '-e',
    `trace=${call}`,
    '-e',
    'signal=none',
    '-e',
    `inject=${call}:error=${error}:when=${n}`,
  ] as const;

describe('a start', () => {
  /** What the kernel can do is known to each start, and doubted by none: finding that out goes through the same doors. */
  const KNOWN = `mount -t tmpfs none ${STATE_FOLDER} && cp "$0" ${STATE_FOLDER}/capabilities.json && exec "$@"`;
  /** Two, so that one start can wait while the other works. */
  let gateways: readonly [Gateway, Gateway];
  let known: string;
  let nothing: ReadonlyMap<Gateway, string>;
  beforeAll(async () => {
    gateways = await Promise.all([Gateway.build(), Gateway.build()]);
    const [first] = gateways;
    await (await first.up()).stop('SIGTERM');
    known = join(first.folder, 'capabilities.json');
    const found = JSON.parse(await readFile(join(STATE_FOLDER, 'capabilities.json'), 'utf8'));
    await writeFile(known, JSON.stringify({ ...found, time: Date.now() + 86_400_000 }));
    nothing = new Map(await Promise.all(gateways.map(async (one) => [one, await one.snapshot()] as const)));
  });
  afterAll(() => Promise.all(gateways.map((one) => one.close())));

  /** Starts headgate under strace and says how that went; it is ended in peace, and has left nothing. */
  async function startUnder(gateway: Gateway, strace: readonly [string, ...string[]]): Promise<string> {
    await rm(traceOf(gateway), { force: true });
    const lost = gateway.ping(10);
    const inPlace = ['unshare', '--mount', 'sh', '-c', KNOWN, known] as const;
    const program = gateway.start(RATES, ...inPlace, ...strace);
    const error = await program
      .line((line) => line.includes('"kind":"ready"'), 60_000 * PATIENCE)
      .then(
        () => undefined,
        (problem: Error) => problem.message,
      );
    // A signal to strace would have it let go.
    if (error === undefined)
      process.kill(Number(await readFile(`/proc/${program.pid}/task/${program.pid}/children`, 'utf8')), 'SIGTERM');
    const { status } = await program.ended;
    if (error === undefined) expect(status).toBe(0);
    // The kernel refuses, the machine lacks something; never 70, an error that nobody thought of.
    else expect([3, 5], error).toContain(status);
    expect(await gateway.snapshot()).toBe(nothing.get(gateway));
    expect(await lost).toBeLessThanOrEqual(5);
    return error ?? 'ready';
  }

  it.each([
    ['flock', 'ENOLCK'],
    ['socket', 'EMFILE'],
    ['bind', 'ENOBUFS'],
    ['setsockopt', 'ENOBUFS'],
    ['sendto', 'ENOBUFS'],
    ['recvfrom', 'ENOMEM'],
    ['bpf', 'ENOMEM'],
    ['listen', 'EADDRINUSE'],
  ])('where one %s fails with %s, each: it says so, or does without, and leaves nothing', async (call, error) => {
    const said: string[] = [];
    let [next, hits, through] = [1, 0, false];
    await Promise.all(
      gateways.map(async (gateway) => {
        while (!through) {
          const n = next++;
          expect(n).toBeLessThan(60);
          const how = await startUnder(gateway, inject(gateway, call, error, n));
          if (await injected(gateway)) hits++;
          else {
            through = true;
            expect(how).toBe('ready');
          }
          said.push(how);
        }
      }),
    );
    expect(hits).toBeGreaterThan(0);
    for (const what of said.filter((one) => one !== 'ready')) expect(what).toContain(error);
  });

  it.each([
    ['journal', 'openat', 1],
    ['journal', 'write', 1],
    ['journal', 'write', 2],
    ['applied.new', 'openat', 1],
  ] as const)('where the disk is full for its %s (%s %i): it says so, and leaves nothing', async (file, call, n) => {
    const [gateway] = gateways;
    const path = (await getStatePath('journal', await gateway.box.getId())).replace('journal', file);
    const said = await startUnder(gateway, [...inject(gateway, call, 'ENOSPC', n), '-f', '-P', path]);
    expect(await injected(gateway)).toBe(true);
    expect(said).toContain('ENOSPC');
  });
});

describe('a running service', () => {
  let gateway: Gateway;
  beforeEach(async () => {
    gateway = await Gateway.build();
  });
  afterEach(() => gateway.close());

  /** Has a call of a thread of the service fail, or all of them, once `trigger` has it made; what holds meanwhile. */
  async function failing(
    tid: number,
    [call, error, n = 1]: readonly [call: string, error: string, n?: number | '1+'],
    trigger: () => Promise<unknown>,
    holds: () => Promise<unknown> = async () => {},
    ...only: readonly string[]
  ) {
    await rm(traceOf(gateway), { force: true });
    const strace = Program.start('strace', [...inject(gateway, call, error, n), ...only, '-p', String(tid)]);
    // What fails at once is gone before anybody has looked.
    await soon(async () => {
      const status = await readFile(`/proc/${tid}/status`, 'utf8').catch(() => '');
      expect(/^TracerPid:\s*[1-9]/m.test(status) || (await injected(gateway))).toBe(true);
    });
    await soon(async () => {
      await trigger();
      expect(await injected(gateway)).toBe(true);
    });
    await holds().finally(() => strace.stop('SIGINT'));
  }

  /** The threads that read sockets; each is found by what wakes it. */
  async function readers(pid: number): Promise<number[]> {
    const tasks = await readdir(`/proc/${pid}/task`);
    // One that dumps ends when it has.
    const nameOf = (task: string) => readFile(`/proc/${pid}/task/${task}/comm`, 'utf8').catch(() => '');
    const names = await Promise.all(tasks.map(nameOf));
    return tasks.filter((_, i) => names[i] === 'headgate\n').map(Number);
  }

  it.each(['EIO', 'ENOBUFS'])('goes on where any of its sockets says %s', async (error) => {
    const program = await gateway.up();
    const { box } = gateway;
    const flows = async () => (await gateway.status()).service!.flows?.total;
    // Somebody who reads of flows has them followed.
    gateway.events();
    await soon(async () => expect(await flows()).toBeDefined());
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    const news = async () => {
      await box.batch('link add d0 type veth peer name d1', 'link del d0');
      await box.feed('table ip t { }\ndelete table ip t\n', 'nft', '-f', '-');
      await gateway.ask(box, 'udp', WORLD, 5000);
    };
    const threads = await soon(async () => {
      const now = await readers(program.pid!);
      expect(now).toHaveLength(3);
      await gateway.ask(box, 'udp', WORLD, 5000);
      expect(await readers(program.pid!)).toEqual(now);
      return now;
    });
    for (const tid of threads) await failing(tid, ['recvmmsg', error], news);
    const { output } = program;
    if (error === 'EIO') {
      await soon(() => {
        for (const what of ['the watch on links broke', 'the watch on tables broke', 'conntrack could not be followed'])
          expect(output.join('\n')).toContain(what);
      });
      await soon(async () => expect(await readers(program.pid!)).toHaveLength(3));
    } else await soon(() => expect(output.join('\n')).toContain('"kind":"overrun"'));

    // It hears of all three still.
    const total = (await flows())!;
    await gateway.ask(box, 'udp', WORLD, 5000);
    await soon(async () => expect(await flows()).toBeGreaterThan(total));
    await box.run('ip', 'link', 'set', 'hg-wan', 'down');
    await soon(async () => expect((await gateway.link()).state).toBe('open'));
    await box.run('ip', 'link', 'set', 'hg-wan', 'up');
    await soon(async () => expect((await gateway.link()).state).toBe('steering'));
    await box.run('nft', 'delete', 'table', 'inet', 'headgate');
    await soon(async () => expect((await gateway.status()).tracking).toBe(true));
    expect(await gateway.ping(3)).toBe(0);
    expect((await program.stop('SIGTERM')).status).toBe(0);
  });

  it.each([1, 2])(
    'refuses a reload where the disk is full for line %i of its journal, and has left nothing of it',
    async (n) => {
      const file = join(gateway.folder, 'test.gate');
      const policy = (rate: string, queue: string) => `link wan { device wan  download ${rate} }
queue mine { share 70% }  queue ${queue} { share 10% }
default local -> mine  remote -> ${queue}  new -> ${queue}
`;
      const namespace = await gateway.box.getId();
      const journal = await getStatePath('journal', namespace);
      const files = async () => readdir(await getStatePath('d', namespace));
      await writeFile(file, policy('50mbit', 'theirs'));
      const program = await gateway.up(file);
      const [built, before] = [await gateway.built(), await files()];
      await writeFile(file, policy('40mbit', 'seed'));
      const full = ['write', 'ENOSPC', n] as const;
      const reloads: Exit[] = [];
      const reload = async () => reloads.push(await gateway.headgate('reload'));
      await failing(program.pid!, full, reload, undefined, '-P', journal);
      expect(reloads).toEqual([{ status: 3, stdout: '', stderr: expect.stringContaining('ENOSPC') }]);
      expect(await gateway.built()).toBe(built);
      expect(await files()).toEqual(before);
      expect((await gateway.headgate('reload')).status).toBe(0);
      expect((await program.stop('SIGTERM')).status).toBe(0);
    },
  );

  it('lets packets pass by tc where the short way is refused', async () => {
    const program = await gateway.up();
    await failing(
      program.pid!,
      ['sendto', 'ENOBUFS', '1+'],
      () => gateway.box.run('ip', 'link', 'set', 'hg-wan', 'down'),
      () => soon(async () => expect(await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).toBe('')),
    );
    expect(await gateway.ping(3)).toBe(0);
    await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'up');
    await soon(async () => expect((await gateway.link()).state).toBe('steering'));
  });
});
