// Flows as conntrack would tell them of some hosts on the internet, from a seed, in virtual time: who is and who is not of a swarm.

import { type Origin, PROTOCOLS, parseAddress, type Tuple } from '../../src/model/index.ts';
import type { AskedFlow } from '../../src/pipeline/index.ts';

/** A flow with the times, in ms, at which its entry comes and goes. */
export interface SceneFlow {
  readonly flow: AskedFlow;
  readonly from: number;
  readonly to: number;
}

export interface Scene {
  readonly name: string;
  /** The port whose figures are of interest. */
  readonly port: number;
  readonly flows: readonly SceneFlow[];
}

const HOST = '192.168.1.20';
const SECOND = 1000;
const MINUTE = 60 * SECOND;

type Random = (below: number) => number;

/** xorshift32. */
function randomOf(seed: number): Random {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const peer = (number: number): string => `198.${18 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
const anyPort = (random: Random): number => 1024 + random(64_512);

export function flowOf(
  origin: Origin,
  protocol: 'tcp' | 'udp',
  port: number,
  remote: string,
  remotePort: number,
  host = HOST,
): AskedFlow {
  const [own, other] = [parseAddress(host)!, parseAddress(remote)!];
  const out: Tuple = { source: own, sourcePort: port, destination: other, destinationPort: remotePort };
  const back: Tuple = { source: other, sourcePort: remotePort, destination: own, destinationPort: port };
  return {
    ...{ origin, protocol: PROTOCOLS[protocol], zone: 0 },
    ...{ local: { address: own, port }, remote: { address: other, port: remotePort } },
    ...(origin === 'local' ? { original: out, reply: back } : { original: back, reply: out }),
  };
}

const during = (flow: AskedFlow, from: number, length: number): SceneFlow => ({ flow, from, to: from + length });
const times = <T>(count: number, make: (i: number) => T | readonly T[]): T[] =>
  Array.from({ length: count }, (_, i) => make(i)).flat() as T[];

/** 2,000 browsers in an hour, each with up to six connections, and a monitor that looks in every ten seconds. */
function webServer(random: Random): SceneFlow[] {
  const visits = times(2000, (i) => {
    const at = random(60 * MINUTE);
    return times(1 + random(6), () =>
      during(flowOf('remote', 'tcp', 443, peer(i), anyPort(random)), at + random(2000), 5 * SECOND + random(115_000)),
    );
  });
  const looks = times(360, (i) =>
    during(flowOf('remote', 'tcp', 443, '203.0.113.9', anyPort(random)), i * 10 * SECOND, 130 * SECOND),
  );
  return [...visits, ...looks];
}

/** HTTP/3: clients that fall silent lose their entry after three minutes; what the server then sends makes a new one, of origin local. */
function quicServer(random: Random): SceneFlow[] {
  return times(1000, (i) => {
    const at = random(50 * MINUTE);
    const port = anyPort(random);
    const visit = during(flowOf('remote', 'udp', 443, peer(i), port), at, 3 * MINUTE);
    const late = during(flowOf('local', 'udp', 443, peer(i), port), visit.to + random(20 * SECOND), 30 * SECOND);
    return random(3) === 0 ? [visit, late] : [visit];
  });
}

/** 64 places and 400 players in two hours, three lists of servers that it reports to, late packets to those who have gone. */
function gameServer(random: Random): SceneFlow[] {
  const lists = times(3 * 24, (i) =>
    during(flowOf('local', 'udp', 27_015, peer(9000 + (i % 3)), 27_011), Math.floor(i / 3) * 5 * MINUTE, 2 * MINUTE),
  );
  const players = times(400, (i) => {
    const port = anyPort(random);
    const at = random(100 * MINUTE);
    const play = during(flowOf('remote', 'udp', 27_015, peer(i), port), at, 2 * MINUTE + random(18 * MINUTE));
    return [play, during(flowOf('local', 'udp', 27_015, peer(i), port), play.to + random(5000), 30 * SECOND)];
  });
  return [...lists, ...players];
}

/** Ten people, each with each, all on one port of ours; six candidates of each, and two STUN servers. Half of them are faster than we. */
function videoCall(random: Random): SceneFlow[] {
  const port = 50_123;
  const stun = times(2, (i) => during(flowOf('local', 'udp', port, peer(9000 + i), 3478), 0, 60 * MINUTE));
  const people = times(9, (i) => {
    const at = i * 20 * SECOND;
    const theirs = anyPort(random);
    const talk = during(flowOf(i % 2 ? 'local' : 'remote', 'udp', port, peer(i), theirs), at, 50 * MINUTE);
    // Addresses of their home that nothing answers from.
    const tries = times(5, (j) => during(flowOf('local', 'udp', port, `10.0.${i % 3}.${j}`, theirs), at, 30 * SECOND));
    return [talk, ...tries];
  });
  return [...stun, ...people];
}

/** 20,000 questions of a resolver in an hour, from any port, and 500 strangers that it answers. */
function resolver(random: Random): SceneFlow[] {
  const asks = times(20_000, () =>
    during(flowOf('local', 'udp', anyPort(random), peer(random(3000)), 53), random(60 * MINUTE), 30 * SECOND),
  );
  const clients = times(5000, () =>
    during(flowOf('remote', 'udp', 53, peer(5000 + random(500)), anyPort(random)), random(60 * MINUTE), 30 * SECOND),
  );
  return [...asks, ...clients];
}

/** The same with `query-source port 53`. */
function oldResolver(random: Random): SceneFlow[] {
  return resolver(random).map((one) =>
    one.flow.origin === 'remote' ? one : { ...one, flow: flowOf('local', 'udp', 53, peer(random(3000)), 53) },
  );
}

/** 200 phones that register from behind NAT, and a trunk to three providers. */
function telephones(random: Random): SceneFlow[] {
  return [
    ...times(200, (i) =>
      during(flowOf('remote', 'udp', 5060, peer(i), anyPort(random)), random(10 * MINUTE), 60 * MINUTE),
    ),
    ...times(3, (i) => during(flowOf('local', 'udp', 5060, peer(9000 + i), 5060), 0, 60 * MINUTE)),
  ];
}

/** A torrent client: 40 peers of a swarm that come to it and 40 that it goes to in an hour, by uTP or TCP, and DHT on the same port. */
function torrent(random: Random): SceneFlow[] {
  const port = 43_210;
  const peers = times(80, (i) => {
    const [at, length] = [random(60 * MINUTE), MINUTE + random(20 * MINUTE)];
    return i % 2
      ? during(flowOf('local', 'udp', port, peer(i), anyPort(random)), at, length)
      : during(flowOf('remote', random(2) ? 'udp' : 'tcp', port, peer(i), anyPort(random)), at, length);
  });
  const nodes = times(600, () =>
    during(
      flowOf(random(2) ? 'local' : 'remote', 'udp', port, peer(1000 + random(400)), anyPort(random)),
      random(60 * MINUTE),
      30 * SECOND,
    ),
  );
  return [...peers, ...nodes];
}

/** The same without DHT, one swarm of a few peers. */
function smallTorrent(random: Random): SceneFlow[] {
  return times(24, (i) =>
    during(
      flowOf(i % 2 ? 'local' : 'remote', 'udp', 43_210, peer(i), anyPort(random)),
      random(30 * MINUTE),
      10 * MINUTE,
    ),
  );
}

const scene = (name: string, port: number, make: (random: Random) => SceneFlow[], seed: number): Scene => ({
  name,
  port,
  flows: make(randomOf(seed)).toSorted((a, b) => a.from - b.from),
});

export const INNOCENT: readonly Scene[] = [
  scene('web server, 2,000 browsers', 443, webServer, 11),
  scene('the same over QUIC, with late packets', 443, quicServer, 12),
  scene('game server, 400 players', 27_015, gameServer, 13),
  scene('video call of ten, each with each', 50_123, videoCall, 14),
  scene('DNS resolver, any source port', 53, resolver, 15),
  scene('DNS resolver, source port 53', 53, oldResolver, 16),
  scene('telephone exchange, 200 phones', 5060, telephones, 17),
];
export const SWARMS: readonly Scene[] = [
  scene('torrent client, DHT on', 43_210, torrent, 21),
  scene('torrent client, DHT off, 24 peers', 43_210, smallTorrent, 22),
];
