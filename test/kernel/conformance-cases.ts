// What is sent, and which class each packet takes: by the definition of the origins (docs/architecture.md), on any datapath.
// Where one differs, conformance-differences.ts says so, and why.

import { BOX, type BothWays, type End, INSIDE, type Stage, WORLD } from './conformance-stage.ts';
import {
  type Bytes,
  ETHERTYPE,
  ethernet,
  extension,
  icmp,
  ipv4,
  ipv6,
  PROTOCOL,
  pppoe,
  udp,
  vlanTag,
  withUdpChecksum,
} from './packets.ts';

export interface Case extends BothWays {
  readonly name: string;
  readonly act: (stage: Stage) => Promise<unknown>;
  /** Crafted: straight over Ethernet only. */
  readonly frames?: true | undefined;
}

type Version = 'v4' | 'v6';
const UDP = { transport: 'udp', port: 7000, size: 100, times: 2 } as const;
const TCP = { ...UDP, transport: 'tcp', size: 20_000 } as const;
const refused = (asked: Promise<unknown>) =>
  asked.then(
    () => {
      throw new Error('somebody answered');
    },
    (error: Error) => {
      if (!/REFUSED/.test(error.message)) throw error;
    },
  );
function* ofVersion(v: Version): Generator<Case> {
  const name = (text: string) => `IP${v}, ${text}`;
  const fromBox = (stage: Stage, ask: object = {}) => stage.talk('box', { ...UDP, address: WORLD[v], ...ask });
  const fromWorld = (stage: Stage, ask: object = {}) => stage.talk('world', { ...UDP, address: BOX[v], ...ask });

  yield { name: name('UDP, opened by the box'), act: (stage) => fromBox(stage), in: { local: 2 }, out: { local: 2 } };
  yield {
    name: name('UDP, opened by the world: the first packet is new'),
    act: (stage) => fromWorld(stage),
    in: { new: 1, remote: 1 },
    out: { remote: 2 },
  };
  yield {
    name: name('TCP, opened by the box'),
    act: (stage) => stage.ask('box', { ...TCP, address: WORLD[v] }),
    in: { local: 'some' },
    out: { local: 'some' },
  };
  yield {
    name: name('TCP, opened by the world: the first packet is new'),
    act: (stage) => stage.ask('world', { ...TCP, address: BOX[v] }),
    in: { new: 1, remote: 'some' },
    out: { remote: 'some' },
  };
  yield {
    name: name('UDP that nobody answers, from the world'),
    act: (stage) => stage.tell('world', BOX[v], 7900, 3),
    in: { new: 1, remote: 2 },
    out: {},
  };
  yield {
    name: name('ping by the box'),
    act: (stage) => stage.ping('box', WORLD[v], 3),
    in: { local: 3 },
    out: { local: 3 },
  };
  yield {
    name: name('ping by the world'),
    act: (stage) => stage.ping('world', BOX[v], 3),
    in: { new: 1, remote: 2 },
    out: { remote: 3 },
  };
  yield {
    name: name('an ICMP error about what the box asked'),
    act: (stage) => refused(fromBox(stage, { port: 7999 })),
    in: { local: 1 },
    out: { local: 1 },
  };
  yield {
    name: name('an ICMP error about what the world asked'),
    act: (stage) => refused(fromWorld(stage, { port: 7999 })),
    in: { new: 1 },
    out: { remote: 1 },
  };
  yield {
    name: name('fragments, of what the box asked'),
    act: (stage) => fromBox(stage, { size: 4000, times: 1 }),
    in: { local: 3 },
    out: { local: 3 },
  };
  yield {
    name: name('fragments, of what the world asked'),
    act: (stage) => fromWorld(stage, { size: 4000 }),
    in: { new: 3, remote: 3 },
    out: { remote: 6 },
  };
  yield {
    name: name('a flow that the box opened before Headgate was up'),
    act: (stage) => stage.ask('box', { ...UDP, address: WORLD[v], from: 6100 }),
    in: { local: 2 },
    out: { local: 2 },
  };
  yield {
    name: name('a flow that the world opened before Headgate was up'),
    act: (stage) => stage.ask('world', { ...UDP, address: BOX[v], from: 6100 }),
    in: { remote: 2 },
    out: { remote: 2 },
  };
  yield {
    name: name('a rule sends what the box opens to another queue'),
    act: (stage) => fromBox(stage, { port: 5004 }),
    in: { voice: 2 },
    out: { voice: 2 },
  };
  yield {
    name: name('a rule sends what the world opens to another queue'),
    act: (stage) => fromWorld(stage, { port: 7300 }),
    in: { new: 1, bulk: 1 },
    out: { bulk: 2 },
  };
  yield {
    name: name('a flow in a conntrack zone'),
    act: (stage) => stage.ask('box', { ...UDP, address: WORLD[v], port: 7400 }),
    in: { new: 2 },
    out: { new: 2 },
  };
}

function* forwarded(): Generator<Case> {
  for (const ask of [UDP, TCP]) {
    const some = ask.transport === 'tcp';
    const talk = (stage: Stage, from: End, address: string, port: number) =>
      some ? stage.ask(from, { ...ask, address, port }) : stage.talk(from, { ...ask, address, port });
    const packets = (number: number) => (some ? 'some' : number);
    yield {
      name: `${ask.transport} from behind masquerade`,
      act: (stage) => talk(stage, 'inside', WORLD.v4, 7000),
      in: { local: packets(2) },
      out: { local: packets(2) },
    };
    yield {
      name: `${ask.transport} to a forwarded port`,
      act: (stage) => talk(stage, 'world', BOX.v4, 7100),
      in: { new: 1, remote: packets(1) },
      out: { remote: packets(2) },
    };
    yield {
      name: `${ask.transport} from the inside to the forwarded port crosses no link`,
      act: (stage) => stage.ask('inside', { ...ask, address: BOX.v4, port: 7100 }),
      in: {},
      out: {},
    };
    yield {
      name: `${ask.transport} from the inside, IPv6`,
      act: (stage) => talk(stage, 'inside', WORLD.v6, 7000),
      in: { local: packets(2) },
      out: { local: packets(2) },
    };
    yield {
      name: `${ask.transport} to the inside, IPv6`,
      act: (stage) => talk(stage, 'world', INSIDE.v6, 7100),
      in: { new: 1, remote: packets(1) },
      out: { remote: packets(2) },
    };
  }
  yield {
    name: 'an ICMP error about what the inside asked, IPv6',
    act: (stage) => refused(stage.ask('inside', { ...UDP, address: WORLD.v6, port: 7999 })),
    in: { local: 1 },
    out: { local: 1 },
  };
  yield {
    name: 'an ICMP error about what is masqueraded',
    act: (stage) => refused(stage.ask('inside', { ...UDP, address: WORLD.v4, port: 7999 })),
    in: { local: 1 },
    out: { local: 1 },
  };
  yield {
    name: 'ping from behind masquerade',
    act: (stage) => stage.ping('inside', WORLD.v4, 3),
    in: { local: 3 },
    out: { local: 3 },
  };
  yield {
    name: 'ping from the inside, IPv6',
    act: (stage) => stage.ping('inside', WORLD.v6, 3),
    in: { local: 3 },
    out: { local: 3 },
  };
  yield {
    name: 'fragments from the inside, IPv6',
    act: (stage) => stage.talk('inside', { ...UDP, address: WORLD.v6, size: 4000, times: 1 }),
    in: { local: 3 },
    out: { local: 3 },
  };
}

/** Of a type that nobody knows, with no segments left: to be passed over (RFC 8200, section 4.4). */
const routing = (next: number, payload: Bytes): Bytes => {
  const header = extension(next, payload);
  header[3] = 0;
  return header;
};

const LINK = { source: WORLD.mac, destination: BOX.mac };
/** An answer on the flow that the box has kept open, from port 6200. */
const PORTS = { sourcePort: 7000, destinationPort: 6200 };
const answer = (v: Version): Bytes =>
  v === 'v4'
    ? ipv4({ source: WORLD.v4, destination: BOX.v4, protocol: PROTOCOL.udp }, udp4())
    : ipv6({ source: WORLD.v6, destination: BOX.v6, protocol: PROTOCOL.udp }, udp6());
const udp4 = () => withUdpChecksum(udp(PORTS), WORLD.v4, BOX.v4);
const udp6 = () => withUdpChecksum(udp(PORTS), WORLD.v6, BOX.v6);
const local = (name: string, frame: Bytes): Case => ({
  name,
  act: (stage) => stage.inject(frame),
  in: { local: 1 },
  out: {},
  frames: true,
});
const alone = (name: string, frame: Bytes): Case => ({ ...local(name, frame), in: {} });

function* frames(): Generator<Case> {
  for (const v of ['v4', 'v6'] as const) {
    const type = v === 'v4' ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
    const tag = vlanTag(7, type, answer(v));
    yield local(`IP${v} behind a VLAN tag`, ethernet(LINK, ETHERTYPE.vlan, tag));
    yield local(`IP${v} behind an 802.1ad tag`, ethernet(LINK, ETHERTYPE.qinq, tag));
    yield local(`IP${v} behind two VLAN tags`, ethernet(LINK, ETHERTYPE.qinq, vlanTag(8, ETHERTYPE.vlan, tag)));
    const session = pppoe(v === 'v4' ? 0x21 : 0x57, answer(v));
    yield local(`IP${v} in PPPoE`, ethernet(LINK, ETHERTYPE.pppoe, session));
    yield local(
      `IP${v} in PPPoE behind a VLAN tag`,
      ethernet(LINK, ETHERTYPE.vlan, vlanTag(7, ETHERTYPE.pppoe, session)),
    );
  }
  const v6 = (protocol: number, payload: Bytes, hopLimit = 64) =>
    ethernet(LINK, ETHERTYPE.ipv6, ipv6({ source: WORLD.v6, destination: BOX.v6, protocol, hopLimit }, payload));
  yield local('IPv6, hop-by-hop options', v6(PROTOCOL.hopByHop, extension(PROTOCOL.udp, udp6())));
  yield local('IPv6, destination options', v6(PROTOCOL.destinationOptions, extension(PROTOCOL.udp, udp6(), 2)));
  yield local(
    'IPv6, hop-by-hop and destination options',
    v6(PROTOCOL.hopByHop, extension(PROTOCOL.destinationOptions, extension(PROTOCOL.udp, udp6()))),
  );
  yield local('IPv6, routing header', v6(PROTOCOL.routing, routing(PROTOCOL.udp, udp6())));
  yield {
    ...local(
      'IPv4 options',
      ethernet(
        LINK,
        ETHERTYPE.ipv4,
        ipv4(
          { source: WORLD.v4, destination: BOX.v4, protocol: PROTOCOL.udp, options: new Uint8Array(8).fill(1) },
          udp4(),
        ),
      ),
    ),
  };
  const v4 = (protocol: number, payload: Bytes) =>
    ethernet(LINK, ETHERTYPE.ipv4, ipv4({ source: WORLD.v4, destination: BOX.v4, protocol }, payload));
  yield {
    ...local('a protocol without ports', v4(PROTOCOL.esp, new Uint8Array(24))),
    in: { new: 1 },
    out: { remote: 1 },
  };

  yield alone('ARP is left alone', ethernet(LINK, ETHERTYPE.arp, new Uint8Array(28)));
  yield alone('IGMP is left alone', v4(PROTOCOL.igmp, new Uint8Array(8)));
  for (const port of [67, 68])
    yield alone(
      `DHCP to ${port} is left alone`,
      v4(PROTOCOL.udp, udp({ sourcePort: 135 - port, destinationPort: port })),
    );
  for (const port of [546, 547])
    yield alone(
      `DHCPv6 to ${port} is left alone`,
      v6(PROTOCOL.udp, udp({ sourcePort: 1093 - port, destinationPort: port })),
    );
  for (const type of [133, 134, 135, 136, 137])
    yield alone(`ICMPv6 ${type} is left alone`, v6(PROTOCOL.icmpv6, icmp(type, new Uint8Array(20)), 255));
  for (const type of [130, 131, 132, 143])
    yield alone(
      `ICMPv6 ${type} is left alone`,
      v6(PROTOCOL.hopByHop, extension(PROTOCOL.icmpv6, icmp(type, new Uint8Array(20))), 1),
    );
  const tagged = vlanTag(
    7,
    ETHERTYPE.ipv4,
    ipv4({ source: WORLD.v4, destination: BOX.v4, protocol: PROTOCOL.igmp }, new Uint8Array(8)),
  );
  yield alone('IGMP behind a VLAN tag is left alone', ethernet(LINK, ETHERTYPE.vlan, tagged));
  yield { ...alone('ICMPv6 135 from afar is not', v6(PROTOCOL.icmpv6, icmp(135, new Uint8Array(20)))), in: { new: 1 } };
  yield {
    ...alone('UDP from a DHCP port is not', v4(PROTOCOL.udp, udp({ sourcePort: 67, destinationPort: 69 }))),
    in: { new: 1 },
  };
  yield {
    ...alone(
      'UDP whose options look like a DHCP port is not',
      ethernet(
        LINK,
        ETHERTYPE.ipv4,
        ipv4(
          { source: WORLD.v4, destination: BOX.v4, protocol: PROTOCOL.udp, options: Uint8Array.of(1, 1, 0, 67) },
          udp({ sourcePort: 7777, destinationPort: 8888 }),
        ),
      ),
    ),
    in: { new: 1 },
  };
}

export const CASES: readonly Case[] = [...ofVersion('v4'), ...ofVersion('v6'), ...forwarded(), ...frames()];
