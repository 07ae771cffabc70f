// What a packet that arrives costs, processor time, on its whole path (device, classifier, ifb, conntrack's lookup) with 10,000 flows: with nothing, with a
// match-all filter and mirred to an ifb with HTB, and with each datapath that this kernel has. One after the other, again and again, so that
// whatever else the machine does falls on all alike; of each the best round. Frames that did not come through would have been cheap:
// all but one in a hundred must.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Namespace } from '../../src/lab/index.ts';
import { BenchLab, native, type Running } from './bench-lab.ts';
import { note } from './report.ts';

const FLOWS = 10_000;
const FRAMES = 200_000;
const ROUNDS = 5;

const POLICY = `link wan { device wan  download 10gbit }
queue a { share 50% }
queue b { share 10% }
default local -> a  remote -> b  new -> b
`;

/** What comes is looked up in conntrack, and goes no further. */
const SINK = `table inet sink {
  chain after {
    type filter hook prerouting priority 0
    udp dport 443 counter drop
  }
}
`;

const BY_HAND = ['link add by-hand type ifb', 'link set by-hand txqueuelen 10000 up'] as const;
const TREE = [
  'qdisc add dev by-hand root handle 1: htb default 1',
  'class add dev by-hand parent 1: classid 1:1 htb rate 10gbit burst 2m cburst 2m',
  'qdisc add dev wan clsact',
  'filter add dev wan ingress protocol all prio 10 u32 match u32 0 0 action mirred egress redirect dev by-hand',
] as const;

interface Way {
  readonly name: string;
  readonly begin: (lab: BenchLab) => Promise<() => Promise<unknown>>;
}

const withUp = (datapath: string): Way => ({
  name: `datapath ${datapath}`,
  begin: async (lab) => {
    const running: Running = await lab.up(POLICY, '--datapath', datapath);
    return () => running.end('SIGTERM');
  },
});

const WAYS: readonly Way[] = [
  { name: 'nothing', begin: async () => async () => {} },
  {
    name: 'match-all and mirred',
    begin: async ({ ns }) => {
      await ns.batch(...BY_HAND);
      await ns.feed(`${TREE.join('\n')}\n`, 'tc', '-batch', '-');
      return async () => {
        await ns.run('tc', 'qdisc', 'del', 'dev', 'wan', 'clsact');
        await ns.run('ip', 'link', 'del', 'by-hand');
      };
    },
  },
  withUp('bpf'),
  withUp('map'),
];

const received = async (ns: Namespace): Promise<number> =>
  Number(/counter packets (\d+)/.exec(await ns.run('nft', 'list', 'chain', 'inet', 'sink', 'after'))![1]);

test('a packet', { timeout: 300_000 }, () =>
  BenchLab.with(async (lab) => {
    const { ns } = lab;
    await ns.run('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.wan.rp_filter=0');
    const mac = (await ns.run('cat', '/sys/class/net/wan/address')).trim();
    const softirq = (await ns.run('pgrep', '-x', 'ksoftirqd/0')).trim();
    const spentThere = () => Number(readFileSync(`/proc/${softirq}/schedstat`, 'utf8').split(' ')[0]);
    const send = async (count: number) => {
      const before = spentThere();
      const own = Number(await ns.run(native('gen_frames'), 'far', mac, String(FLOWS), String(count)));
      return own + (spentThere() - before) / count;
    };
    // Their entries are confirmed before the sink is there, and refreshed by all that comes then.
    await send(FLOWS);
    await ns.feed(SINK, 'nft', '-f', '-');
    const best = new Map(WAYS.map(({ name }) => [name, Number.POSITIVE_INFINITY]));
    for (let round = 0; round < ROUNDS; round++)
      for (const { name, begin } of WAYS) {
        const end = await begin(lab);
        await send(FLOWS);
        expect(Number(await ns.run('conntrack', '-C')), name).toBeGreaterThanOrEqual(FLOWS);
        const before = await received(ns);
        best.set(name, Math.min(best.get(name)!, await send(FRAMES)));
        expect((await received(ns)) - before, name).toBeGreaterThan(FRAMES * 0.99);
        await end();
      }
    const plain = best.get('match-all and mirred')!;
    note('a packet that arrives', [
      ...WAYS.map(({ name }) => ({
        what: `whole path, ${FLOWS.toLocaleString('en')} flows: ${name}`,
        value: best.get(name)!,
        unit: 'ns',
      })),
      {
        what: 'bpf against match-all and mirred',
        value: best.get('datapath bpf')! / plain,
        unit: '',
        goal: { most: 1.4 },
      },
      { what: 'map against match-all and mirred', value: best.get('datapath map')! / plain, unit: '' },
    ]);
  }),
);
