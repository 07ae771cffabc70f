// The unit of docs/systemd under systemd itself, as process 1 of namespaces of its own (booted.ts): installed as the page says,
// started, reloaded, found stuck by the watchdog and started again, stopped, killed. Shown on the machine's own kernel (6.18),
// with systemd of Debian 12 (252).

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';
import { Booted } from './booted.ts';
import { Gateway } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

const POLICY = '/etc/headgate/headgate.gate';
const policy = (download: string) => `link wan { device wan  download ${download}  upload 20mbit }
queue q { share 50% }
default local -> q  remote -> q  new -> q
`;
/** Long enough for a busy machine. */
const WATCHDOG = 5 * PATIENCE;

let gateway: Gateway;
let folder: string;
let booted: Booted | undefined;
beforeEach(async () => {
  gateway = await Gateway.build();
  folder = await mkdtemp(join(tmpdir(), 'hg-booted-'));
});
afterEach(async () => {
  await booted?.close();
  await rm(folder, { recursive: true, force: true });
  await gateway.close();
});

const sent = async (): Promise<number> =>
  Number(
    /class htb 7fe0:1 .*\n Sent (\d+)/.exec(await gateway.box.run('tc', '-s', 'class', 'show', 'dev', 'hg-wan'))![1],
  );

it(
  'starts, reloads, is started again by the watchdog with its queues as they are, and stops without a trace',
  async () => {
    await gateway.box.batch('link set lo up');
    const before = await gateway.snapshot();
    const page = (await readFile(packageFile('docs/systemd/web.conf'), 'utf8')).replaceAll(
      '/usr/bin/node',
      '/opt/node',
    );
    booted = await Booted.boot(gateway.box, folder, { 'headgate/headgate.gate': policy('50mbit') }, (unit) =>
      unit.includes('WatchdogSec=') ? `${unit.replace(/^WatchdogSec=.*/m, `WatchdogSec=${WATCHDOG}s`)}\n${page}` : unit,
    );
    const run = (...argv: string[]) => booted!.run(...argv);
    const unit = { ActiveState: 'active', StatusText: 'wan on wan' };
    const state = async () =>
      Object.fromEntries(
        await Promise.all(Object.keys(unit).map(async (name) => [name, await booted!.property(name)] as const)),
      );

    expect(await run('systemctl', 'start', 'headgate')).toMatchObject({ status: 0 });
    expect(await state()).toEqual(unit);
    const ready = await soon(async () => {
      const line = (await booted!.journal()).find(({ MESSAGE }) => MESSAGE.includes('"kind":"ready"'))!;
      expect(line.PRIORITY).toBe('6');
      return line;
    });
    expect(JSON.parse(ready.MESSAGE)).toMatchObject({ level: 'info', datapath: 'bpf' });
    expect((await run('sh', '-c', 'stat -c "%a %U %G" /run/headgate/*.sock')).stdout).toBe('660 root headgate\n');
    expect(await run('systemd-analyze', 'security', '--threshold=30', '--no-pager', 'headgate')).toMatchObject({
      status: 0,
    });

    const web = async () => {
      const { stdout } = await run('/opt/node', '/opt/headgate/dist/cli/headgate.js', 'web');
      const [address, key] = stdout.trim().split('#');
      const script = `fetch('${address}service', { headers: { authorization: 'Bearer ${key}' } }).then((r) => console.log(r.status))`;
      return (await run('/opt/node', '-e', script)).stdout;
    };
    expect(await web()).toBe('200\n');
    // The key is not in the journal.
    expect(JSON.stringify(await booted.journal())).not.toContain('/#');

    await run('sh', '-c', `echo nonsense > ${POLICY}`);
    expect((await run('systemctl', 'reload', 'headgate')).status).toBe(1);
    expect((await state()).ActiveState).toBe('active');
    await run('sh', '-c', `cat > ${POLICY} <<'E'\n${policy('40mbit')}E`);
    expect(await run('systemctl', 'reload', 'headgate')).toMatchObject({ status: 0 });
    expect(await gateway.box.run('tc', 'class', 'show', 'dev', 'hg-wan')).toContain('rate 40Mbit');

    expect(await gateway.ping(10)).toBe(0);
    const first = await sent();
    expect(first).toBeGreaterThan(0);
    const pid = await booted.property('MainPID');
    const pinging = gateway.ping(200);
    await run('kill', '-STOP', pid);
    await vi.waitFor(
      async () => {
        expect(Number(await booted!.property('NRestarts'))).toBe(1);
        expect(await state()).toEqual(unit);
      },
      { timeout: 60_000 * PATIENCE, interval: 500 },
    );
    expect(await booted.property('MainPID')).not.toBe(pid);
    // The same class counts on.
    expect(await sent()).toBeGreaterThanOrEqual(first);
    expect(await pinging).toBe(0);
    expect(await web()).toBe('200\n');

    expect(await run('systemctl', 'stop', 'headgate')).toMatchObject({ status: 0 });
    expect(await booted.property('Result'), JSON.stringify((await booted.journal()).slice(-4))).toBe('success');
    await soon(async () => expect(await gateway.snapshot()).toBe(before));
  },
  120_000 * PATIENCE,
);

it(
  'killed with kill -9: the stop hook opens what leads nowhere; where no start follows, nothing is left',
  async () => {
    const before = await gateway.snapshot();
    booted = await Booted.boot(gateway.box, folder, { 'headgate/headgate.gate': policy('50mbit') }, (unit) =>
      unit.replace(/^RestartSec=.*/m, 'RestartSec=1h'),
    );
    expect(await booted.run('systemctl', 'start', 'headgate')).toMatchObject({ status: 0 });
    expect(await gateway.guards()).toHaveLength(1);
    // In a moment in which nobody looks.
    await booted.run('kill', '-STOP', await booted.property('MainPID'));
    await gateway.box.batch('link set hg-wan down');
    expect(await gateway.ping(5)).toBe(5);
    await booted.run('kill', '-KILL', await booted.property('MainPID'));
    // The hook has run by then.
    await soon(async () => expect(await booted!.property('SubState')).toBe('auto-restart'));
    expect(await gateway.ping(5)).toBe(0);
    // The guard is killed with the rest of the unit before the hook runs; it may have opened the link by then.
    expect(await gateway.guards()).toEqual([]);
    expect((await gateway.headgate('status')).stdout).toMatch(/^link wan on wan: (kept|open)/m);

    // A policy with mistakes: the unit fails, and nobody would watch.
    await booted.run('sh', '-c', `echo nonsense > ${POLICY}`);
    expect((await booted.run('systemctl', 'restart', 'headgate')).status).not.toBe(0);
    await soon(async () => expect(await gateway.snapshot()).toBe(before));
    await soon(async () =>
      expect((await booted!.run('systemctl', 'show', '--value', '--property=Result', 'headgate-down')).stdout).toBe(
        'success\n',
      ),
    );
  },
  120_000 * PATIENCE,
);
