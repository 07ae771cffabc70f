import { Subject, VirtualTimeScheduler } from 'rxjs';
import { expect, it } from 'vitest';
import { LIFE, MOST_KEPT, openingSource } from '../../src/facts/opening.ts';
import type { LinkItem, PacketItem } from '../../src/kernel/index.ts';
import { type Origin, PROTOCOLS, parseAddress, turned } from '../../src/model/index.ts';
import type { AskedFlow, FactAnswer } from '../../src/pipeline/index.ts';
import { flowOf } from './swarm-scenes.ts';

const NAT = parseAddress('203.0.113.1')!;

function bench() {
  const [samples, links] = [new Subject<readonly PacketItem[]>(), new Subject<readonly LinkItem[]>()];
  const scheduler = new VirtualTimeScheduler();
  const source = openingSource({ samples, links, scheduler });
  const answers: FactAnswer[] = [];
  const running = source.answers.subscribe((answer) => answers.push(answer));
  const link = { kind: 'link', flags: 1, mtu: 1500, type: 1 } as const;
  links.next([
    { ...link, ifindex: 2, name: 'wan' },
    { ...link, ifindex: 3, name: 'lan' },
  ]);
  /** The packet that opens a flow, where the box has seen it last. */
  const open = ({ protocol, reply }: AskedFlow, dscp: number, inIfindex = 3, outIfindex = 2) =>
    samples.next([
      {
        ...({ kind: 'packet', time: 0, group: 1, prefix: '', hook: 4, ethertype: 0x800, mark: 0, length: 60 } as const),
        ...{ protocol, dscp, inIfindex, outIfindex, mac: '02:00:00:00:00:01' },
        tuple: {
          ...{ source: reply.destination, sourcePort: reply.destinationPort },
          ...{ destination: reply.source, destinationPort: reply.sourcePort },
        },
      },
    ]);
  /** The same on its way to a device without hardware addresses, before SNAT, and behind it. */
  const openByTunnel = (flow: AskedFlow) => {
    const packet = {
      ...({ kind: 'packet', time: 0, group: 1, prefix: '', ethertype: 0x800, mark: 0, length: 60 } as const),
      ...{ protocol: flow.protocol, dscp: 0, inIfindex: 3, outIfindex: 2 },
    };
    const { source, sourcePort, destination, destinationPort } = turned(flow.reply);
    const end = { destination, destinationPort };
    const { original } = flow;
    samples.next([
      {
        ...{ ...packet, hook: 2, mac: '02:00:00:00:00:01' },
        tuple: { ...end, source: original.source, sourcePort: original.sourcePort },
      },
      { ...packet, hook: 4, tuple: { ...end, source, sourcePort } },
    ]);
  };
  return { source, samples, links, open, openByTunnel, answers, running, scheduler };
}

const flow = (port: number, origin: Origin = 'local') => flowOf(origin, 'tcp', port, '198.51.100.1', 443);

it('answers whichever comes first, the question or the packet, which is known by its translated ends', () => {
  const { source, open, answers } = bench();
  const plain = flow(1);
  const translated = { ...flow(2), reply: { ...flow(2).reply, destination: NAT, destinationPort: 1024 } };
  source.ask(plain);
  for (const one of [plain, translated]) open(one, 46);
  source.ask(translated);
  const facts = { dscp: 46, mac: '02:00:00:00:00:01', device: 'lan' };
  expect(answers).toEqual([
    { flow: plain, facts },
    { flow: translated, facts },
  ]);
  expect(source.counts()).toEqual({ packets: 2, overruns: 0 });
});

it('knows who opened a flow that leaves by a device without hardware addresses, and counts its packet once', () => {
  const { source, openByTunnel, answers } = bench();
  const plain = flow(1);
  const translated = { ...flow(2), reply: { ...flow(2).reply, destination: NAT, destinationPort: 1024 } };
  source.ask(plain);
  for (const one of [plain, translated]) openByTunnel(one);
  source.ask(translated);
  const facts = { dscp: 0, mac: '02:00:00:00:00:01', device: 'lan' };
  expect(answers).toEqual([
    { flow: plain, facts },
    { flow: translated, facts },
  ]);
  expect(source.counts()).toEqual({ packets: 2, overruns: 0 });
});

it('of a flow that the other side opened it knows the device that it goes to, not the host; of the box no device', () => {
  const { source, open, answers } = bench();
  const [forwarded, own] = [flow(1, 'remote'), flow(2, 'remote')];
  for (const one of [forwarded, own]) source.ask(one);
  open(forwarded, 0, 2, 3);
  open(own, 0, 2, 0);
  expect(answers.map(({ facts }) => facts)).toEqual([
    { dscp: 0, mac: undefined, device: 'lan' },
    { dscp: 0, mac: undefined, device: undefined },
  ]);
});

it('says nothing of a flow that has ended, nor by a packet that is too old, and keeps so many', () => {
  const { source, open, answers, scheduler } = bench();
  source.ask(flow(1));
  source.end(flow(1));
  const ended = flow(2);
  source.ask(ended);
  source.end(ended);
  open(ended, 1);
  open(flow(3), 3);
  scheduler.frame = LIFE;
  source.ask(flow(3));
  const before = answers.length;
  for (let port = 0; port <= MOST_KEPT; port++) open(flow(10_000 + port), 4);
  source.ask(flow(10_000));
  source.ask(flow(10_000 + MOST_KEPT));
  expect(before).toBe(0);
  expect(answers).toHaveLength(1);
});

it('is closed with whoever listens, and ends with what it hears of', () => {
  const { source, samples, links, running } = bench();
  running.unsubscribe();
  expect([samples.observed, links.observed]).toEqual([false, false]);
  source.ask(flow(1));
  expect(source.counts()).toEqual({});
  let problem: unknown;
  source.answers.subscribe({ error: (error) => (problem = error) });
  samples.error('deaf');
  expect([problem, links.observed, PROTOCOLS.tcp]).toEqual(['deaf', false, 6]);
});
