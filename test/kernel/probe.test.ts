// What the probe and `headgate doctor` find, held to what tc does by hand. Shown on the machine's own kernel (6.18, which
// lacks half of it); test/vm/guest/doctor.test.ts is for one that has all.

import { mkdir, mkdtemp, readdir, readlink, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, start } from '../../src/kernel/index.ts';
import { probe } from '../../src/kernel/probe.ts';
import { Scratch } from '../../src/kernel/scratch.ts';
import { addVeth, Namespace, packageFile } from '../../src/lab/index.ts';
import { CAPABILITY_NAMES, type Capability, type Finding, isSettled } from '../../src/model/index.ts';
import { exitOf, FORGETFUL, HEADGATE } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

/** The network namespaces that processes are in, by their inode. */
async function listNamespaces(): Promise<Set<string>> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  return new Set(await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/ns/net`).catch(() => ''))));
}

describe('the probe', () => {
  let found: Record<Capability, Finding>;
  let ns: Namespace;
  beforeAll(async () => {
    found = await probe();
    ns = await Namespace.add('probe');
  }, 300_000);
  afterAll(() => ns?.del());

  it('finds what everything here depends on', () => {
    const needed = ['device ifb', 'qdisc clsact', 'qdisc ingress', 'qdisc htb', 'qdisc tbf', 'qdisc bfifo'] as const;
    const others = ['action mirred', 'classifier u32', 'classifier bpf', 'nft inet', 'nft ct', 'nft netdev'] as const;
    const more = ['nft priority', 'nft fwd', 'nft dup', 'nft limit', 'nft log'] as const;
    const conntrack = ['conntrack events', 'conntrack marks'] as const;
    const sysctls = CAPABILITY_NAMES.filter((name) => name.startsWith('sysctl '));
    const all: Capability[] = [...needed, ...others, ...more, ...conntrack, ...sysctls];
    expect(Object.fromEntries(all.map((name) => [name, found[name]]))).toEqual(
      Object.fromEntries(all.map((name) => [name, { answer: 'yes' }])),
    );
  });

  it.each([
    ['prio', []],
    ['sfq', []],
    ['fq_codel', []],
    ['cake', []],
    ['tbf', ['rate', '1mbit', 'burst', '64kb', 'limit', '64kb']],
    ['bfifo', ['limit', '64kb']],
  ])('says of qdisc %s what tc says', async (kind, options) => {
    const has = await ns.run('tc', 'qdisc', 'add', 'dev', 'lo', 'root', kind, ...options).then(
      () => ns.run('tc', 'qdisc', 'del', 'dev', 'lo', 'root').then(() => true),
      () => false,
    );
    expect(found[`qdisc ${kind}` as Capability].answer).toBe(has ? 'yes' : 'no');
  });

  it.each([
    ['skbedit', ['mark', '1']],
    ['police', ['rate', '1mbit', 'burst', '10k', 'drop']],
    ['ct', []],
    ['connmark', []],
    ['ctinfo', ['cpmark']],
  ])('says of action %s what tc says', async (action, options) => {
    const has = await ns.run('tc', 'actions', 'add', 'action', action, ...options).then(
      () => true,
      () => false,
    );
    expect(found[`action ${action}` as Capability].answer).toBe(has ? 'yes' : 'no');
  });

  it('knows a match on the mark that the kernel drops silently', async () => {
    await ns.run('tc', 'qdisc', 'replace', 'dev', 'lo', 'clsact');
    const match = ['u32', 'match', 'u32', '0', '0', 'match', 'mark', '1', '0xff', 'classid', '1:1'];
    await ns.run('tc', 'filter', 'add', 'dev', 'lo', 'ingress', 'protocol', 'ip', 'pref', '1', ...match);
    const readBack = await ns.run('tc', 'filter', 'show', 'dev', 'lo', 'ingress');
    const finding = found['classifier u32 mark'];
    if (/\bmark 0x0*1\b/.test(readBack)) expect(finding).toEqual({ answer: 'yes' });
    else expect(finding).toMatchObject({ answer: 'no', why: expect.stringContaining('dropped silently') });
  });

  it('explains everything that it did not find, and blames what cannot be tried on what is missing', () => {
    for (const name of CAPABILITY_NAMES) {
      const finding = found[name];
      if (finding.answer === 'yes') continue;
      expect(finding.why).not.toBe('');
      expect(isSettled(found, name), `${name}: ${finding.why}`).toBe(true);
    }
  });

  it('leaves nothing behind', async () => {
    const before = await Promise.all([run(['ip', '-brief', 'link']), run(['ip', 'netns', 'list'])]);
    const namespaces = await listNamespaces();
    const scratch = await Scratch.open();
    const inode = await readlink(scratch.path);
    expect(namespaces).not.toContain(inode);
    expect(await listNamespaces()).toContain(inode);
    await scratch.run(['ip', 'link', 'add', 'x', 'type', 'ifb']);
    await scratch.close();
    expect(await listNamespaces()).not.toContain(inode);
    const after = await Promise.all([run(['ip', '-brief', 'link']), run(['ip', 'netns', 'list'])]);
    // Other tests' namespaces come and go beside this one.
    expect(after[0]).toBe(before[0]);
  });

  it('leaves nothing behind when it is killed', async () => {
    const script = `import { Scratch } from ${JSON.stringify(packageFile('dist/kernel/scratch.js'))};
      console.log((await Scratch.open()).path); setInterval(() => {}, 1000);`;
    const child = start([process.execPath, '--input-type=module', '-e', script]);
    const path = await new Promise<string>((resolve, reject) => {
      child.stdout!.setEncoding('utf8').once('data', (text: string) => resolve(text.trim()));
      child.once('close', (status) => reject(new Error(`it ended with status ${status}`)));
    });
    const inode = await readlink(path);
    expect(await listNamespaces()).toContain(inode);
    child.removeAllListeners('close').kill('SIGKILL');
    await soon(async () => expect(await listNamespaces()).not.toContain(inode));
  });
});

describe('what is known from an earlier run', () => {
  it('is one answer for all until the next boot, asked for again where it is bad, or somebody wants to know', async () => {
    const script = [process.execPath, packageFile('test/kernel/probe-cache.mjs')];
    const told = JSON.parse(await run([...FORGETFUL, ...script]));
    expect(told.again).toBe(told.first);
    expect(told.same).toBe(true);
    expect(told.edited).toEqual({ time: told.first, bpf: 'no' });
    for (const bad of ['otherKey', 'cut', 'junk']) {
      expect(told[bad].bpf).toBe('yes');
      expect(told[bad].time).toBeGreaterThan(told.first);
    }
    expect(told.fresh).toBeGreaterThan(told.junk.time);
  }, 300_000);
});

describe('headgate doctor', () => {
  let box: Namespace;
  let peer: Namespace;
  beforeAll(async () => {
    box = await Namespace.add('box');
    peer = await Namespace.add('peer');
    await addVeth(box, 'wan', peer, 'up0');
  });
  afterAll(() => Promise.all([box?.del(), peer?.del()]));

  const doctor = (...args: string[]) => exitOf(box.name, ...HEADGATE, 'doctor', ...args);

  it('names the datapath that up takes, and that up then takes', async () => {
    const { status, stdout } = await doctor('--device', 'wan');
    expect(stdout).toMatch(/^ {2}✓ bpf {2}works$/m);
    expect(stdout).toMatch(/^headgate up takes bpf$/m);
    expect(stdout).toContain('nothing is in the way on wan');
    expect(stdout).not.toContain('\x1b');
    expect(status).toBe(0);
    const json = JSON.parse((await doctor('--json')).stdout);
    expect(json).toMatchObject({ takes: 'bpf', datapaths: [{ name: 'bpf', answer: 'yes', lacks: [] }, {}, {}, {}] });
    expect(Object.keys(json.capabilities)).toEqual([...CAPABILITY_NAMES]);
    for (const { answer, why, enable } of Object.values<Record<string, string>>(json.capabilities))
      if (answer === 'no') expect(`${why}; ${enable}`).toMatch(/.; .*(CONFIG_|modprobe\.d)/);
  });

  it('says what up refuses on a device, in the words of up', async () => {
    await box.run(
      'tc',
      'qdisc',
      'add',
      'dev',
      'wan',
      'root',
      'tbf',
      'rate',
      '1mbit',
      'burst',
      '10k',
      'latency',
      '50ms',
    );
    await box.feed(
      'table netdev fw {\n  chain in {\n    type filter hook ingress device "wan" priority 0;\n  }\n}\n',
      'nft',
      '-f',
      '-',
    );
    await box.feed(
      'table inet z {\n  chain c {\n    type filter hook prerouting priority -300;\n    ct zone set 7\n  }\n}\n',
      'nft',
      '-f',
      '-',
    );
    const { here } = JSON.parse((await doctor('--device', 'wan', '--json')).stdout);
    expect(here.refusals.map(({ code }: { code: string }) => code)).toEqual(['HG_CHAIN_TAKEN', 'HG_QDISC_TAKEN']);
    expect(here).toMatchObject({ zones: true, ingressChains: ['wan: table netdev fw chain in'] });
    const up = await exitOf(box.name, ...HEADGATE, 'up', '--device', 'wan', '--download', '9mbit');
    const { stdout } = await doctor('--device', 'wan');
    expect(stdout).toContain(`up refuses: ${/^headgate: (.*)$/m.exec(up.stderr)![1]}`);
  });

  it('asks for a device that there is', async () => {
    const { status, stderr } = await doctor('--device', 'nope');
    expect(stderr).toContain('there is no network device "nope"');
    expect(status).toBe(3);
  });

  it('could not tell anything without rights, and says so', async () => {
    const bare = ['setpriv', '--bounding-set=-all', '--inh-caps=-all', ...HEADGATE, 'doctor', '--fresh'] as const;
    const { status, stdout } = await exitOf(box.name, ...bare, '--json');
    expect(status).toBe(3);
    const { capabilities, takes } = JSON.parse(stdout);
    expect(takes).toBeUndefined();
    for (const finding of Object.values(capabilities))
      expect(finding).toMatchObject({ answer: 'unknown', why: expect.stringMatching(/not permitted/) });
    expect((await exitOf(box.name, ...bare)).stdout).toContain('run it as root');
  });

  it('asks for a tool that is not installed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hg-tools-'));
    try {
      await mkdir(join(folder, 'bin'));
      for (const tool of ['unshare', 'nsenter', 'cat', 'ip', 'tc', 'sysctl']) {
        const path = (await run(['sh', '-c', `command -v ${tool}`])).trim();
        await symlink(path, join(folder, 'bin', tool));
      }
      const bare = ['env', `PATH=${folder}/bin`, ...HEADGATE, 'doctor', '--fresh', '--json'] as const;
      const { status, stderr } = await exitOf(box.name, ...bare);
      expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'HG_NO_TOOL', tool: 'nft', package: 'nftables' } });
      expect(status).toBe(3);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('takes less than two seconds of processor time with nothing known', async () => {
    const times = '"$@" >/dev/null; times';
    const out = await run(['sh', '-c', times, 'sh', ...HEADGATE, 'doctor', '--fresh'], { netns: box.name });
    const spent = [
      ...out
        .trim()
        .split('\n')
        .at(-1)!
        .matchAll(/(\d+)m([\d.]+)s/g),
    ];
    expect(spent).toHaveLength(2);
    expect(spent.reduce((sum, [, m, s]) => sum + Number(m) * 60 + Number(s), 0)).toBeLessThan(2 * PATIENCE);
  });
});
