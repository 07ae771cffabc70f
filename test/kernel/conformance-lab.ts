// What the conformance suite runs on: `headgate up` on a box between the world and a host inside.
//
//   world 192.0.2.2, 2001:db8::2 ── veth, vlan or tun ── wan 192.0.2.1, 2001:db8::1 box lan 10.0.0.1 ── 10.0.0.2 inside
//
// The box masquerades IPv4, and forwards port 7100 to the host inside, also for the inside itself (hairpin); the host's
// IPv6 address, 2001:db8:1::2, is routed. Port 7400 has a conntrack zone of its own. A queue for each origin, two that rules lead to; each packet is counted by its class.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getTcStats, listDevices, listTins } from '../../src/kernel/index.ts';
import { AccessLink, addVeth, Namespace, Program } from '../../src/lab/index.ts';
import type { DatapathName } from '../../src/shape/index.ts';
import { INJECT } from './classifier-lab.ts';
import {
  BOX,
  type BothWays,
  type Counts,
  type End,
  generalised,
  INSIDE,
  QUEUES,
  type Queue,
  type Stage,
  WORLD,
} from './conformance-stage.ts';
import { HEADGATE } from './gateway.ts';
import { type Ask, Host } from './host.ts';
import { type Bytes, hex } from './packets.ts';
import { PATIENCE, soon } from './soon.ts';

const policy = (tree: string) => `link wan { device wan  download 50mbit  upload 50mbit  tree ${tree} }
queue local { share 50% }  queue new { share 10% }  queue remote { share 10% }  queue voice { share 10% }  queue bulk { share 5% }
rule voice when udp and remote.port in 5004 -> voice
rule bulk when origin remote and local.port in 7300 -> bulk
default local -> local  remote -> remote  new -> new
`;

export interface Setting {
  readonly datapath: DatapathName;
  readonly tree: 'htb' | 'prio' | 'cake';
  /** `vlan`: a VLAN device above a veth. */
  readonly link: 'veth' | 'vlan' | 'tun';
}

export class ConformanceLab implements Stage {
  readonly box: Namespace;
  readonly world: Namespace;
  readonly inside: Namespace;
  private readonly hosts = new Map<Namespace, Host>();
  private link: AccessLink | undefined;
  private service: Program | undefined;
  private folder: string | undefined;
  private indexes: ReadonlyMap<string, number> = new Map();

  private setting: Setting | undefined;
  private nextPort = 20_000;

  private constructor(box: Namespace, world: Namespace, inside: Namespace) {
    this.box = box;
    this.world = world;
    this.inside = inside;
  }

  static async build(link: Setting['link']): Promise<ConformanceLab> {
    const lab = new ConformanceLab(
      await Namespace.add('box'),
      await Namespace.add('world'),
      await Namespace.add('inside'),
    );
    try {
      await lab.lay(link);
      for (const ns of [lab.box, lab.world, lab.inside]) lab.hosts.set(ns, await Host.start(ns));
      await lab.serve();
      await lab.openEarlier();
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.down();
    await this.link?.del();
    await Promise.all([this.box, this.world, this.inside].map((ns) => ns.del()));
    if (this.folder !== undefined) await rm(this.folder, { recursive: true, force: true });
  }

  /** Starts Headgate; where it ran before, in another setting, {@link down} comes first. */
  async up(setting: Setting): Promise<void> {
    this.setting = setting;
    const { datapath, tree } = setting;
    this.folder ??= await mkdtemp(join(tmpdir(), 'hg-conformance-'));
    const file = join(this.folder, 'test.gate');
    await writeFile(file, policy(tree));
    const argv = ['env', ...HEADGATE, 'up', file, '--json', '--datapath', datapath] as const;
    this.service = Program.start('headgate up', argv, { netns: this.box.name });
    await this.service.line((line) => line.includes('"kind":"ready"'), 30_000 * PATIENCE);
    await this.service.line((line) => line.includes('"kind":"resync"'), 30_000 * PATIENCE);
    for (const port of [6100, 6200]) await this.known(port);
    this.indexes = new Map((await listDevices({ netns: this.box.name })).map(({ name, index }) => [name, index]));
  }

  async down(): Promise<void> {
    await this.service?.stop('SIGTERM');
    this.service = undefined;
  }

  private host(ns: Namespace): Host {
    return this.hosts.get(ns)!;
  }

  async talk(end: End, { times, ...ask }: Omit<Ask, 'from' | 'transport'>): Promise<void> {
    const from = this.nextPort++;
    for (let i = 0; i < times; i++) {
      if (i > 0) await this.known(from);
      await this.ask(end, { ...ask, transport: 'udp', times: 1, from });
    }
  }

  async ask(end: End, ask: Ask): Promise<void> {
    await this.host(this[end]).ask(ask);
    // What a connection sends last would be counted in the next case.
    if (ask.transport === 'tcp') await Promise.all([...this.hosts.values()].map((host) => host.settled()));
  }

  async tell(end: End, address: string, port: number, times: number): Promise<void> {
    const heard = async () => (await this.host(this.box).heard(address, port)).length;
    const before = await heard();
    await this.host(this[end]).tell(address, port, times);
    await soon(async () => {
      if ((await heard()) < before + times) throw new Error(`not all ${times} have come`);
    });
  }

  async ping(end: End, address: string, times: number): Promise<void> {
    await this[end].run('ping', '-q', '-c', `${times}`, '-i', '0.02', '-W', '5', address);
  }

  /** Of the others, the kernel knows a flow before its first packet is answered. */
  private async known(port: number): Promise<void> {
    if (this.setting!.datapath !== 'map') return;
    await soon(async () => {
      const maps = await this.box.run('nft', 'list', 'table', 'netdev', 'headgate');
      if (!maps.includes(` . ${port} `)) throw new Error(`no flow of port ${port} in the map`);
    });
  }

  async inject(frame: Bytes): Promise<void> {
    await this.world.feed(`${hex(frame)}\n`, INJECT, 'wan');
  }

  /** Does something, and says what each class has sent meanwhile, as soon as that is what is expected, or after a while. */
  async counting(act: () => Promise<unknown>, expected: BothWays): Promise<BothWays> {
    const before = await this.count();
    await act();
    let counted: BothWays = { in: {}, out: {} };
    await soon(async () => {
      counted = generalised(difference(await this.count(), before), expected);
      if (JSON.stringify(counted) !== JSON.stringify(sorted(expected))) throw new Error('not yet');
    }).catch(() => {});
    return counted;
  }

  private async count(): Promise<Numbers> {
    const of = this.setting!.tree === 'cake' ? this.countTins : this.countClasses;
    return { in: await of('hg-wan', 0x7fe0), out: await of('wan', 0x7fe1) };
  }

  private readonly countClasses = async (device: string, major: number): Promise<Numbers['in']> => {
    const stats = getTcStats(this.box.path, this.indexes.get(device)!);
    const packets = (minor: number) =>
      stats.find((s) => s.isClass && s.handle === ((major << 16) | minor) >>> 0)?.packets ?? 0;
    return byQueue((i) => packets(i + 1));
  };

  /** Five queues have the last five of the eight tins, the first the last. */
  private readonly countTins = async (device: string): Promise<Numbers['in']> => {
    const tins = await listTins(device, { netns: this.box.name });
    return byQueue((i) => tins[7 - i]?.packets ?? 0);
  };

  private async lay(link: Setting['link']): Promise<void> {
    const { box, world, inside } = this;
    // Nothing of its own accord: no link-local addresses, so no router solicitations.
    const quiet = ['net.ipv6.conf.default.addr_gen_mode=1', 'net.ipv6.conf.default.router_solicitations=0'];
    // A tail that is sent again, in case it was lost, would be a packet too many.
    quiet.push('net.ipv4.tcp_early_retrans=0');
    for (const ns of [box, world, inside]) await ns.run('sysctl', '-qw', ...quiet);
    await box.run(
      'sysctl',
      '-qw',
      'net.ipv4.ip_forward=1',
      'net.ipv6.conf.all.forwarding=1',
      'net.ipv4.icmp_ratelimit=0',
    );
    if (link !== 'tun') {
      const below = link === 'veth' ? 'wan' : 'trunk';
      await addVeth(box, below, world, below);
      for (const [ns, { mac }] of [
        [box, BOX],
        [world, WORLD],
      ] as const) {
        await ns.run('ip', 'link', 'set', below, 'address', mac);
        if (link === 'vlan') await ns.batch('link add link trunk name wan type vlan id 9', 'link set wan up');
      }
    } else this.link = await AccessLink.add(box, 'wan', world, 'wan', { rateMbit: 1000, rttMs: 0, fifoMs: 1000 });
    await addVeth(box, 'lan', inside, 'lan');
    for (const [ns, end] of [
      [box, BOX],
      [world, WORLD],
    ] as const) {
      await ns.run('ip', 'address', 'add', `${end.v4}/24`, 'dev', 'wan');
      await ns.run('ip', 'address', 'add', `${end.v6}/64`, 'dev', 'wan', 'nodad');
    }
    if (link !== 'tun')
      // What looks for a neighbour has no class, which with prio is the first queue's band.
      for (const [ns, other] of [
        [box, WORLD],
        [world, BOX],
      ] as const)
        for (const v of ['v4', 'v6'] as const)
          await ns.run('ip', 'neighbour', 'replace', other[v], 'lladdr', other.mac, 'dev', 'wan', 'nud', 'permanent');
    await box.run('ip', 'address', 'add', '10.0.0.1/24', 'dev', 'lan');
    await inside.run('ip', 'address', 'add', `${INSIDE.v4}/24`, 'dev', 'lan');
    await inside.run('ip', 'route', 'add', 'default', 'via', '10.0.0.1');
    // Without link-local addresses nobody here would ask again where a neighbour is (ndisc_send_ns(), net/ipv6/ndisc.c).
    await box.batch('address add fe80::1/64 dev lan nodad', 'address add 2001:db8:1::1/64 dev lan nodad');
    await inside.batch(
      'address add fe80::2/64 dev lan nodad',
      `address add ${INSIDE.v6}/64 dev lan nodad`,
      'route add default via 2001:db8:1::1',
    );
    await world.run('ip', 'route', 'add', '2001:db8:1::/64', 'via', BOX.v6);
    await box.feed(RULESET, 'nft', '-f', '-');
    // Flows that are opened early are needed late, in each setting, and an emulated machine takes its time.
    const timeouts = ['nf_conntrack_udp_timeout', 'nf_conntrack_udp_timeout_stream'];
    await box.run('sysctl', '-qw', ...timeouts.map((name) => `net.netfilter.${name}=3600`));
  }

  /** Echoes on 7000 and, by a rule of the policy or the ruleset, on others; 7900 takes datagrams and is silent. */
  private async serve(): Promise<void> {
    for (const v of ['v4', 'v6'] as const) {
      for (const transport of ['tcp', 'udp'] as const) {
        await this.host(this.world).serve(transport, WORLD[v], 7000);
        await this.host(this.box).serve(transport, BOX[v], 7000);
      }
      await this.host(this.world).serve('udp', WORLD[v], 5004);
      await this.host(this.world).serve('udp', WORLD[v], 7400);
      await this.host(this.box).serve('udp', BOX[v], 7300);
      await this.host(this.box).sink(BOX[v], 7900);
    }
    for (const v of ['v4', 'v6'] as const)
      for (const transport of ['tcp', 'udp'] as const) await this.host(this.inside).serve(transport, INSIDE[v], 7100);
  }

  /** Flows that are there before Headgate is: from port 6100 of either end to 7000 of the other, and one that stays open. */
  private async openEarlier(): Promise<void> {
    const early = { transport: 'udp', port: 7000, size: 20, times: 1, from: 6100 } as const;
    for (const v of ['v4', 'v6'] as const) {
      await this.host(this.box).ask({ ...early, address: WORLD[v] });
      await this.host(this.world).ask({ ...early, address: BOX[v] });
      await this.host(this.box).ask({ ...early, address: WORLD[v], from: 6200, keep: true });
    }
  }
}

const RULESET = `table inet other {
	chain zones {
		type filter hook prerouting priority raw; policy accept;
		iifname "wan" udp sport 7400 ct zone set 7
	}
	chain zones-out {
		type filter hook output priority raw; policy accept;
		oifname "wan" udp dport 7400 ct zone set 7
	}
	chain tracked {
		type filter hook input priority 0; policy accept;
		ct state established accept
	}
}
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr ${BOX.v4} meta l4proto { tcp, udp } th dport 7100 dnat to ${INSIDE.v4}
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "wan" ip saddr 10.0.0.0/24 masquerade
		oifname "lan" ip saddr 10.0.0.0/24 masquerade
	}
}
`;

type Numbers = Record<'in' | 'out', Record<Queue, number>>;

const byQueue = (packets: (i: number) => number): Numbers['in'] =>
  Object.fromEntries(QUEUES.map((queue, i) => [queue, packets(i)])) as Numbers['in'];

function difference(now: Numbers, before: Numbers): Numbers {
  const of = (way: 'in' | 'out') => byQueue((i) => now[way][QUEUES[i]!] - before[way][QUEUES[i]!]);
  return { in: of('in'), out: of('out') };
}

const sorted = ({ in: arriving, out }: BothWays): BothWays => {
  const of = (counts: Counts) =>
    Object.fromEntries(QUEUES.flatMap((q) => (counts[q] === undefined ? [] : [[q, counts[q]]]))) as Counts;
  return { in: of(arriving), out: of(out) };
};
