// What is ours is known from the kernel alone, and what was there before is there again: with the state folder lost, with the
// objects of an earlier version, with settings of somebody else's. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo).

import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CLASSIFIER_OBJECT, getStatePath } from '../../src/kernel/index.ts';
import type { Status } from '../../src/service/index.ts';
import { HOOK_CHAIN } from '../../src/shape/index.ts';
import { Faults } from './faults.ts';
import { FORGETFUL, Gateway } from './gateway.ts';
import { soon } from './soon.ts';

const POLICY = `link wan { device wan  download 50mbit  upload 20mbit }
queue mine { share 70% }  queue theirs { share 10% }
rule look when udp and remote.port 7 -> theirs, mirror to spy
rule less when udp and remote.port 9 -> theirs, police 1mbit
default local -> mine  remote -> theirs  new -> theirs
`;
/** All packets. */
const ANY_U32 = ['u32', 'match', 'u32', '0', '0', 'flowid', ':1'] as const;
/** Far more than there are. */
const MOST = 40;

let gateway: Gateway;
let file: string;
let before: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
  await writeFile(file, POLICY);
  before = await gateway.snapshot();
});
afterEach(() => gateway.close());

describe('with its state folder lost', () => {
  it('headgate finds what a killed run has left, leaves it as it is, and takes it down', async () => {
    await (await gateway.up(file)).stop('SIGKILL');
    const named = { download: { queues: [{ name: 'mine' }, { name: 'theirs' }] } };
    expect((await gateway.status()).links).toMatchObject([named]);
    const status = JSON.parse((await gateway.forgetful('status', '--json')).stdout) as Status;
    expect(status).toMatchObject({ running: false, tracking: true, marks: '0x7f000000' });
    expect(status.links).toMatchObject([{ name: 'wan', state: 'kept', uploadLost: false }]);
    expect(status.links[0]!.download!.queues.map(({ name }) => name)).toEqual([undefined, undefined]);
    const kept = await gateway.snapshot();
    expect(await gateway.forgetful('recover')).toMatchObject({ status: 0, stdout: 'nothing was interrupted\n' });
    expect(await gateway.snapshot()).toBe(kept);
    expect(await gateway.forgetful('down')).toMatchObject({ status: 0, stderr: '' });
    expect(await gateway.snapshot()).toBe(before);
  });

  it('headgate takes down what a killed run has left where its journal is damaged', async () => {
    const journal = await getStatePath('journal', await gateway.box.getId());
    for (const text of ['no journal', '\0\0\0', 'null', '{"kind":"reload"}\n{"about":"add nothing"}']) {
      await (await gateway.up(file)).stop('SIGKILL');
      await writeFile(journal, `${text}\n`);
      const { status, stdout } = await gateway.headgate('recover');
      expect([status, stdout]).toEqual([0, expect.stringContaining('the journal is damaged')]);
      expect(await gateway.snapshot()).toBe(before);
    }
  });

  it('a start builds anew on what a killed run has left', async () => {
    await (await gateway.up(file)).stop('SIGKILL');
    const program = await gateway.upIn(FORGETFUL, file);
    expect(await gateway.ping(5)).toBe(0);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a start that was killed at any step is taken down', async () => {
    const faults = await Faults.build(gateway.folder);
    let through = false;
    for (let step = 1; step < MOST && !through; step += 2) {
      await faults.set('dies after', step);
      const program = gateway.start([file], faults.path);
      through = await gateway.isThrough(program);
      await faults.clear();
      if (through) await program.stop('SIGKILL');
      expect(await gateway.forgetful('down')).toMatchObject({ status: 0, stderr: '' });
      expect(await gateway.snapshot()).toBe(before);
      expect(through && step < 5).toBe(false);
    }
    expect(through).toBe(true);
  }, 240_000);

  it('recover leaves a service that runs alone, and down stops it', async () => {
    const program = await gateway.up(file);
    const running = await gateway.snapshot();
    for (const command of [['down', '--left'], ['recover']])
      expect(await gateway.forgetful(...command)).toMatchObject({
        status: 4,
        stderr: expect.stringContaining(`runs here already (pid ${program.pid})`),
      });
    expect(await gateway.snapshot()).toBe(running);
    expect((await gateway.forgetful('down')).status).toBe(0);
    expect((await program.ended).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });
});

describe('a clsact that headgate added, its ifb deleted after kill -9', () => {
  const left = async (...options: string[]): Promise<void> => {
    await (await gateway.up(file, ...options)).stop('SIGKILL');
    await gateway.box.run('ip', 'link', 'del', 'hg-wan');
  };
  const chains = () => gateway.box.run('tc', 'chain', 'show', 'dev', 'wan', 'ingress');

  it.each(['bpf', 'map'])('goes with down, also without the state folder (%s)', async (datapath) => {
    await left('--datapath', datapath);
    expect(await gateway.forgetful('down')).toMatchObject({ status: 0, stderr: '' });
    expect(await gateway.snapshot()).toBe(before);
  });

  it('goes with the end of the next start, the redirect deleted as well', async () => {
    await left();
    await gateway.box.run('tc', 'filter', 'del', 'dev', 'wan', 'ingress');
    expect(await gateway.box.run('tc', 'qdisc', 'show', 'dev', 'wan')).toContain('clsact');
    expect((await (await gateway.up(file)).stop('SIGTERM')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });

  it('stays where somebody else has a filter there, and is theirs from then on', async () => {
    await left();
    const filter = 'dev wan egress protocol ip pref 5 u32 match u32 0 0';
    await gateway.box.run('tc', 'filter', 'add', ...filter.split(' '));
    expect(await chains()).toContain(`chain ${HOOK_CHAIN}`);
    const { stdout } = await gateway.headgate('down');
    expect(stdout).toContain('leave clsact on wan to others');
    expect(await chains()).not.toContain(`chain ${HOOK_CHAIN}`);
    await gateway.box.run('tc', 'filter', 'del', 'dev', 'wan', 'egress');
    expect((await gateway.headgate('down')).stdout).toBe('nothing of headgate is here\n');
    const theirs = await gateway.snapshot();
    expect(theirs).toContain('qdisc clsact');
    await left();
    expect((await gateway.headgate('down')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(theirs);
  });
});

describe('an earlier version', () => {
  // As the first one made them: nothing told yet which bits of the mark are ours, nor that an ifb can be shared.
  const build = async (): Promise<void> => {
    const { box } = gateway;
    await box.feed(
      `table inet headgate {
  comment "made by headgate"
  chain track { type filter hook prerouting priority mangle; policy accept; ct state invalid counter; }
}
`,
      ...(['nft', '-f', '-'] as const),
    );
    await box.batch(
      'link add name hg-wan txqueuelen 1000 type ifb',
      'link set dev hg-wan alias "headgate link=wan device=wan clsact=ours"',
      'link set hg-wan up',
    );
    await box.feed(
      `qdisc add dev hg-wan root handle 7fe0: htb default 0
class add dev hg-wan parent 7fe0: classid 7fe0:100 htb rate 50mbit
class add dev hg-wan parent 7fe0:100 classid 7fe0:1 htb rate 35mbit ceil 50mbit
qdisc add dev wan clsact
filter replace dev wan ingress protocol all pref 32736 handle 1 bpf object-file ${CLASSIFIER_OBJECT} section ingress action mirred egress redirect dev hg-wan
qdisc add dev wan root handle 7fe1: htb default 0
`,
      ...(['tc', '-batch', '-'] as const),
    );
  };

  it('has left what status shows, recover leaves as it is, and down takes away', async () => {
    await build();
    const { links } = JSON.parse((await gateway.headgate('status', '--json')).stdout) as Status;
    expect(links).toMatchObject([{ name: 'wan', device: 'wan', state: 'kept', ifbs: [{ name: 'hg-wan' }] }]);
    const kept = await gateway.snapshot();
    expect(await gateway.headgate('recover')).toMatchObject({ status: 0, stdout: 'nothing was interrupted\n' });
    expect(await gateway.snapshot()).toBe(kept);
    expect(await gateway.headgate('down')).toMatchObject({ status: 0, stderr: '' });
    expect(await gateway.snapshot()).toBe(before);
  });

  it('is followed by this one', async () => {
    await build();
    const program = await gateway.up(file);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });
});

describe('a filter of somebody else’s where ours let packets in', () => {
  /** Its program, with which it matches nothing, or all. */
  const theirs = (kind: 'bpf' | 'u32') =>
    kind === 'bpf' ? ['bpf', 'object-file', join(gateway.folder, 'other.o'), 'section', 'pick'] : ANY_U32;
  const put = (kind: 'bpf' | 'u32') =>
    gateway.box.run('tc', ...'filter add dev wan ingress protocol all pref 32736'.split(' '), ...theirs(kind));
  const filters = async () => (await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).split('\n');
  const count = async (text: string) => (await filters()).filter((line) => line.includes(text)).length;
  const left = () => soon(async () => expect([await count('ingress-'), await count('other.o')]).toEqual([0, 1]));
  beforeEach(() => copyFile(CLASSIFIER_OBJECT, join(gateway.folder, 'other.o')));

  it.each([
    ['bpf', 'other.o:[pick]'],
    ['u32', 'u32'],
  ] as const)('has up refuse, and is left by down and recover: %s', async (kind, name) => {
    await gateway.box.run('tc', 'qdisc', 'add', 'dev', 'wan', 'clsact');
    await put(kind);
    const there = await gateway.snapshot();
    expect(await gateway.headgate('up', file)).toMatchObject({
      status: 4,
      stderr: expect.stringContaining(`wan has ingress filters that are not ours: pref 32736 ${name}.`),
    });
    expect((await gateway.headgate('recover')).status).toBe(0);
    await gateway.headgate('down');
    expect(await gateway.snapshot()).toBe(there);
  });

  it('stays where the redirect is put back, which is when it has gone', async () => {
    const program = await gateway.up(file);
    await gateway.box.batch('link set hg-wan down');
    await program.line((line) => line.includes('hg-wan was set down'));
    await soon(async () => expect(await count('ingress-')).toBe(0));
    await put('bpf');
    await gateway.box.batch('link set hg-wan up');
    await program.line((line) => line.includes('not ours: pref 32736 other.o:[pick]'));
    await left();
    expect((await gateway.link()).state).toBe('open');
    await gateway.box.run('tc', ...'filter del dev wan ingress pref 32736'.split(' '));
    await soon(async () => expect(await count('ingress-')).toBe(1));
    await soon(async () => expect((await gateway.link()).state).toBe('steering'));
  });

  it('stays beside ours: when that goes with the ifb, at the end, by the guard, by recover and by down', async () => {
    let program = await gateway.up(file);
    await put('bpf');
    await gateway.box.batch('link del hg-wan');
    await left();
    await soon(async () => expect((await gateway.link()).state).toBe('open'));
    expect((await program.stop('SIGTERM')).status).toBe(0);
    await left();
    const own = async () => {
      await gateway.box.run('tc', 'qdisc', 'del', 'dev', 'wan', 'clsact');
      program = await gateway.up(file);
      await put('bpf');
    };

    await own();
    expect((await program.stop('SIGTERM')).status).toBe(0);
    await left();

    await own();
    await program.stop('SIGKILL');
    await gateway.box.batch('link set hg-wan down');
    await left();
    await gateway.headgate('down');

    for (const command of ['recover', 'down']) {
      await own();
      await gateway.killUnguarded(program);
      await gateway.box.batch('link del hg-wan');
      expect((await gateway.headgate(command)).status).toBe(0);
      await left();
    }
  });
});

describe('what others have set', () => {
  /** All that sysctl(8) tells of the network namespace, without what counts, and without what belongs to a device of ours. */
  const settings = async (): Promise<string> =>
    (await gateway.box.run('sysctl', '--all', '--pattern', '^net\\.'))
      .split('\n')
      .filter((line) => !/nf_conntrack_count|\.hg-wan\.|\.spy\./.test(line))
      .join('\n');
  const features = () => gateway.box.run('ethtool', '-k', 'wan');

  it('is as it was while headgate runs, and afterwards: sysctls, a queue’s length, offloads, a root qdisc', async () => {
    const { box } = gateway;
    await box.batch('link set wan txqueuelen 77');
    await box.run('tc', 'qdisc', 'add', 'dev', 'wan', 'root', 'handle', '5:', 'pfifo', 'limit', '33');
    await box.run('ethtool', '-K', 'wan', 'gso', 'off');
    await writeFile(file, POLICY.replace('upload 20mbit', ''));
    const set = async () => [
      await settings(),
      await features(),
      /txqueuelen|qlen \d+/.exec(await box.run('ip', 'link', 'show', 'wan'))![0],
      await box.run('tc', 'qdisc', 'show', 'dev', 'wan', 'root'),
    ];
    const was = await set();
    expect(was[3]).toContain('pfifo 5:');
    const snapshot = await gateway.snapshot();
    const program = await gateway.up(file);
    expect(await set()).toEqual(was);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await set()).toEqual(was);
    expect(await gateway.snapshot()).toBe(snapshot);
  });
});
