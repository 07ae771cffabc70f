// The box, the world and the host inside, in memory: hosts that serve and ask, around a fake kernel. What the conformance
// cases do on the real ones, they do here.

import { BOX, type BothWays, type End, INSIDE, type Stage, WORLD } from '../kernel/conformance-stage.ts';
import type { Ask } from '../kernel/host.ts';
import { FakeKernel, type Limits, type Numbers, unreachable } from './kernel.ts';
import { ICMP, ICMPV6, type Packet, readFrame, TCP, UDP } from './packet.ts';

/** Room for data in a packet of 1500 bytes, in units of eight. */
const PIECE = { v4: 1480, v6: 1448 };

const SERVED: Readonly<Record<End, Readonly<Record<number, readonly number[]>>>> = {
  world: { [TCP]: [7000], [UDP]: [7000, 5004, 7400] },
  box: { [TCP]: [7000], [UDP]: [7000, 7300] },
  inside: { [TCP]: [7100], [UDP]: [7100] },
};
const SILENT = 7900;

export class FakeStage implements Stage {
  readonly #kernel: FakeKernel;
  /** Ports that somebody asks from, and what they have heard: answers, refusals. */
  readonly #asking = new Map<string, { answers: number; refusals: number }>();
  #nextPort = 20_000;

  constructor(limits: Limits) {
    this.#kernel = new FakeKernel(limits, (packet, to) => this.#receive(packet, to));
    for (const v of ['v4', 'v6'] as const) {
      const early = { transport: 'udp', port: 7000, size: 20, times: 1, from: 6100 } as const;
      this.#exchange('box', { ...early, address: WORLD[v] });
      this.#exchange('world', { ...early, address: BOX[v] });
      this.#exchange('box', { ...early, address: WORLD[v], from: 6200 });
    }
    this.#kernel.up();
  }

  /** Does something, and says what each class has let pass meanwhile. */
  async counting(act: (stage: Stage) => Promise<unknown>): Promise<BothWays> {
    const before = structuredClone(this.#kernel.counts);
    await act(this);
    this.#kernel.settle();
    const of = (way: keyof Numbers) =>
      Object.fromEntries(
        Object.entries(this.#kernel.counts[way])
          .map(([queue, packets]) => [queue, packets - before[way][queue as keyof Numbers['in']]] as const)
          .filter(([, packets]) => packets > 0),
      );
    return { in: of('in'), out: of('out') };
  }

  async talk(end: End, { times, ...ask }: Omit<Ask, 'from' | 'transport'>): Promise<void> {
    const from = this.#nextPort++;
    for (let i = 0; i < times; i++) {
      this.#exchange(end, { ...ask, transport: 'udp', times: 1, from });
      this.#kernel.settle();
    }
  }

  async ask(end: End, ask: Ask): Promise<void> {
    this.#exchange(end, { from: this.#nextPort++, ...ask });
  }

  async tell(end: End, address: string, port: number, times: number): Promise<void> {
    const packet = this.#packet(end, UDP, address, { sourcePort: this.#nextPort++, destinationPort: port });
    for (let i = 0; i < times; i++) this.#send(packet, end);
  }

  async ping(end: End, address: string, times: number): Promise<void> {
    const id = this.#nextPort++;
    const ports = { sourcePort: id, destinationPort: id };
    const request = this.#packet(end, address.includes(':') ? ICMPV6 : ICMP, address, ports);
    const heard = this.#listen(end, id);
    for (let i = 0; i < times; i++) this.#send({ ...request, icmp: 'request' }, end);
    if (heard.answers !== times) throw new Error(`${heard.answers} of ${times} pings were answered`);
  }

  async inject(frame: Uint8Array): Promise<void> {
    this.#kernel.arrive(readFrame(frame), 'wan');
  }

  /** TCP is as many packets as there is reason for: one opens, one answers, and so on. */
  #exchange(end: End, { transport, address, port, size, times, from = 0 }: Ask): void {
    const heard = this.#listen(end, from);
    const room = PIECE[address.includes(':') ? 'v6' : 'v4'];
    const ports = { sourcePort: from, destinationPort: port };
    const packet = this.#packet(end, transport === 'tcp' ? TCP : UDP, address, ports);
    const pieces = transport === 'tcp' ? 1 : Math.ceil((size + 8) / room);
    for (let i = 0; i < (transport === 'tcp' ? 3 : times); i++) {
      const before = { ...heard };
      this.#send({ ...packet, pieces }, end);
      if (heard.refusals > before.refusals) throw new Error('ECONNREFUSED');
      if (heard.answers === before.answers) throw new Error(`no answer from ${address} ${port}`);
    }
  }

  #listen(end: End, port: number) {
    const heard = { answers: 0, refusals: 0 };
    this.#asking.set(`${end} ${port}`, heard);
    return heard;
  }

  #packet(end: End, protocol: number, destination: string, ports: Pick<Packet, 'sourcePort' | 'destinationPort'>) {
    const v = destination.includes(':') ? 'v6' : 'v4';
    const source = { box: BOX, world: WORLD, inside: INSIDE }[end][v];
    return { source, destination, protocol, ...ports, pieces: 1 };
  }

  #send(packet: Packet, from: End): void {
    if (from === 'box') this.#kernel.send(packet);
    else this.#kernel.arrive(packet, from === 'world' ? 'wan' : 'lan');
  }

  #receive(packet: Packet, at: End): void {
    const { source, destination, sourcePort, destinationPort, protocol, icmp } = packet;
    const answer = {
      ...packet,
      source: destination,
      destination: source,
      sourcePort: destinationPort,
      destinationPort: sourcePort,
    };
    const asking = this.#asking.get(`${at} ${packet.about?.sourcePort ?? destinationPort}`);
    if (icmp === 'request') this.#send({ ...answer, icmp: 'reply' }, at);
    else if (icmp === 'error' && asking) asking.refusals++;
    else if (icmp === undefined && SERVED[at][protocol]?.includes(destinationPort ?? 0)) this.#send(answer, at);
    else if (asking) asking.answers++;
    else if (icmp === undefined && destinationPort !== SILENT) {
      const error = unreachable(packet);
      if (error) this.#send(error, at);
    }
  }
}
