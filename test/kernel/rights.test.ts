// What a running service may: read from /proc, and shown to be enough. On the machine's own kernel (6.18; conntrack and
// nf_tables built in, datapaths bpf and map).

import { chmod, chown, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RIGHTS, type Right } from '../../src/kernel/index.ts';
import { Program } from '../../src/lab/index.ts';
import { NEEDED_RIGHTS } from '../../src/service/privileges.ts';
import { FORGETFUL, Gateway, HEADGATE, WORLD } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

let gateway: Gateway;
let file: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
  await chmod(gateway.folder, 0o755);
});
afterEach(() => gateway.close());

const policy = (download: string) => `link wan { device wan  download ${download}  upload 20mbit }
queue mine { share 70% }  queue theirs { share 10% }
rule look when tcp -> theirs, mirror to hg-look
rule less when udp and remote.port 9 -> theirs, police 1mbit
default local -> mine  remote -> theirs  new -> theirs
`;

const maskOf = (rights: readonly Right[]): string =>
  rights
    .reduce((mask, right) => mask | RIGHTS[right], 0n)
    .toString(16)
    .padStart(16, '0');

/** What each thread of the process may: capability sets, and whether it can gain any. */
async function threadsOf(pid: number): Promise<Record<string, string>[]> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const texts = tasks.map((task) => readFile(`/proc/${pid}/task/${task}/status`, 'utf8').catch(() => ''));
  // One that reads a dump may have ended meanwhile.
  return (await Promise.all(texts))
    .filter((text) => text !== '')
    .map((text) =>
      Object.fromEntries([...text.matchAll(/^(Cap\w+|NoNewPrivs):\s*(\w+)$/gm)].map((m) => [m[1]!, m[2]!])),
    );
}

const sets = (mask: string) => ({
  ...{ CapInh: maskOf([]), CapPrm: mask, CapEff: mask, CapBnd: mask, CapAmb: maskOf([]) },
  NoNewPrivs: '1',
});

describe.each(['bpf', 'map'] as const)('a service of the datapath %s', (datapath) => {
  it('has in every thread what it needs, and with that reloads, follows links, steers and takes itself down', async () => {
    const before = await gateway.snapshot();
    await writeFile(file, policy('50mbit'));
    const program = await gateway.up(file, '--datapath', datapath);
    const threads = await threadsOf(program.pid!);
    expect(threads.length).toBeGreaterThan(5);
    for (const thread of threads) expect(thread).toEqual(sets(maskOf(NEEDED_RIGHTS[datapath])));

    // Of these two, `map` alone follows flows by such a policy; it may load no program.
    const { service } = await gateway.status();
    expect(service).toMatchObject(datapath === 'map' ? { follows: ['new', 'destroy'], by: 'socket' } : { follows: [] });
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000);
    await writeFile(file, policy('30mbit'));
    expect(await gateway.headgate('reload')).toMatchObject({ status: 0, stderr: '' });
    expect((await gateway.link()).download!.queues[0]!.ceil).toBe(30e6);

    const { box } = gateway;
    await box.run('ip', 'link', 'set', 'hg-wan', 'down');
    await soon(async () => expect((await gateway.link()).state).toBe('open'));
    await box.run('ip', 'link', 'set', 'hg-wan', 'up');
    await soon(async () => expect((await gateway.link()).state).toBe('steering'));
    await box.run('ip', 'link', 'del', 'wan');
    await soon(async () => expect((await gateway.link()).state).toBe('absent'));
    await gateway.layWan();
    await soon(async () => expect((await gateway.link()).state).toBe('steering'));
    expect(await gateway.ping(5)).toBe(0);

    expect((await program.stop('SIGTERM')).status).toBe(0);
    // The new device has another number, and comes later in each list.
    const names = (text: string) =>
      text
        .replace(/^\d+: .*$|^ +link\/.*$|refcnt \d+/gm, '')
        .split('\n')
        .sort();
    expect(names(await gateway.snapshot())).toEqual(names(before));
  });
});

describe('a service', () => {
  it('keeps the right to read everything for a policy that root can read by that alone', async () => {
    const home = join(gateway.folder, 'home');
    await mkdir(home);
    file = join(home, 'my.gate');
    await writeFile(file, policy('50mbit'));
    await chown(file, 54_001, 54_001);
    await chown(home, 54_001, 54_001);
    await chmod(home, 0o700);
    const program = await gateway.up(file);
    const [thread] = await threadsOf(program.pid!);
    expect(thread).toEqual(sets(maskOf([...NEEDED_RIGHTS.bpf, 'DAC_READ_SEARCH'])));
    await writeFile(file, policy('30mbit'));
    expect(await gateway.headgate('reload')).toMatchObject({ status: 0 });
  });

  it('goes on without what has node read certificates', async () => {
    await writeFile(file, policy('50mbit'));
    const program = await gateway.upIn(['NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt', 'KEPT=yes'], file);
    const environment = await readFile(`/proc/${program.pid}/environ`, 'utf8');
    expect(environment).toContain('KEPT=yes');
    expect(environment).not.toContain('NODE_EXTRA_CA_CERTS');
  });

  it('begins with the rights that the unit leaves it, also where nobody has tried out the kernel yet', async () => {
    const unit = await readFile(new URL('../../docs/systemd/headgate.service', import.meta.url), 'utf8');
    const bounding = /^CapabilityBoundingSet=(.*)$/m
      .exec(unit)![1]!
      .split(' ')
      .map((name) => `+${name.replace('CAP_', '').toLowerCase()}`);
    await writeFile(file, policy('50mbit'));
    const limited = ['setpriv', `--bounding-set=-all,${bounding}`, '--inh-caps=-all', '--no-new-privs'] as const;
    const argv = [...FORGETFUL, ...limited, ...HEADGATE, 'up', '--json', file] as const;
    const program = Program.start('headgate up', argv, { netns: gateway.box.name });
    const ready = await program.line((line) => line.includes('"kind":"ready"'), 30_000 * PATIENCE);
    expect(JSON.parse(ready).datapath).toBe('bpf');
    const [thread] = await threadsOf(program.pid!);
    expect(thread).toEqual(sets(maskOf(NEEDED_RIGHTS.bpf)));
    expect((await program.stop('SIGTERM')).status).toBe(0);
  });
});
