import { asyncScheduler, interval, type SchedulerLike, type Subscriber } from 'rxjs';
import { keyOfAddress } from '../model/index.ts';
import { type AskedFlow, clockOf, type FactAnswer, oldestOf } from '../pipeline/index.ts';
import { type KnownSource, whileOpen } from './source.ts';
import { SwarmPort } from './swarm-port.ts';

/** Ports that are remembered; beyond it those that nothing has come to for longest are forgotten. */
export const MOST_PORTS = 20_000;
/** How often what is over is forgotten, ms. */
export const SWEEP_MS = 30_000;
/** Ports below are services' own: nobody's peer is there (RFC 6335). */
const FIRST_FREE_PORT = 1024;

/**
 * Tells flows of a swarm of peers from those of servers and their clients, by who opens what: a port that many strangers
 * open flows to, and that opens flows itself to many others, on ports of all sorts. It looks at no packet. A flow is of the swarm by its own
 * port, or when the same host has opened it to one of the swarm's peers.
 */
export function swarmSource(scheduler: SchedulerLike = asyncScheduler): KnownSource {
  return whileOpen({ word: 'p2p', supplies: ['p2p'], everyFlow: true }, (subscriber) => {
    const swarms = new Swarms(subscriber, clockOf(scheduler));
    subscriber.add(interval(SWEEP_MS, scheduler).subscribe(() => swarms.sweep()));
    return swarms;
  });
}

/** An inside host. */
interface Host {
  /** Its flows by the address of their other end. */
  readonly flows: Map<string, Map<AskedFlow, Membership>>;
  /** Its ports that are of swarms. */
  readonly swarms: Set<SwarmPort>;
  ports: number;
}

/** Whether a flow is of a swarm, as things stand when it is looked at. */
class Membership {
  readonly #host: Host;
  readonly #port: SwarmPort;
  readonly #flow: AskedFlow;

  constructor(host: Host, port: SwarmPort, flow: AskedFlow) {
    this.#host = host;
    this.#port = port;
    this.#flow = flow;
  }

  get holds(): boolean {
    return this.#swarm !== undefined;
  }

  get evidence(): readonly string[] {
    const swarm = this.#swarm;
    if (!swarm || swarm === this.#port) return this.#port.evidence;
    return [`this host opened it to a peer of its port ${swarm.port}`, ...swarm.evidence];
  }

  get #swarm(): SwarmPort | undefined {
    if (this.#port.isSwarm) return this.#port;
    const { origin, remote } = this.#flow;
    if (origin !== 'local' || remote.port! < FIRST_FREE_PORT) return undefined;
    const peer = keyOfAddress(remote.address);
    return [...this.#host.swarms].find((swarm) => swarm.has(peer));
  }
}

interface Place {
  readonly host: Host;
  readonly hostKey: string;
  readonly port: SwarmPort;
}

class Swarms {
  readonly #subscriber: Subscriber<FactAnswer>;
  readonly #now: () => number;
  readonly #hosts = new Map<string, Host>();
  /** By the host's address and the port; what something came to last is the last. */
  readonly #places = new Map<string, Place>();

  constructor(subscriber: Subscriber<FactAnswer>, now: () => number) {
    this.#subscriber = subscriber;
    this.#now = now;
  }

  get counts() {
    const swarms = [...this.#hosts.values()].flatMap((host) => [...host.swarms]);
    return { ports: this.#places.size, swarms: swarms.length, peers: swarms.reduce((sum, { size }) => sum + size, 0) };
  }

  ask(flow: AskedFlow): void {
    const { origin, local, remote } = flow;
    if (origin === 'new' || local.port === undefined || remote.port === undefined) return;
    const { host, port } = this.#placeOf(keyOfAddress(local.address), local.port);
    const peer = keyOfAddress(remote.address);
    const isNew = !port.has(peer);
    const turned = port.add(peer, origin === 'local' ? remote.port : undefined);
    const membership = new Membership(host, port, flow);
    const flows = host.flows.get(peer) ?? new Map<AskedFlow, Membership>();
    host.flows.set(peer, flows.set(flow, membership));
    if (turned) this.#turn(host, port);
    // The host may have opened others to it before.
    else if (port.isSwarm && isNew) this.#tell(flows);
    else this.#subscriber.next({ flow, facts: { p2p: membership } });
  }

  end(flow: AskedFlow): void {
    const { local, remote } = flow;
    const name = `${local.port} ${keyOfAddress(local.address)}`;
    const host = this.#hosts.get(keyOfAddress(local.address));
    const peer = keyOfAddress(remote.address);
    const flows = host?.flows.get(peer);
    if (!host || !flows?.delete(flow)) return;
    if (flows.size === 0) host.flows.delete(peer);
    const place = this.#places.get(name);
    place?.port.end(peer, this.#now());
    // Most ports open one flow in their life.
    if (place?.port.size === 1) this.#sweepPlace(name, place);
  }

  sweep(): void {
    for (const [name, place] of this.#places) this.#sweepPlace(name, place);
  }

  #placeOf(hostKey: string, number: number): Place {
    const name = `${number} ${hostKey}`;
    let place = this.#places.get(name);
    if (place) this.#places.delete(name);
    else {
      const host = this.#hosts.get(hostKey) ?? { flows: new Map(), swarms: new Set(), ports: 0 };
      this.#hosts.set(hostKey, host);
      host.ports++;
      place = { host, hostKey, port: new SwarmPort(number) };
    }
    this.#places.set(name, place);
    for (const oldest of oldestOf(this.#places, MOST_PORTS)) this.#forget(oldest, this.#places.get(oldest)!);
    return place;
  }

  #sweepPlace(name: string, place: Place): void {
    if (place.port.sweep(this.#now())) this.#turn(place.host, place.port);
    if (place.port.size === 0) this.#forget(name, place);
  }

  #forget(name: string, { host, hostKey, port }: Place): void {
    this.#places.delete(name);
    host.swarms.delete(port);
    host.ports--;
    if (host.ports === 0) this.#hosts.delete(hostKey);
  }

  /** A port has become one of a swarm, or is none any more. */
  #turn(host: Host, port: SwarmPort): void {
    if (port.isSwarm) host.swarms.add(port);
    else host.swarms.delete(port);
    for (const flows of host.flows.values()) this.#tell(flows);
  }

  #tell(flows: ReadonlyMap<AskedFlow, Membership>): void {
    for (const [flow, p2p] of flows) this.#subscriber.next({ flow, facts: { p2p } });
  }
}
