// Crafted frames of every kind, for one way, with what the classifier is to say of each; and the connections that
// conntrack has to know for that.

import type { Verdict } from '../../src/kernel/index.ts';
import { BOX, type ClassifierLab, type Count, type Frame, type Way, WORLD } from './classifier-lab.ts';
import {
  authentication,
  type Bytes,
  ETHERTYPE,
  ethernet,
  extension,
  fragmentHeader,
  icmp,
  ipv4,
  ipv6,
  type Ports,
  PROTOCOL,
  pppoe,
  tcp,
  udp,
  vlanTag,
} from './packets.ts';

type Family = 4 | 6;

/** The connections that conntrack knows, each as TCP and UDP, IPv4 and IPv6. No entry for `unknown`. */
const FLOWS = {
  local: { opener: 'box', box: 1000, world: 2000, mark: 0 },
  remote: { opener: 'world', box: 4000, world: 3000, mark: 0 },
  localMarked: { opener: 'box', box: 1001, world: 2001, mark: 0x84ffffff },
  remoteMarked: { opener: 'world', box: 4001, world: 3001, mark: 0x05000000 },
  staleMark: { opener: 'box', box: 1002, world: 2002, mark: 0x09000000 },
  foreignMark: { opener: 'world', box: 4002, world: 3002, mark: 0x80ffffff },
} as const;
type FlowName = keyof typeof FLOWS | 'unknown';

const opposite = (way: Way): Way => (way === 'in' ? 'out' : 'in');
const from = (way: Way) => (way === 'in' ? WORLD : BOX);
const to = (way: Way) => (way === 'in' ? BOX : WORLD);

function ports(way: Way, name: FlowName): Ports {
  const flow = name === 'unknown' ? { box: 7777, world: 8888 } : FLOWS[name];
  return way === 'in'
    ? { sourcePort: flow.world, destinationPort: flow.box }
    : { sourcePort: flow.box, destinationPort: flow.world };
}

/** An IP packet on its way. */
function ip(way: Way, family: Family, protocol: number, payload: Bytes, hopLimit = 64): Bytes {
  return family === 4
    ? ipv4({ source: from(way).v4, destination: to(way).v4, protocol }, payload)
    : ipv6({ source: from(way).v6, destination: to(way).v6, protocol, hopLimit }, payload);
}

const type = (family: Family) => (family === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6);
const icmpOf = (family: Family) => (family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6);
const frame = (way: Way, ethertype: number, payload: Bytes): Bytes =>
  ethernet({ source: from(way).mac, destination: to(way).mac }, ethertype, payload);
const ipFrame = (way: Way, family: Family, protocol: number, payload: Bytes, hopLimit = 64): Bytes =>
  frame(way, type(family), ip(way, family, protocol, payload, hopLimit));
const udpPacket = (way: Way, family: Family, flow: FlowName): Bytes =>
  ip(way, family, PROTOCOL.udp, udp(ports(way, flow)));

const CLASS: Partial<Record<Verdict, number>> = { local: 1, remote: 2, new: 3 };

function expected(outcome: Verdict, diagnostics: readonly Verdict[] = [], marked?: number): Count {
  const verdicts = Object.fromEntries([outcome, ...diagnostics].map((name) => [name, 1]));
  const number = marked ?? CLASS[outcome];
  return { verdicts, classes: number === undefined ? {} : { [number]: 1 } };
}

export interface Case {
  readonly name: string;
  readonly frame: Frame;
  readonly count: Count;
}

/** Each is one packet. */
export function* cases(way: Way): Generator<Case> {
  const arriving = way === 'in';
  for (const family of [4, 6] as const) {
    const v = `IPv${family}`;
    for (const [transport, protocol, build] of [
      ['TCP', PROTOCOL.tcp, (p: Ports) => tcp(p)],
      ['UDP', PROTOCOL.udp, (p: Ports) => udp(p)],
    ] as const) {
      const of = (flow: FlowName) => ipFrame(way, family, protocol, build(ports(way, flow)));
      yield { name: `${v} ${transport} local`, frame: of('local'), count: expected('local') };
      yield { name: `${v} ${transport} remote`, frame: of('remote'), count: expected('remote') };
      yield { name: `${v} ${transport} unknown`, frame: of('unknown'), count: expected('new') };
      yield { name: `${v} ${transport} local, mark`, frame: of('localMarked'), count: expected('marked', [], 4) };
      yield { name: `${v} ${transport} remote, mark`, frame: of('remoteMarked'), count: expected('marked', [], 5) };
      yield { name: `${v} ${transport} mark of no class`, frame: of('staleMark'), count: expected('local') };
      yield { name: `${v} ${transport} mark of others`, frame: of('foreignMark'), count: expected('remote') };
      const cut = ip(way, family, protocol, build(ports(way, 'local'))).subarray(0, (family === 4 ? 20 : 40) + 2);
      yield {
        name: `${v} ${transport} cut`,
        frame: frame(way, type(family), cut),
        count: expected('new', ['malformed']),
      };
    }

    const message = (number: number, body?: Bytes) => ipFrame(way, family, icmpOf(family), icmp(number, body));
    const [request, reply] = family === 4 ? [8, 0] : [128, 129];
    yield { name: `${v} echo request`, frame: message(request), count: expected(arriving ? 'remote' : 'local') };
    yield { name: `${v} echo reply`, frame: message(reply), count: expected(arriving ? 'local' : 'remote') };
    yield { name: `${v} ICMP of another type`, frame: message(200), count: expected('new') };
    yield {
      name: `${v} ICMP cut`,
      frame: ipFrame(way, family, icmpOf(family), new Uint8Array(0)),
      count: expected('new', ['malformed']),
    };
    // An error that arrives quotes a packet that left, and the other way round.
    const back = opposite(way);
    for (const error of family === 4 ? [3, 4, 5, 11, 12] : [1, 2, 3, 4]) {
      const about = (flow: FlowName) => message(error, udpPacket(back, family, flow));
      const name = `${v} ICMP error ${error}`;
      yield { name: `${name} about local`, frame: about('local'), count: expected('local', ['icmp_error']) };
      yield { name: `${name} about remote`, frame: about('remote'), count: expected('remote', ['icmp_error']) };
    }
    const unreachable = (quoted: Bytes) => message(family === 4 ? 3 : 1, quoted);
    yield {
      name: `${v} error about TCP with a mark`,
      frame: unreachable(ip(back, family, PROTOCOL.tcp, tcp(ports(back, 'remoteMarked')))),
      count: expected('marked', ['icmp_error'], 5),
    };
    yield {
      name: `${v} error about unknown`,
      frame: unreachable(udpPacket(back, family, 'unknown')),
      count: expected('new', ['icmp_error']),
    };
    yield {
      name: `${v} error that quotes a packet of its own way`,
      frame: unreachable(udpPacket(way, family, 'local')),
      count: expected('new', ['icmp_error']),
    };
    yield {
      name: `${v} error about an echo request`,
      frame: unreachable(ip(back, family, icmpOf(family), icmp(request))),
      count: expected(arriving ? 'local' : 'remote', ['icmp_error']),
    };
    yield {
      name: `${v} error about an echo reply`,
      frame: unreachable(ip(back, family, icmpOf(family), icmp(reply))),
      count: expected(arriving ? 'remote' : 'local', ['icmp_error']),
    };
    yield {
      name: `${v} error about an error`,
      frame: unreachable(ip(back, family, icmpOf(family), icmp(family === 4 ? 3 : 1))),
      count: expected('new', ['icmp_error']),
    };
    yield {
      name: `${v} error about GRE`,
      frame: unreachable(ip(back, family, PROTOCOL.gre, new Uint8Array(8))),
      count: expected('new', ['icmp_error', 'unsupported']),
    };
    yield {
      name: `${v} error that quotes too little`,
      frame: unreachable(udpPacket(back, family, 'local').subarray(0, 12)),
      count: expected('new', ['icmp_error', 'malformed']),
    };
    yield {
      name: `${v} error that quotes no ports`,
      frame: unreachable(udpPacket(back, family, 'local').subarray(0, family === 4 ? 22 : 42)),
      count: expected('new', ['icmp_error', 'malformed']),
    };

    for (const [name, protocol] of [
      ['GRE', PROTOCOL.gre],
      ['ESP', PROTOCOL.esp],
      ['SCTP', PROTOCOL.sctp],
      ['no next header', PROTOCOL.none],
      ['the other family`s ICMP', icmpOf(family === 4 ? 6 : 4)],
    ] as const) {
      const count = expected('new', ['unsupported']);
      yield { name: `${v} ${name}`, frame: ipFrame(way, family, protocol, new Uint8Array(24)), count };
    }

    // Tags: veth takes the first one off on arrival, so a frame with three has two in line.
    const local = udpPacket(way, family, 'local');
    const tagged = (...tags: number[]) =>
      tags.reduceRight<[number, Bytes]>(
        ([inner, payload], tag) => [tag, vlanTag(7, inner, payload)],
        [type(family), local],
      );
    yield {
      name: `${v} VLAN`,
      frame: frame(way, ...tagged(ETHERTYPE.vlan)),
      count: expected('local', ['vlan']),
    };
    yield {
      name: `${v} QinQ`,
      frame: frame(way, ...tagged(ETHERTYPE.qinq, ETHERTYPE.vlan)),
      count: expected('local', ['vlan']),
    };
    const session = pppoe(family === 4 ? 0x21 : 0x57, local);
    yield { name: `${v} PPPoE`, frame: frame(way, ETHERTYPE.pppoe, session), count: expected('local', ['pppoe']) };
    yield {
      name: `${v} PPPoE in a VLAN`,
      frame: frame(way, ETHERTYPE.vlan, vlanTag(7, ETHERTYPE.pppoe, session)),
      count: expected('local', ['pppoe', 'vlan']),
    };
    yield {
      name: `${v} headers in pages`,
      frame: { linear: 14, bytes: ipFrame(way, family, PROTOCOL.udp, udp(ports(way, 'remote'), 5000)) },
      count: expected('remote'),
    };
    yield {
      name: `${v} PPPoE in a VLAN, headers in pages`,
      frame: {
        linear: 14,
        bytes: frame(
          way,
          ETHERTYPE.vlan,
          vlanTag(
            7,
            ETHERTYPE.pppoe,
            pppoe(family === 4 ? 0x21 : 0x57, ip(way, family, PROTOCOL.udp, udp(ports(way, 'remote'), 5000))),
          ),
        ),
      },
      count: expected('remote', ['pppoe', 'vlan']),
    };
    const bad = Uint8Array.from(local);
    bad[0] = family === 4 ? 0x55 : 0x40;
    yield {
      name: `${v} of another version`,
      frame: frame(way, type(family), bad),
      count: expected('left_alone', ['malformed']),
    };
    yield {
      name: `${v} header cut`,
      frame: frame(way, type(family), local.subarray(0, family === 4 ? 19 : 39)),
      count: expected('left_alone', ['malformed']),
    };
  }

  yield {
    name: 'IPv4 options',
    frame: frame(
      way,
      ETHERTYPE.ipv4,
      ipv4(
        { source: from(way).v4, destination: to(way).v4, protocol: PROTOCOL.udp, options: new Uint8Array(40).fill(1) },
        udp(ports(way, 'local')),
      ),
    ),
    count: expected('local'),
  };
  const short = Uint8Array.from(udpPacket(way, 4, 'local'));
  short[0] = 0x44;
  yield {
    name: 'IPv4 header of 16 bytes',
    frame: frame(way, ETHERTYPE.ipv4, short),
    count: expected('left_alone', ['malformed']),
  };
  yield {
    name: 'timestamp request',
    frame: ipFrame(way, 4, PROTOCOL.icmp, icmp(13)),
    count: expected(arriving ? 'remote' : 'local'),
  };
  yield {
    name: 'timestamp reply',
    frame: ipFrame(way, 4, PROTOCOL.icmp, icmp(14)),
    count: expected(arriving ? 'local' : 'remote'),
  };

  const inner = udp(ports(way, 'local'));
  const chain = (length: number) =>
    Array.from({ length }).reduce<[number, Bytes]>(
      ([next, payload], _, i) => [PROTOCOL.destinationOptions, extension(next, payload, i + 1)],
      [PROTOCOL.udp, inner],
    );
  for (const [name, header] of [
    ['hop-by-hop', PROTOCOL.hopByHop],
    ['routing', PROTOCOL.routing],
    ['destination options', PROTOCOL.destinationOptions],
  ] as const)
    yield {
      name: `IPv6 ${name}`,
      frame: ipFrame(way, 6, header, extension(PROTOCOL.udp, inner, 3)),
      count: expected('local'),
    };
  yield {
    name: 'IPv6 authentication',
    frame: ipFrame(way, 6, PROTOCOL.ah, authentication(PROTOCOL.udp, inner)),
    count: expected('local'),
  };
  yield { name: 'IPv6, six extensions', frame: ipFrame(way, 6, ...chain(6)), count: expected('local') };
  yield {
    name: 'IPv6, seven extensions',
    frame: ipFrame(way, 6, ...chain(7)),
    count: expected('new', ['unsupported']),
  };
  yield {
    name: 'IPv6 extension cut',
    frame: ipFrame(way, 6, PROTOCOL.hopByHop, Uint8Array.of(PROTOCOL.udp)),
    count: expected('new', ['malformed']),
  };
  yield {
    name: 'IPv6 extension that points behind the end',
    frame: ipFrame(way, 6, PROTOCOL.hopByHop, Uint8Array.of(PROTOCOL.udp, 255, 0, 0, 0, 0, 0, 0)),
    count: expected('new', ['malformed']),
  };
  yield {
    name: 'IPv6 error about a packet with extensions',
    frame: ipFrame(
      way,
      6,
      PROTOCOL.icmpv6,
      icmp(3, ip(opposite(way), 6, PROTOCOL.hopByHop, extension(PROTOCOL.udp, udp(ports(opposite(way), 'remote'))))),
    ),
    count: expected('remote', ['icmp_error']),
  };
  yield {
    name: 'IPv6 error about a first fragment',
    frame: ipFrame(
      way,
      6,
      PROTOCOL.icmpv6,
      icmp(
        2,
        ip(
          opposite(way),
          6,
          PROTOCOL.fragment,
          fragmentHeader(PROTOCOL.udp, { id: 1, more: true }, udp(ports(opposite(way), 'remote'))),
        ),
      ),
    ),
    count: expected('remote', ['icmp_error']),
  };
  yield {
    name: 'IPv6 error about a later fragment',
    frame: ipFrame(
      way,
      6,
      PROTOCOL.icmpv6,
      icmp(
        2,
        ip(
          opposite(way),
          6,
          PROTOCOL.fragment,
          fragmentHeader(PROTOCOL.udp, { id: 1, offset: 64 }, udp(ports(opposite(way), 'remote'))),
        ),
      ),
    ),
    count: expected('new', ['icmp_error']),
  };

  // The link's own control traffic, and what is no IP: never touched.
  const alone: [string, Frame, Verdict[]?][] = [
    ['ARP', frame(way, ETHERTYPE.arp, new Uint8Array(28))],
    ['LLDP', frame(way, ETHERTYPE.lldp, new Uint8Array(46))],
    ['an unassigned ethertype', frame(way, 0x88b5, new Uint8Array(46))],
    ['ARP in a VLAN', frame(way, ETHERTYPE.vlan, vlanTag(7, ETHERTYPE.arp, new Uint8Array(28))), ['vlan']],
    ['PPPoE discovery', frame(way, 0x8863, Uint8Array.of(0x11, 0x09, 0, 0, 0, 0))],
    ['PPP LCP', frame(way, ETHERTYPE.pppoe, pppoe(0xc021, new Uint8Array(8))), ['pppoe']],
    ['PPPoE that is no data', frame(way, ETHERTYPE.pppoe, pppoe(0x21, new Uint8Array(20), 0xa7))],
    ['PPPoE cut', frame(way, ETHERTYPE.pppoe, Uint8Array.of(0x11, 0, 0))],
    ['PPPoE with no IP inside', frame(way, ETHERTYPE.pppoe, pppoe(0x21, new Uint8Array(20))), ['pppoe', 'malformed']],
    ['IGMP', ipFrame(way, 4, PROTOCOL.igmp, new Uint8Array(8))],
    ...[67, 68].map((port): [string, Frame] => [
      `DHCP to ${port}`,
      ipFrame(way, 4, PROTOCOL.udp, udp({ sourcePort: 135 - port, destinationPort: port })),
    ]),
    ...[546, 547].map((port): [string, Frame] => [
      `DHCPv6 to ${port}`,
      ipFrame(way, 6, PROTOCOL.udp, udp({ sourcePort: 1093 - port, destinationPort: port })),
    ]),
    ...[133, 134, 135, 136, 137].map((number): [string, Frame] => [
      `ICMPv6 ${number}, neighbour discovery`,
      ipFrame(way, 6, PROTOCOL.icmpv6, icmp(number, new Uint8Array(20)), 255),
    ]),
    ...[130, 131, 132, 143].map((number): [string, Frame] => [
      `ICMPv6 ${number}, multicast listener discovery`,
      ipFrame(way, 6, PROTOCOL.hopByHop, extension(PROTOCOL.icmpv6, icmp(number, new Uint8Array(20))), 1),
    ]),
  ];
  for (const [name, bytes, diagnostics] of alone)
    yield { name: `left alone: ${name}`, frame: bytes, count: expected('left_alone', diagnostics) };
  for (const number of [133, 135, 143])
    yield {
      name: `ICMPv6 ${number} from afar`,
      frame: ipFrame(way, 6, PROTOCOL.icmpv6, icmp(number, new Uint8Array(20)), 64),
      count: expected('new'),
    };
  for (const port of [53, 69])
    yield {
      name: `UDP from a DHCP port to ${port}`,
      frame: ipFrame(way, 4, PROTOCOL.udp, udp({ sourcePort: 67, destinationPort: port })),
      count: expected('new'),
    };
  yield {
    name: 'TCP to a DHCP port',
    frame: ipFrame(way, 4, PROTOCOL.tcp, tcp({ sourcePort: 67, destinationPort: 68 })),
    count: expected('new'),
  };
}

/** Makes the conntrack entries of {@link FLOWS} in the box. */
export async function addFlows(lab: ClassifierLab): Promise<void> {
  for (const flow of Object.values(FLOWS))
    for (const v of ['v4', 'v6'] as const)
      for (const transport of ['tcp', 'udp']) {
        const [source, destination] = flow.opener === 'box' ? [BOX, WORLD] : [WORLD, BOX];
        const [sport, dport] = flow.opener === 'box' ? [flow.box, flow.world] : [flow.world, flow.box];
        const tuple = ['-s', source[v], '-d', destination[v], '--sport', String(sport), '--dport', String(dport)];
        const state = transport === 'tcp' ? ['--state', 'ESTABLISHED'] : [];
        await lab.box.run('conntrack', '-I', '-p', transport, ...tuple, ...state, '-t', '600', '-m', String(flow.mark));
      }
}
