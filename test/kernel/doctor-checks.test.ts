// Conflicts and blind spots, provoked in a namespace and told by `headgate doctor`. Shown on the machine's own kernel
// (6.18), which has no flowtables, and where the clock belongs to the whole machine: those are judged in
// test/unit/doctor-checks.test.ts.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isClockSynchronised, run } from '../../src/kernel/index.ts';
import { DEFAULT_RECEIVE_BUFFER } from '../../src/kernel/sources.ts';
import { addVeth, Namespace, Program, packageFile } from '../../src/lab/index.ts';
import type { Concern } from '../../src/model/index.ts';
import { exitOf, HEADGATE } from './gateway.ts';
import { PATIENCE } from './soon.ts';

let box: Namespace;
let world: Namespace;
let folder: string;
beforeEach(async () => {
  box = await Namespace.add('box');
  world = await Namespace.add('world');
  folder = await mkdtemp(join(tmpdir(), 'hg-doctor-'));
  await addVeth(box, 'wan', world, 'up0');
  await box.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'wan');
  await box.run('ip', 'route', 'add', 'default', 'via', '192.0.2.2');
  // On a slow line what joins packets is told of.
  for (const feature of ['gro', 'gso', 'tso']) await box.run('ethtool', '-K', 'wan', feature, 'off');
});
afterEach(async () => {
  await rm(folder, { recursive: true });
  await Promise.all([box.del(), world.del()]);
});

interface Told {
  readonly concerns: readonly Concern[];
  readonly marks: {
    readonly inForce?: string;
    readonly wouldTake: unknown;
    readonly uses: readonly { readonly who: string }[];
  };
}

async function doctor(...args: string[]): Promise<Told> {
  const { stdout, stderr } = await exitOf(box.name, ...HEADGATE, 'doctor', '--json', ...args);
  expect(stderr).toBe('');
  return JSON.parse(stdout).here as Told;
}
const checks = async (...args: string[]): Promise<string[]> =>
  (await doctor(...args)).concerns.map(({ check, severity }) => `${severity} ${check}`);

async function policy(rates = 'download 5mbit upload 5mbit', rules = ''): Promise<string> {
  const file = join(folder, 'doctor.gate');
  const text = `link wan { device wan  ${rates} }\nqueue a { share 60% }\nqueue b { share 10% }\n${rules}\ndefault local -> a  remote -> b  new -> b\n`;
  await writeFile(file, text);
  return file;
}

describe('conflicts and blind spots', () => {
  it('none where there are none, on the device of the default route or that of a policy', async () => {
    expect(await checks()).toEqual([]);
    expect(await checks(await policy())).toEqual([]);
    expect((await exitOf(box.name, ...HEADGATE, 'doctor')).stdout).toContain(
      '\nconflicts and blind spots\n  none found\n',
    );
  });

  it('somebody else’s shaper, both ways, on the device of the default route', async () => {
    await box.run('ip', 'link', 'add', 'ifb4wan', 'type', 'ifb');
    await box.run('tc', 'qdisc', 'add', 'dev', 'wan', 'root', 'handle', '1:', 'htb');
    await box.run('tc', 'qdisc', 'add', 'dev', 'wan', 'ingress');
    await box.run(
      ...([
        'tc',
        'filter',
        'add',
        'dev',
        'wan',
        'parent',
        'ffff:',
        'protocol',
        'all',
        'u32',
        'match',
        'u32',
        '0',
        '0',
      ] as const),
      ...['action', 'mirred', 'egress', 'redirect', 'dev', 'ifb4wan'],
    );
    const { concerns } = await doctor();
    expect(concerns.map(({ check }) => check)).toEqual(['other-shaper', 'other-shaper']);
    expect(concerns[0]!.what).toContain('wan has a root qdisc of somebody else, htb 1:');
    expect(concerns[1]!.what).toContain('redirected to ifb4wan by somebody else');
  });

  it('a netdev chain', async () => {
    await box.feed(
      'table netdev fw { chain in { type filter hook ingress device "wan" priority 0; }; }\n',
      'nft',
      '-f',
      '-',
    );
    expect(await doctor()).toMatchObject({ concerns: [{ check: 'netdev-ingress', severity: 'problem' }] });
  });

  it('a bridge whose packets netfilter sees', async () => {
    await box.run('ip', 'link', 'add', 'br0', 'type', 'bridge');
    await box.run('sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=1', 'net.bridge.bridge-nf-call-ip6tables=0');
    const { concerns } = await doctor();
    expect(concerns).toMatchObject([{ check: 'bridge-netfilter', severity: 'note' }]);
    expect(concerns[0]!.what).toContain('netfilter sees IPv4 that is bridged on br0');
    await box.run('sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0');
    expect(await checks()).toEqual([]);
  });

  it('a device without a queue, and one that joins packets on a slow line', async () => {
    await box.run('ip', 'link', 'set', 'wan', 'txqueuelen', '0');
    expect(await checks()).toEqual(['warning txqueuelen']);
    await box.run('ip', 'link', 'set', 'wan', 'txqueuelen', '1000');
    for (const [feature, check] of [
      ['gro', 'gro'],
      ['gso', 'gso'],
    ] as const) {
      await box.run('ethtool', '-K', 'wan', feature, 'on');
      expect(await checks(await policy())).toEqual([`warning ${check}`]);
      expect(await checks(await policy('download 500mbit upload 500mbit'))).toEqual([]);
      await box.run('ethtool', '-K', 'wan', feature, 'off');
    }
  });

  it('a conntrack table that is nearly full', async () => {
    const drop = 'table inet t { chain c { type filter hook prerouting priority -50; ct state new drop; }; }\n';
    await box.feed(drop, 'nft', '-f', '-');
    const max = Number(await box.run('cat', '/proc/sys/net/netfilter/nf_conntrack_max'));
    await box.run(process.execPath, packageFile('test/kernel/open-flows.mjs'), `${Math.ceil(0.82 * max)}`);
    const { concerns } = await doctor();
    expect(concerns).toMatchObject([{ check: 'conntrack-full', severity: 'warning' }]);
    expect(concerns[0]!.advice).toContain(`net.netfilter.nf_conntrack_max=${2 * max}`);
  }, 180_000);

  it('a receive buffer that is small, where a container may not have more', async () => {
    const most = Number(await run(['sysctl', '-n', 'net.core.rmem_max']));
    const inside = ['unshare', '--user', '--map-root-user', '--net', ...HEADGATE, 'doctor', '--json'] as const;
    const { stdout } = await exitOf(undefined, ...inside);
    const { concerns } = JSON.parse(stdout).here as Told;
    expect(concerns.map(({ check }) => check)).toEqual(most < DEFAULT_RECEIVE_BUFFER ? ['receive-buffer'] : []);
  });

  it('a rate above what the device carries', async () => {
    // A veth says 10 gbit of itself.
    const { concerns } = await doctor(await policy('download 20gbit upload 1gbit'));
    expect(concerns).toMatchObject([{ check: 'rate-above-link', severity: 'problem' }]);
    expect(concerns[0]!.what).toContain('download 20gbit is more than wan carries, 10gbit');
  });

  it('counters and clock of flows that are off though rules need them', async () => {
    await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=0', 'net.netfilter.nf_conntrack_timestamp=0');
    const file = await policy(undefined, 'rule big when bytes > 1MB -> b\nrule old when age > 1h -> b');
    const { concerns } = await doctor(file);
    expect(concerns.map(({ check }) => check)).toEqual(['unserved', 'unserved']);
    expect(concerns[0]!.what).toContain('nf_conntrack_acct is 0');
    expect(concerns[1]!.what).toContain('nf_conntrack_timestamp is 0');
    expect(concerns[0]!.advice).toContain('sysctl -w net.netfilter.nf_conntrack_acct=1');
    await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1', 'net.netfilter.nf_conntrack_timestamp=1');
    expect(await checks(file)).toEqual([]);
  });

  it('a clock that nothing keeps right, where rules ask for the time, as the kernel tells it to others', async () => {
    const file = await policy(undefined, 'rule night when time in 01:00-07:00 -> b');
    const expected = isClockSynchronised() ? [] : ['warning clock'];
    expect(await checks(file)).toEqual(expected);
    // Another program's way to the same system call.
    const script = 'import ctypes; print(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))';
    const python = await run(['python3', '-c', script]).catch(() => undefined);
    if (python !== undefined) expect(isClockSynchronised()).toBe(Number(python) !== 5);
  });

  it('whose bits of the mark are whose: before, and while headgate runs', async () => {
    await box.run('ip', 'rule', 'add', 'fwmark', '0x01000000/0x01000000', 'table', '100');
    await box.feed(
      'table inet fw { chain c { type filter hook prerouting priority 0; ct mark and 0x01000000 != 0 accept; }; }\n',
      'nft',
      '-f',
      '-',
    );
    const before = await doctor();
    expect(before.marks).toMatchObject({ wouldTake: '0xfe000000' });
    expect(before.marks.uses.map(({ who }) => who)).toEqual([
      'nft table inet fw',
      expect.stringMatching(/^ip -4 rule/),
    ]);
    const up = Program.start('headgate up', ['env', ...HEADGATE, 'up', '--json', await policy()], { netns: box.name });
    await up.line((line) => line.includes('"ready"'), 20_000 * PATIENCE);
    expect((await doctor()).marks.inForce).toBe('0xfe000000');
    expect((await exitOf(box.name, ...HEADGATE, 'doctor')).stdout).toContain('bits of the mark: 0xfe000000 are ours');
    // What is ours is nobody else's.
    expect(await checks()).toEqual([]);
    await up.stop('SIGTERM');
  });
});
