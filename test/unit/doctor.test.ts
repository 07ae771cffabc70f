import { describe, expect, it } from 'vitest';
import type { Here } from '../../src/cli/doctor-here.ts';
import { enablingHint, folderNote, type ModuleFacts } from '../../src/cli/doctor-hints.ts';
import { formatDiagnosis } from '../../src/cli/doctor-report.ts';
import { execute, readFailedLines, run, TIMED_OUT } from '../../src/kernel/command.ts';
import { NFT_TRIALS } from '../../src/kernel/probe-nft.ts';
import { TC_TRIALS } from '../../src/kernel/probe-tc.ts';
import {
  CAPABILITIES,
  CAPABILITY_NAMES,
  type Capabilities,
  type Capability,
  type Finding,
  HeadgateError,
  isSettled,
} from '../../src/model/index.ts';
import { chooseDatapath, ladderOf, qdiscsOf } from '../../src/shape/index.ts';
import { soon } from '../kernel/soon.ts';

const no = (why = 'the kernel said no'): Finding => ({ answer: 'no', why });
const unknown = (why = 'it hung'): Finding => ({ answer: 'unknown', why });

function kernel(but: Partial<Record<Capability, Finding>> = {}): Capabilities {
  const findings = CAPABILITY_NAMES.map((name) => [name, but[name] ?? { answer: 'yes' }]);
  return { release: '6.1.0-9-amd64', time: 0, findings: Object.fromEntries(findings) };
}
const rungs = (capabilities: Capabilities) =>
  Object.fromEntries(ladderOf(capabilities).map(({ datapath, answer, lacks }) => [datapath, [answer, ...lacks]]));

describe('the ladder', () => {
  it('has four datapaths, and takes the best that works and is built', () => {
    expect(rungs(kernel())).toEqual({ bpf: ['yes'], ct: ['yes'], mark: ['yes'], map: ['yes'] });
    expect(chooseDatapath(kernel())).toBe('bpf');
    expect(chooseDatapath(kernel({ 'classifier bpf': no() }))).toBe('ct');
    expect(chooseDatapath(kernel({ 'classifier bpf': no(), 'action ct': no() }))).toBe('mark');
    expect(chooseDatapath(kernel({ 'device ifb': no() }))).toBeUndefined();
  });

  it('names what a datapath lacks; of what can stand for each other, one is enough', () => {
    expect(rungs(kernel({ 'action ctinfo': no(), 'qdisc clsact': no(), 'qdisc htb': no() }))).toEqual({
      bpf: ['yes'],
      ct: ['yes'],
      mark: ['yes'],
      map: ['yes'],
    });
    expect(rungs(kernel({ 'action ctinfo': no(), 'action connmark': no(), 'nft fwd': no() }))).toEqual({
      bpf: ['yes'],
      ct: ['yes'],
      mark: ['no', ['action ctinfo', 'action connmark']],
      map: ['no', ['nft fwd']],
    });
  });

  it('is not sure of a datapath where one need could not be told, and sure that it fails where another is missing', () => {
    const hung = kernel({ 'action ct': no(), 'classifier flower ct_state': unknown(), 'action mirred': unknown() });
    expect(rungs(hung)).toEqual({
      bpf: ['unknown', ['action mirred']],
      ct: ['no', ['action ct']],
      mark: ['unknown', ['action mirred']],
      map: ['yes'],
    });
    expect(chooseDatapath(kernel({ 'classifier bpf': unknown() }))).toBe('ct');
  });

  it('offers trees the qdiscs that are known to work', () => {
    const few = kernel({ 'qdisc cake': no(), 'qdisc sfq': unknown(), 'qdisc prio': no(), 'qdisc tbf': no() });
    expect(qdiscsOf(few)).toEqual(new Set(['bfifo', 'fq_codel']));
  });
});

describe('the catalogue of capabilities', () => {
  it('has a trial for each, or one of the conntrack trial, and each trial leans on earlier answers', () => {
    const tried = [...NFT_TRIALS, ...TC_TRIALS].map(({ capability }) => capability);
    expect(new Set(tried).size).toBe(tried.length);
    const others = CAPABILITY_NAMES.filter((name) => !tried.includes(name));
    expect(others.filter((name) => !/^(conntrack|sysctl) /.test(name))).toEqual(['device ifb']);
    const needs = new Map<Capability, readonly Capability[]>(
      [...NFT_TRIALS, ...TC_TRIALS].map((trial) => [trial.capability, trial.needs]),
    );
    const walk = (name: Capability, path: Capability[]): void => {
      expect(path, `${[...path, name].join(' > ')} goes in a circle`).not.toContain(name);
      for (const need of needs.get(name) ?? []) walk(need, [...path, name]);
    };
    for (const name of tried) walk(name, []);
  });

  it('names options of the kernel, and modules as kmod spells them', () => {
    for (const { config, modules } of Object.values(CAPABILITIES)) {
      expect(config.length).toBeGreaterThan(0);
      for (const option of config) expect(option).toMatch(/^CONFIG_[A-Z0-9_]+$/);
      for (const name of modules) expect(name).toMatch(/^[a-z0-9_]+$/);
    }
  });
});

describe('an answer', () => {
  it('is settled where trying again would find the same', () => {
    const without = (...needs: Capability[]): Finding => ({ answer: 'unknown', why: 'w', without: needs });
    const { findings } = kernel({
      'action ct': no(),
      'classifier flower ct_state': without('action ct', 'nft ct'),
      'action police': unknown(),
      'action mirred': without('qdisc clsact'),
      'qdisc clsact': unknown(),
      'action skbedit': without('classifier flower ct_state'),
    });
    const open = CAPABILITY_NAMES.filter((name) => !isSettled(findings, name));
    expect(open).toEqual(['qdisc clsact', 'action mirred', 'action police']);
  });
});

describe('what would enable a capability', () => {
  const facts = (modules: ReadonlyMap<string, unknown>, more: Partial<ModuleFacts> = {}): ModuleFacts => ({
    release: '6.1.0-9-amd64',
    machine: 'x86_64',
    folder: true,
    modules: modules as ModuleFacts['modules'],
    ...more,
  });

  it.each<[string, Capability, ModuleFacts, string]>([
    [
      'a module that is not installed',
      'action ct',
      facts(new Map([['act_ct', 'absent']])),
      "needs module act_ct (CONFIG_NET_ACT_CT); Debian's package linux-image-amd64 has it",
    ],
    [
      'the same on the kernel for clouds',
      'action ct',
      facts(new Map([['act_ct', 'absent']]), { release: '6.1.0-9-cloud-arm64', machine: 'aarch64' }),
      "needs module act_ct (CONFIG_NET_ACT_CT); Debian's cloud kernel lacks it: apt-get install linux-image-arm64, and boot that",
    ],
    [
      'a module that modprobe.d forbids',
      'qdisc cake',
      facts(new Map([['sch_cake', { path: '/lib/modules/sch_cake.ko', blocked: 'install /bin/false' }]])),
      'module sch_cake is there, but modprobe.d says "install /bin/false": take that line out of /etc/modprobe.d',
    ],
    [
      'a module that is there',
      'classifier flower ct_state',
      facts(new Map([['cls_flower', { path: '/lib/modules/cls_flower.ko' }]])),
      'needs CONFIG_NET_CLS_FLOWER and Linux 5.12; module cls_flower is installed: modprobe says why if one does not load',
    ],
    [
      'an option of the kernel itself',
      'classifier u32 mark',
      facts(new Map([['cls_u32', 'built-in']])),
      'needs a kernel with CONFIG_CLS_U32_MARK',
    ],
    ['no kmod to ask', 'qdisc sfq', facts(new Map()), 'needs a kernel with CONFIG_NET_SCH_SFQ'],
  ])('%s', (_, capability, given, hint) => expect(enablingHint(capability, given)).toBe(hint));

  it('says once that a kernel has no modules at all', () => {
    const none = facts(new Map([['act_ct', 'absent']]), { folder: false });
    expect(enablingHint('action ct', none)).toBe('needs module act_ct (CONFIG_NET_ACT_CT)');
    expect(folderNote(none)).toMatch(/nothing for 6\.1\.0-9-amd64.*boot it/);
    expect(folderNote(facts(new Map()))).toBeUndefined();
  });
});

describe('the report', () => {
  const here: Here = {
    sysctls: { nf_conntrack_acct: '0', nf_conntrack_timestamp: '1', nf_conntrack_events: undefined },
    zones: true,
    ingressChains: ['wan: table netdev fw chain in'],
    ingressQdiscs: ['wan: clsact'],
    refusals: [new HeadgateError('HG_QDISC_TAKEN', { device: 'wan', found: 'tbf 1:' })],
    marks: {
      wouldTake: '0x7f000000',
      warnings: [],
      uses: [{ who: 'mwan3', where: 'a chain', of: 'ct', bits: 0x3f00 }],
      unseen: [],
    },
    concerns: [{ check: 'lro', severity: 'warning', what: 'lro of wan is on', advice: 'ethtool -K wan lro off' }],
  };
  const lacking = kernel({ 'action ct': no('not found'), 'classifier flower ct_state': unknown(), 'qdisc cake': no() });
  const hints = new Map<Capability, string>([['action ct', 'needs module act_ct']]);
  const text = formatDiagnosis({ capabilities: lacking, hints, here, device: 'wan' }, false);

  it('says of each datapath whether it works, in words, and why not', () => {
    expect(text).toContain('\n  ✓ bpf  works\n');
    expect(text).toContain('\n  ✗ ct   does not work\n         action ct: not found\n           needs module act_ct\n');
    expect(text).toContain('\nheadgate up takes bpf\n');
    expect(text).toContain('\n  ✗ does not work   cake\n');
    expect(text).not.toContain('\x1b');
  });

  it('colours signs and nothing else, where it may', () => {
    const colored = formatDiagnosis({ capabilities: lacking, hints, here, device: 'wan' }, true);
    expect(colored).toContain('\x1b[31m✗\x1b[0m');
    // biome-ignore lint/complexity/useRegexLiterals: a control character
    expect(colored.replaceAll(new RegExp('\\x1b\\[\\d+m', 'g'), '')).toBe(text);
  });

  it('tells what of this namespace an admin should know', () => {
    expect(text).toContain('net.netfilter.nf_conntrack_acct=1');
    expect(text).not.toContain('net.netfilter.nf_conntrack_timestamp=1');
    expect(text).toContain('conntrack zones');
    expect(text).toContain('\n  bits of the mark: up takes 0x7f000000\n    used by others: mwan3 (0x00003f00)\n');
    expect(text).toContain(
      '\nconflicts and blind spots\n  ! warning lro: lro of wan is on\n      ethtool -K wan lro off',
    );
    expect(text).toContain('wan: clsact is there: up uses it');
    expect(text).toContain('up refuses: wan has a root qdisc that is not ours: tbf 1:.');
    const clear = { ...here, zones: false, ingressChains: [], ingressQdiscs: [], refusals: [], concerns: [] };
    const calm = formatDiagnosis({ capabilities: kernel(), hints, here: clear, device: 'wan' }, false);
    expect(calm).toContain('nothing is in the way on wan');
    expect(calm).toContain('conflicts and blind spots\n  none found');
  });

  it('gives one reason where nothing could be tried', () => {
    const why = 'nothing could be tried: Operation not permitted';
    const all = Object.fromEntries(CAPABILITY_NAMES.map((name) => [name, unknown(why)]));
    const short = formatDiagnosis({ capabilities: kernel(all), hints: new Map(), here: 'not permitted' }, false);
    expect(short.split(why)).toHaveLength(2);
    expect(short).toContain('with sudo');
    expect(short).toContain('finds no datapath');
    expect(short).toContain('this network namespace: could not tell (not permitted)');
  });

  it('explains what several datapaths lack once', () => {
    const both = formatDiagnosis({ capabilities: kernel({ 'action skbedit': no('gone') }), hints, here }, false);
    expect(both.match(/action skbedit: gone/g)).toHaveLength(1);
    expect(both.match(/action skbedit: see above/g)).toHaveLength(1);
  });
});

describe('commands that do not go well', () => {
  it('reads which lines of a batch failed, and what was said of each', () => {
    const said = [
      'Error: TC classifier not found.',
      'We have an error talking to the kernel',
      'Command failed -:2',
      'libbpf: prog load failed',
      'Unable to load program',
      'RTNETLINK answers: No such file or directory',
      'Command failed -:5',
      '',
    ].join('\n');
    expect(readFailedLines(said)).toEqual([
      { line: 2, said: 'TC classifier not found.' },
      { line: 5, said: 'No such file or directory' },
    ]);
    expect(readFailedLines('')).toEqual([]);
  });

  it('gives up one that takes too long, and ends it', async () => {
    const { status, stdout } = await execute(['sh', '-c', 'echo $$; exec sleep 600'], { timeout: 2000 });
    expect(status).toBe(TIMED_OUT);
    await soon(() => expect(() => process.kill(Number(stdout), 0)).toThrow('ESRCH'));
    await expect(run(['sleep', '600'], { timeout: 1 })).rejects.toMatchObject({
      code: 'HG_KERNEL',
      fields: { status: TIMED_OUT },
    });
  });
});
