// A kernel of the box in the conformance suite, in memory: conntrack by tuple, marks, NAT and routing, as far as the cases
// need them. It is the model that the expectations are held by; nothing of src is in it.

import { BOX, INSIDE, QUEUES, type Queue } from '../kernel/conformance-stage.ts';
import { ESP, ICMP, ICMPV6, type Packet, TCP, UDP } from './packet.ts';

/** What a datapath cannot tell. Nothing: the definition, as docs/architecture.md has it. */
export interface Limits {
  /** Echo is `remote` or `local` by its type alone. */
  readonly echoByType?: true;
  /** Of what arrives in fragments it knows this much. */
  readonly fragments?: 'none' | 'first';
  /** It does not know the errors that arrive. */
  readonly noErrors?: true;
  /** It does not look behind two tags or into PPPoE. */
  readonly shallow?: true;
  /** What leaves has its own entry, of whichever zone. */
  readonly zones?: true;
  /** Every flow is marked, also one that goes by its origin. */
  readonly marksOrigin?: true;
  /** A flow is known once the process has heard of it. */
  readonly late?: true;
  /** It knows TCP, UDP and ICMP. */
  readonly fewProtocols?: true;
}

interface Tuple {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}
type Direction = 'original' | 'reply';
interface Entry {
  readonly zone: number;
  readonly protocol: number;
  readonly original: Tuple;
  reply: Tuple;
  mark?: Queue | undefined;
  heard: boolean;
}
interface Found {
  readonly entry: Entry;
  readonly direction: Direction;
}
type Device = 'wan' | 'lan';

const inverse = (t: Tuple): Tuple => ({
  source: t.destination,
  sourcePort: t.destinationPort,
  destination: t.source,
  destinationPort: t.sourcePort,
});
const tupleOf = ({ source, destination, sourcePort = 0, destinationPort = 0 }: Packet): Tuple => ({
  source,
  sourcePort,
  destination,
  destinationPort,
});
const isEqual = (a: Tuple, b: Tuple): boolean =>
  a.source === b.source &&
  a.destination === b.destination &&
  a.sourcePort === b.sourcePort &&
  a.destinationPort === b.destinationPort;
const isInside = (address: string): boolean => address.startsWith('10.0.0.') || address === INSIDE.v6;
const isOfBox = (address: string): boolean => address === BOX.v4 || address === BOX.v6;
const FORWARDED = 7100;
const ZONED = 7400;

export type Numbers = Record<'in' | 'out', Record<Queue, number>>;
const zeros = () => Object.fromEntries(QUEUES.map((queue) => [queue, 0])) as Record<Queue, number>;

export class FakeKernel {
  /** Packets by the class that they took, on `wan`. */
  readonly counts: Numbers = { in: zeros(), out: zeros() };
  readonly #entries: Entry[] = [];
  readonly #limits: Limits;
  readonly #deliver: (packet: Packet, to: 'box' | 'world' | 'inside') => void;
  #up = false;

  constructor(limits: Limits, deliver: (packet: Packet, to: 'box' | 'world' | 'inside') => void) {
    this.#limits = limits;
    this.#deliver = deliver;
  }

  /** Headgate comes: it looks at the flows that there are. */
  up(): void {
    this.#up = true;
    for (const entry of this.#entries)
      if (this.#limits.marksOrigin) entry.mark ??= isOfBox(entry.original.source) ? 'local' : 'remote';
    this.settle();
  }

  /** The process has heard of all that has happened. */
  settle(): void {
    for (const entry of this.#entries) entry.heard = entry.zone === 0;
  }

  arrive(packet: Packet, device: Device): void {
    if (device === 'wan' && this.#up && !packet.control)
      for (let piece = 0; piece < packet.pieces; piece++) this.counts.in[this.#classArriving(packet, piece)]++;
    if (packet.control || packet.stray || packet.broken || packet.icmp === 'other') return;
    const found = this.#track(packet, device === 'wan' && packet.sourcePort === ZONED ? 7 : 0);
    if (!found) return;
    const { entry, direction } = found;
    // Destination NAT comes first, for where it leads.
    if (this.#isNew(entry) && entry.original.destination === BOX.v4 && entry.original.destinationPort === FORWARDED)
      entry.reply = { ...entry.reply, source: INSIDE.v4 };
    const destination = direction === 'original' ? entry.reply.source : entry.original.source;
    if (!isOfBox(destination)) this.#leave(packet, found, isInside(destination) ? 'lan' : 'wan', device);
    else {
      this.#confirm(entry, device, undefined);
      this.#deliver(translated(packet, found), 'box');
    }
  }

  /** The box itself sends. */
  send(packet: Packet): void {
    const device = isInside(packet.destination) ? 'lan' : 'wan';
    const found = this.#track(packet, device === 'wan' && packet.destinationPort === ZONED ? 7 : 0);
    if (found) this.#leave(packet, found, device, undefined);
  }

  #leave(packet: Packet, found: Found, by: Device, came: Device | undefined): void {
    const { entry } = found;
    if (this.#isNew(entry) && entry.original.source === INSIDE.v4)
      entry.reply = { ...entry.reply, destination: by === 'wan' ? BOX.v4 : '10.0.0.1' };
    this.#confirm(entry, came, by);
    if (by === 'wan' && this.#up) this.counts.out[this.#classLeaving(packet, found)] += packet.pieces;
    this.#deliver(translated(packet, found), by === 'wan' ? 'world' : 'inside');
  }

  /** As conntrack: the packet's entry, which may be a new one. An error has that of what it is about, the other way. */
  #track(packet: Packet, zone: number): Found | undefined {
    if (packet.about) return this.#find(packet.about.protocol, inverse(tupleOf(packet.about)), zone);
    const tuple = tupleOf(packet);
    const entry = { zone, protocol: packet.protocol, original: tuple, reply: inverse(tuple), heard: false };
    return this.#find(packet.protocol, tuple, zone) ?? { entry, direction: 'original' };
  }

  #find(protocol: number, tuple: Tuple, zone: number): Found | undefined {
    for (const entry of this.#entries)
      if (entry.protocol === protocol && entry.zone === zone)
        for (const direction of ['original', 'reply'] as const)
          if (isEqual(entry[direction], tuple)) return { entry, direction };
    return undefined;
  }

  #isNew = (entry: Entry): boolean => !this.#entries.includes(entry);

  /** The first packet has passed all else: the rules of the policy give it its class. */
  #confirm(entry: Entry, came: Device | undefined, goes: Device | undefined): void {
    if (!this.#isNew(entry)) return;
    this.#entries.push(entry);
    if (!this.#up || (came !== 'wan' && goes !== 'wan')) return;
    const origin = came === 'wan' ? 'remote' : 'local';
    const [local, remote] =
      origin === 'remote'
        ? [entry.reply.sourcePort, entry.original.sourcePort]
        : [entry.original.sourcePort, entry.reply.sourcePort];
    if (entry.protocol === UDP && remote === 5004) entry.mark = 'voice';
    else if (origin === 'remote' && local === 7300) entry.mark = 'bulk';
    else if (this.#limits.marksOrigin) entry.mark = origin;
  }

  /** Before netfilter has seen it: the tuple is looked up in the default zone. */
  #classArriving(packet: Packet, piece: number): Queue {
    const { echoByType, fragments, noErrors, shallow, late } = this.#limits;
    if (shallow && packet.deep) return 'new';
    if (packet.pieces > 1 && (fragments === 'none' || (fragments === 'first' && piece > 0))) return 'new';
    if (packet.about ? noErrors : this.#isStrange(packet)) return 'new';
    if (echoByType && packet.icmp === 'request') return 'remote';
    if (echoByType && packet.icmp === 'reply') return 'local';
    if (packet.icmp === 'other') return 'new';
    const found = packet.about
      ? this.#find(packet.about.protocol, inverse(tupleOf(packet.about)), 0)
      : this.#find(packet.protocol, tupleOf(packet), 0);
    if (!found || (late && !found.entry.heard)) return 'new';
    return found.entry.mark ?? (found.direction === 'reply' ? 'local' : 'remote');
  }

  #classLeaving(packet: Packet, { entry, direction }: Found): Queue {
    if (this.#isStrange(packet.about ?? packet) || (!this.#limits.zones && entry.zone !== 0)) return 'new';
    return entry.mark ?? (direction === 'reply' ? 'remote' : 'local');
  }

  #isStrange = ({ protocol }: Packet): boolean =>
    this.#limits.fewProtocols === true && ![TCP, UDP, ICMP, ICMPV6].includes(protocol as typeof TCP);
}

/** The packet with its addresses as those on the other side of the NAT see them. */
function translated(packet: Packet, { entry, direction }: Found): Packet {
  const to = inverse(direction === 'original' ? entry.reply : entry.original);
  return packet.about ? { ...packet, destination: to.destination } : { ...packet, ...to };
}

/** A host's answer to what it does not serve. */
export const unreachable = (about: Packet): Packet | undefined =>
  about.protocol === UDP || about.protocol === ESP
    ? {
        source: about.destination,
        destination: about.source,
        protocol: about.source.includes(':') ? ICMPV6 : ICMP,
        icmp: 'error',
        about,
        pieces: 1,
      }
    : undefined;
