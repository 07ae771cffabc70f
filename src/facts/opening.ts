import { asyncScheduler, type Observable, type SchedulerLike, type Subscriber } from 'rxjs';
import type { LinkItem, PacketItem, PacketSample } from '../kernel/index.ts';
import { keyOfAddress, type Tuple, turned } from '../model/index.ts';
import { type AskedFlow, clockOf, type FactAnswer, oldestOf, type SuppliedFacts } from '../pipeline/index.ts';
import { type KnownSource, whileOpen } from './source.ts';

/** First packets kept whose flows nobody has asked about yet; beyond it the oldest go. */
export const MOST_KEPT = 20_000;
/** How long one is kept, ms: the flow's event may come by its own socket later, but not that much. */
export const LIFE = 10_000;
/** NF_INET_FORWARD. */
const FORWARD = 2;

/** Where the first packets of flows, and the names of devices, are heard of. */
export interface OpeningOptions {
  readonly samples: Observable<readonly PacketItem[]>;
  readonly links: Observable<readonly LinkItem[]>;
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Finds out what the packet that opened a flow shows: its code point, and, of a flow that this side opened, the inside device
 * and host that it came from; of another, the inside device that it goes to (`openingChains` of src/shape has them sent up). Of flows that were
 * there before nothing is known.
 */
export function openingSource({ samples, links, scheduler = asyncScheduler }: OpeningOptions): KnownSource {
  return whileOpen(
    {
      word: 'dscp, mac, device',
      supplies: ['dscp', 'mac', 'device'],
      blind: 'of flows from before nothing is known',
    },
    (subscriber) => {
      const openings = new Openings(subscriber, clockOf(scheduler));
      const error = (problem: unknown) => subscriber.error(problem);
      subscriber.add(links.subscribe({ next: (batch) => openings.name(batch), error }));
      subscriber.add(samples.subscribe({ next: (batch) => openings.take(batch), error }));
      return openings;
    },
  );
}

interface Kept {
  readonly sample: PacketSample;
  readonly until: number;
}

class Openings {
  readonly #subscriber: Subscriber<FactAnswer>;
  readonly #now: () => number;
  readonly #names = new Map<number, string>();
  readonly #kept = new Map<string, Kept>();
  /** Of packets that leave by a device without hardware addresses: as they were forwarded, before those in {@link #kept}. */
  readonly #forwarded = new Map<string, Kept>();
  /** Flows whose first packet has not been heard of. */
  readonly #waiting = new Map<string, AskedFlow>();
  #packets = 0;
  #overruns = 0;

  constructor(subscriber: Subscriber<FactAnswer>, now: () => number) {
    this.#subscriber = subscriber;
    this.#now = now;
  }

  get counts() {
    return { packets: this.#packets, overruns: this.#overruns };
  }

  name(batch: readonly LinkItem[]): void {
    for (const item of batch) if (item.kind === 'link') this.#names.set(item.ifindex, item.name);
  }

  take(batch: readonly PacketItem[]): void {
    for (const item of batch)
      if (item.kind === 'overrun') this.#overruns += item.count;
      else if (item.tuple && item.protocol !== undefined) {
        const key = keyOf(item.protocol, item.tuple);
        if (item.hook === FORWARD) this.#keep(this.#forwarded, key, item);
        else this.#learn(key, item);
      }
  }

  #learn(key: string, sample: PacketSample): void {
    this.#packets++;
    const flow = this.#waiting.get(key);
    if (flow) this.#tell(key, flow, sample);
    else this.#keep(this.#kept, key, sample);
  }

  #keep(kept: Map<string, Kept>, key: string, sample: PacketSample): void {
    // The last is the youngest.
    kept.delete(key);
    kept.set(key, { sample, until: this.#now() + LIFE });
    for (const oldest of oldestOf(kept, MOST_KEPT)) kept.delete(oldest);
  }

  #claim(kept: Map<string, Kept>, key: string): PacketSample | undefined {
    const found = kept.get(key);
    kept.delete(key);
    return found && found.until > this.#now() ? found.sample : undefined;
  }

  ask(flow: AskedFlow): void {
    const key = openingOf(flow);
    this.#waiting.set(key, flow);
    const sample = this.#claim(this.#kept, key);
    if (sample) this.#tell(key, flow, sample);
  }

  end(flow: AskedFlow): void {
    const key = openingOf(flow);
    if (this.#waiting.get(key) === flow) this.#waiting.delete(key);
  }

  #tell(key: string, flow: AskedFlow, sample: PacketSample): void {
    this.#waiting.delete(key);
    this.#subscriber.next({ flow, facts: this.#factsOf(flow, sample) });
  }

  #factsOf(flow: AskedFlow, { dscp, mac, inIfindex, outIfindex }: PacketSample): SuppliedFacts {
    const { origin } = flow;
    const inside = { local: inIfindex, remote: outIfindex, new: undefined }[origin];
    return {
      dscp,
      mac: origin === 'local' ? (mac ?? this.#claim(this.#forwarded, forwardingOf(flow))?.mac) : undefined,
      device: inside === undefined ? undefined : this.#names.get(inside),
    };
  }
}

/** The first packet of a flow, as it stands behind every translation. */
const openingOf = ({ protocol, reply }: AskedFlow): string => keyOf(protocol, turned(reply));

/** The same as it is forwarded, before SNAT. */
const forwardingOf = ({ protocol, original, reply }: AskedFlow): string =>
  keyOf(protocol, { ...turned(reply), source: original.source, sourcePort: original.sourcePort });

const keyOf = (protocol: number, { source, sourcePort, destination, destinationPort }: Tuple): string =>
  `${protocol} ${sourcePort} ${destinationPort} ${keyOfAddress(source)}${keyOfAddress(destination)}`;
