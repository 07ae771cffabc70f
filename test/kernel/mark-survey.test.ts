// Who else uses bits of the marks: rules of nft, iptables (both kinds) and routing in a namespace, as their tools write
// them. Shown on the machine's own kernel (6.18) with nft 1.0.6, iptables 1.8.9; tc has no action on marks there.

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { surveyMarks } from '../../src/kernel/index.ts';
import { Namespace } from '../../src/lab/index.ts';
import type { MarkUse } from '../../src/model/index.ts';

let ns: Namespace;
beforeEach(async () => {
  ns = await Namespace.add('marks');
});
afterEach(() => ns.del());

const survey = async (): Promise<MarkUse[]> => {
  const { uses, unseen } = await surveyMarks({ netns: ns.name });
  expect(unseen).toEqual([]);
  return [...uses];
};
const brief = ({ of, bits, whole }: MarkUse): string => [of, `0x${bits.toString(16)}`, whole].filter(Boolean).join(' ');

const feed = (rule: string): Promise<string> =>
  ns.feed(
    `table inet fw {
    set wan { type mark; elements = { 0x100, 0x200 }; }
    set from { type mark . ipv4_addr; elements = { 0x3 . 1.2.3.4, 0x4 . 1.2.3.5 }; }
    set seen { type mark; flags dynamic,timeout; timeout 1m; }
    map by-port { type inet_service : mark; elements = { 22 : 0x1000, 23 : 0x2000 }; }
    map by-host { type ipv4_addr : mark; flags dynamic; }
    map next { type mark . ipv4_addr : mark; elements = { 0x5 . 1.2.3.4 : 0x9 }; }
    chain pre { type filter hook prerouting priority mangle; policy accept; ${rule}; }
  }\n`,
    'nft',
    '-f',
    '-',
  );

it('nobody uses any where nobody is', async () => expect(await survey()).toEqual([]));

it.each([
  ['meta mark set ct mark', ['packet 0x0 restores']],
  ['ct mark set meta mark', ['ct 0x0 overwrites']],
  ['ct mark set 0x1200', ['ct 0x1200 overwrites']],
  ['ct mark set ct mark and 0xffff00ff or 0x1200', ['ct 0xff00']],
  ['ct mark set ct mark or 0x40', ['ct 0x40']],
  ['ct mark set meta mark and 0xff', ['ct 0xff overwrites', 'packet 0xff']],
  ['meta mark set ct mark and 0xff0000', ['packet 0xff0000', 'ct 0xff0000']],
  ['meta mark set meta mark xor 0x80', ['packet 0x80']],
  ['meta mark set meta mark and 0xfffffff0', ['packet 0xf']],
  ['ct mark and 0xff == 0x10 accept', ['ct 0xff']],
  ['ct mark 0x5 accept', ['ct 0x5 compares']],
  ['ct mark != 0 accept', ['ct 0x0 compares']],
  ['ct mark 0x10-0x2f accept', ['ct 0x3f compares']],
  ['ct mark { 0x1, 0x2 } accept', ['ct 0x3 compares']],
  ['meta mark @wan accept', ['packet 0x300 compares']],
  ['meta mark set tcp dport map @by-port', ['packet 0x3000']],
  ['meta mark set tcp dport map { 22 : 0x1, 23 : 0x2 }', ['packet 0x3']],
  ['meta mark set numgen random mod 4 offset 16', ['packet 0x13']],
  ['meta mark set jhash ip saddr mod 8', ['packet 0x7']],
  ['meta mark and 0xf00 vmap { 0x100 : accept, 0x200 : drop }', ['packet 0xf00']],
  ['ct mark vmap { 0x100 : accept, 0x200 : drop }', ['ct 0x300 compares']],
  ['socket mark 0x77 accept', ['packet 0x77 compares']],
  ['ct mark set meta mark << 24', ['ct 0xff000000 overwrites', 'packet 0xff']],
  ['ct mark set (meta mark & 0xf) << 24', ['ct 0xf000000 overwrites', 'packet 0xf']],
  ['meta mark set ct mark >> 24', ['packet 0xff', 'ct 0xff000000']],
  ['ct mark set ct mark << 8', ['ct 0xffffff00 overwrites', 'ct 0xffffff']],
  ['ct mark . ip saddr { 0x1000000 . 1.2.3.4 } accept', ['ct 0x1000000 compares']],
  ['ct mark . ip saddr @from accept', ['ct 0x7 compares']],
  ['ct mark . meta mark vmap { 0x1 . 0x2 : accept } ', ['ct 0x1 compares', 'packet 0x2 compares']],
  ['ct mark and 0xff . meta mark >> 8 . ip saddr { 1 . 2 . 1.2.3.4 } accept', ['ct 0xff', 'packet 0xffffff00']],
  ['meta mark set ct mark . ip saddr map @next', ['ct 0x5 compares', 'packet 0x9']],
  ['meta mark set ct mark map { 0x1 : 0x2, 0x4 : 0x8 }', ['ct 0x5 compares', 'packet 0xa']],
  ['meta mark set jhash ct mark . ip saddr mod 4', ['ct 0x0 compares', 'packet 0x3']],
  ['ct mark 0x100/24 accept', ['ct 0x1ff compares']],
  ['update @seen { ct mark }', ['ct 0x0 compares']],
  ['add @seen { meta mark and 0xff timeout 3s }', ['packet 0xff']],
  ['meter m { ct mark limit rate 10/second } accept', ['ct 0x0 compares']],
  ['fib saddr . mark oif missing drop', []],
  ['log prefix "ct mark" accept', []],
  ['tcp dport 22 ct state new counter accept', []],
])('of nft: %s', async (rule, expected) => {
  await feed(rule);
  const uses = await survey();
  expect(uses.map(brief)).toEqual(expected);
  for (const { who, where } of uses) expect([who, where]).toEqual(['nft table inet fw', 'nft table inet fw chain pre']);
});

it.each([
  ['ct mark set @ih,0,32', ['ct 0x0 overwrites']],
  ['meta mark set meta cpu', []],
  ['update @by-host { ip saddr : 0x1 }', []],
  ['update @by-host { ip saddr : ct mark }', []],
])('of nft, what is not understood is said: %s', async (rule, expected) => {
  await feed(rule);
  const { uses, unseen } = await surveyMarks({ netns: ns.name });
  expect(uses.map(brief)).toEqual(expected);
  expect(unseen).toEqual([
    expect.stringContaining('a statement on marks in nft table inet fw chain pre, which is not'),
  ]);
});

it('of nft, by number also where marks have names', async () => {
  // ip-netns(8) lays them over /etc.
  const folder = `/etc/netns/${ns.name}`;
  await mkdir(`${folder}/iproute2`, { recursive: true });
  try {
    await writeFile(`${folder}/iproute2/rt_marks`, '5 wan\n');
    await feed('ct mark 0x5 meta mark set ct mark . ip saddr map @next');
    expect((await survey()).map(brief)).toEqual(['ct 0x5 compares', 'packet 0x9']);
  } finally {
    await rm(folder, { recursive: true });
  }
});

it('of ebtables, which no listing shows, it is said', async () => {
  await ns.run('ebtables-nft', '-t', 'nat', '-A', 'PREROUTING', '-j', 'mark', '--mark-set', '0x5');
  const { unseen } = await surveyMarks({ netns: ns.name });
  expect(unseen).toEqual([expect.stringContaining('nft table bridge nat chain PREROUTING, which is not understood')]);
});

it('of IPsec', async () => {
  const add = (to: string, ...mark: string[]) =>
    ns.run('ip', 'xfrm', 'policy', 'add', 'src', '10.0.0.0/24', 'dst', to, 'dir', 'out', ...mark);
  await add('10.1.0.0/24', 'mark', '0x1000000', 'mask', '0x7f000000');
  await add('10.2.0.0/24', 'mark', '5');
  await add('10.3.0.0/24');
  const uses = await survey();
  expect(uses.map(brief).sort()).toEqual(['packet 0x5 compares', 'packet 0x7f000000']);
  expect(uses.map(({ where }) => where)).toContain(
    'ip xfrm policy src 10.0.0.0/24 dst 10.1.0.0/24 mark 0x1000000/0x7f000000',
  );
});

it.each(['nft', 'legacy'])('of iptables (%s), with shifts', async (kind) => {
  const add = (...args: string[]) => ns.run(`iptables-${kind}`, '-t', 'mangle', '-A', 'OUTPUT', ...args);
  const masks = (nf: string, ct: string) => ['--nfmask', nf, '--ctmask', ct];
  await add('-j', 'CONNMARK', '--save-mark', ...masks('0xff', '0xf'), '--left-shift-mark', '24');
  await add('-j', 'CONNMARK', '--restore-mark', ...masks('0xf0', '0xf0000000'), '--right-shift-mark', '24');
  await add('-m', 'comment', '--comment', 'a --foo-mark', '-j', 'LOG', '--log-prefix', ' -j XMARK --bar-mark');
  const uses = (await survey()).filter(({ where }) => where.startsWith('iptables '));
  expect(uses.map(brief)).toEqual(['ct 0xff00000f', 'packet 0xff', 'packet 0xf0', 'ct 0xf0000000']);
  await add('-j', 'CONNMARK', '--set-mark', '0x5', '--left-shift-mark', '24');
  expect((await survey()).map(brief)).toContain('ct 0x5000000 overwrites');
});

it.each(['nft', 'legacy'])('of iptables and ip6tables (%s)', async (kind) => {
  for (const tool of ['iptables', 'ip6tables'] as const) {
    const add = (...args: string[]) => ns.run(`${tool}-${kind}`, '-t', 'mangle', ...args);
    await add('-N', 'mwan3_hook');
    await add('-A', 'mwan3_hook', '-m', 'mark', '--mark', '0x0/0x3f00', '-j', 'MARK', '--set-xmark', '0x100/0x3f00');
    await add('-A', 'PREROUTING', '-j', 'CONNMARK', '--restore-mark', '--nfmask', '0xf0000', '--ctmask', '0xf0000');
    await add('-A', 'PREROUTING', '-m', 'connmark', '!', '--mark', '5', '-j', 'CONNMARK', '--save-mark');
    await add('-A', 'PREROUTING', '-j', 'MARK', '--set-mark', '0x900000');
    await add('-A', 'FORWARD', '-j', 'CONNMARK', '--set-mark', '0x40');
    await add('-A', 'FORWARD', '-j', 'CONNMARK', '--restore-mark');
    await add('-A', 'PREROUTING', '-p', 'tcp', '-j', 'TPROXY', '--on-port', '1', '--tproxy-mark', '0x2/0xf');
  }
  const uses = (await survey()).filter(({ where }) => where.startsWith('ip'));
  for (const tool of ['iptables', 'ip6tables']) {
    const told = uses.filter(({ where }) => where.startsWith(`${tool} `));
    expect(new Set(told.map((use) => `${use.who}: ${brief(use)}`))).toEqual(
      new Set([
        'mwan3: packet 0x3f00',
        ...[
          'ct 0xf0000',
          'packet 0xf0000',
          'ct 0x5 compares',
          'ct 0x0 overwrites',
          'packet 0x900000',
          'ct 0x40 overwrites',
          'packet 0x0 restores',
          'packet 0xf',
        ].map((what) => `${tool} table mangle: ${what}`),
      ]),
    );
  }
  expect(await survey()).toContainEqual(expect.objectContaining({ who: 'mwan3', of: 'ct', bits: 0x3f00 }));
});

it('of routing, in both families, by the name of the software whose bits they are', async () => {
  await ns.run('ip', 'link', 'add', 'tailscale0', 'type', 'veth', 'peer', 'name', 'peer0');
  await ns.run('ip', '-4', 'rule', 'add', 'pref', '5210', 'fwmark', '0x80000/0xff0000', 'table', 'main');
  await ns.run('ip', '-6', 'rule', 'add', 'pref', '700', 'fwmark', '0x1', 'table', '100');
  await ns.run('ip', '-6', 'rule', 'add', 'not', 'fwmark', '51820', 'table', '51820');
  const uses = await survey();
  expect(uses.map((use) => `${use.who}: ${brief(use)}`).sort()).toEqual([
    'Tailscale: ct 0xff0000',
    'Tailscale: packet 0xff0000',
    'ip -6 rule 700: packet 0x1 compares',
    'wg-quick: packet 0xca6c compares',
  ]);
});

it('of wg-quick, as its rules stand when it has the default route', async () => {
  await ns.feed(
    `table ip wg-quick-wg0 {
       chain premangle { type filter hook prerouting priority -150; policy accept; meta l4proto udp meta mark set ct mark; }
       chain postmangle { type filter hook postrouting priority -150; policy accept; meta l4proto udp meta mark 0x0000ca6c ct mark set meta mark; }
     }\n`,
    'nft',
    '-f',
    '-',
  );
  expect((await survey()).map((use) => `${use.who}: ${brief(use)}`)).toEqual([
    'wg-quick: packet 0x0 restores',
    'wg-quick: packet 0xca6c compares',
    'wg-quick: ct 0x0 overwrites',
  ]);
});

it('but not of a table that is ours', async () => {
  const table = (comment: string) =>
    `table inet headgate { comment "${comment}"; chain c { type filter hook prerouting priority 0; ct mark and 0x7f000000 == 0 accept; }; }\n`;
  await ns.feed(table('made by headgate, marks 0x7f000000'), 'nft', '-f', '-');
  expect(await survey()).toEqual([]);
  await ns.run('nft', 'flush', 'ruleset');
  await ns.feed(table('mine'), 'nft', '-f', '-');
  expect((await survey()).map(brief)).toEqual(['ct 0x7f000000']);
});
