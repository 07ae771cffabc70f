import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { KnownSource } from '../../src/facts/source.ts';
import { MOST_PEERS, PEER_LIFE, SwarmPort, THRESHOLDS } from '../../src/facts/swarm-port.ts';
import { MOST_PORTS, SWEEP_MS, swarmSource } from '../../src/facts/swarms.ts';
import type { AskedFlow, FactAnswer } from '../../src/pipeline/index.ts';
import { flowOf, INNOCENT, type Scene, SWARMS } from './swarm-scenes.ts';

/** A source in virtual time, with what it last said of each flow. */
class Bench {
  readonly scheduler = new VirtualTimeScheduler();
  readonly source: KnownSource = swarmSource(this.scheduler);
  readonly said = new Map<AskedFlow, NonNullable<FactAnswer['facts']['p2p']>>();
  readonly told: AskedFlow[] = [];

  constructor() {
    this.source.answers.subscribe(({ flow, facts }) => {
      this.said.set(flow, facts.p2p!);
      this.told.push(flow);
    });
  }

  passTo(time: number): void {
    this.scheduler.maxFrames = time;
    this.scheduler.flush();
    this.scheduler.frame = time;
  }

  open(origin: 'local' | 'remote', port: number, peer: string, theirs: number): AskedFlow {
    const flow = flowOf(origin, 'udp', port, peer, theirs);
    this.source.ask(flow);
    return flow;
  }

  holds = (flow: AskedFlow): boolean | undefined => this.said.get(flow)?.holds;
}

/** A swarm that is just large enough: those who call have even numbers. */
function swarm(bench: Bench, port: number, less = 0): AskedFlow[] {
  const { callers, called } = THRESHOLDS.enter;
  return [
    ...Array.from({ length: callers - less }, (_, i) => bench.open('remote', port, `198.18.0.${2 * i}`, 2000 + i)),
    ...Array.from({ length: called }, (_, i) => bench.open('local', port, `198.18.0.${2 * i + 1}`, 3000 + i)),
  ];
}

/** Plays a scene: the most that its port came to, after how many seconds it was taken for a swarm, and flows that were wrongly. */
function play({ port, flows }: Scene) {
  const bench = new Bench();
  const most = { callers: 0, called: 0, ports: 0 };
  let caught: number | undefined;
  const others = new Set<number>();
  const ends = flows.toSorted((a, b) => a.to - b.to);
  for (const { flow, from } of flows) {
    for (; ends.length > 0 && ends[0]!.to <= from; ) bench.source.end(ends.shift()!.flow);
    bench.passTo(from);
    bench.source.ask(flow);
    const { holds, evidence } = bench.said.get(flow)!;
    if (flow.local.port !== port) {
      if (holds) others.add(flow.local.port!);
      continue;
    }
    const [callers, called, ports] = evidence.map((text) => Number(/(?<!port )\b\d+(?= )/.exec(text)![0]));
    most.callers = Math.max(most.callers, callers!);
    most.called = Math.max(most.called, called!);
    most.ports = Math.max(most.ports, ports!);
    if (holds) caught ??= Math.round((from - flows[0]!.from) / 1000);
  }
  return { ...most, caught, others: [...others] };
}

describe('who is of a swarm', () => {
  const rows = [...INNOCENT, ...SWARMS].map((scene) => ({ scene, ...play(scene) }));

  it.each(rows.filter(({ scene }) => INNOCENT.includes(scene)))('no $scene.name', ({ caught, others }) => {
    expect({ caught, others }).toEqual({ caught: undefined, others: [] });
  });

  it.each(rows.filter(({ scene }) => SWARMS.includes(scene)))('a $scene.name', ({ caught }) => {
    expect(caught).toBeDefined();
  });

  it('is as docs/p2p.md has it', () => {
    const table = rows
      .map(({ scene, callers, called, ports, caught }) => {
        const verdict = caught === undefined ? 'no' : `after ${caught} s`;
        return `| ${scene.name} | ${callers} | ${called} | ${ports} | ${verdict} |\n`;
      })
      .join('');
    expect(readFileSync(new URL('../../docs/p2p.md', import.meta.url), 'utf8')).toContain(table);
  });
});

describe('a port', () => {
  it('is of a swarm from the last that it takes, and all its flows are told, earlier ones too', () => {
    const bench = new Bench();
    const flows = swarm(bench, 6000, 1);
    expect(flows.map(bench.holds)).not.toContain(true);
    const tcp = flowOf('remote', 'tcp', 6000, '198.18.9.1', 5000);
    bench.source.ask(tcp);
    expect([...flows, tcp].map(bench.holds)).not.toContain(false);
    expect(bench.said.get(tcp)!.evidence).toEqual([
      '6 peers opened flows to port 6000 first (of at least 6)',
      'it opened flows to 6 others first (of at least 6)',
      'on 6 different ports (of at least 3)',
    ]);
    expect(bench.source.counts()).toEqual({ ports: 1, swarms: 1, peers: 12 });
  });

  it('counts a peer by the first flow between the two, whoever opens further ones', () => {
    const bench = new Bench();
    for (let i = 0; i < 20; i++) {
      const peer = `198.18.0.${i}`;
      bench.open('remote', 7000, peer, 4000 + i);
      bench.open('local', 7000, peer, 4000 + i);
    }
    expect(bench.source.counts()).toMatchObject({ swarms: 0 });
  });

  it('takes with it what the same host opens to its peers from other ports, but for those of services', () => {
    const bench = new Bench();
    const early = bench.open('local', 40_001, '198.18.0.2', 9000);
    const service = bench.open('local', 40_002, '198.18.0.2', 443);
    const elsewhere = bench.open('local', 40_003, '203.0.113.1', 9000);
    swarm(bench, 6000);
    const late = bench.open('local', 40_004, '198.18.0.1', 9000);
    const other = flowOf('local', 'udp', 40_001, '198.18.0.2', 9000, '192.168.1.77');
    bench.source.ask(other);
    expect([early, late].map(bench.holds)).toEqual([true, true]);
    expect([service, elsewhere, other].map(bench.holds)).toEqual([false, false, false]);
    expect(bench.said.get(late)!.evidence[0]).toBe('this host opened it to a peer of its port 6000');
  });

  it('stays one while some of its peers stay, and is none when they have been gone for long; then its flows are told', () => {
    const bench = new Bench();
    const flows = swarm(bench, 6000);
    const kept = flows[0]!;
    for (const flow of flows.slice(1)) bench.source.end(flow);
    bench.passTo(PEER_LIFE - 1);
    expect(bench.holds(kept)).toBe(true);
    bench.told.length = 0;
    bench.passTo(PEER_LIFE + SWEEP_MS);
    expect(bench.holds(kept)).toBe(false);
    expect(bench.told).toEqual([kept]);
    bench.source.end(kept);
    expect(bench.source.counts()).toEqual({ ports: 0, swarms: 0, peers: 0 });
  });

  it('forgets the peer that came longest ago when it has too many', () => {
    const port = new SwarmPort(1);
    for (let i = 0; i < MOST_PEERS + 9; i++) port.add(`${i}`, i);
    expect([port.size, port.called, port.calledPorts, port.has('8'), port.has('9')]).toEqual([
      MOST_PEERS,
      MOST_PEERS,
      MOST_PEERS,
      false,
      true,
    ]);
  });

  it('has the numbers that counting all peers again gives, whatever comes and goes', () => {
    const step = fc.record({
      peer: fc.constantFrom(...'abcdefghijkl'),
      called: fc.option(fc.constantFrom(1, 2, 3), { nil: undefined }),
      ends: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const port = new SwarmPort(1);
        const peers = new Map<string, { called: number | undefined; flows: number }>();
        for (const { peer, called, ends } of steps) {
          const known = peers.get(peer);
          if (ends) {
            port.end(peer, 0);
            if (known) known.flows = Math.max(0, known.flows - 1);
          } else {
            port.add(peer, called);
            if (known) known.flows++;
            else peers.set(peer, { called, flows: 1 });
          }
        }
        const check = () => {
          const called = [...peers.values()].filter((one) => one.called !== undefined);
          expect([port.size, port.called, port.calledPorts]).toEqual([
            peers.size,
            called.length,
            new Set(called.map((one) => one.called)).size,
          ]);
        };
        check();
        port.sweep(PEER_LIFE);
        for (const [peer, { flows }] of peers) if (flows === 0) peers.delete(peer);
        check();
      }),
    );
  });
});

it('remembers a bounded number of ports, and nothing of flows that have ended', () => {
  const bench = new Bench();
  const flows = Array.from({ length: MOST_PORTS + 100 }, (_, i) =>
    bench.open('local', 1 + (i % 65_000), `198.18.${(i >> 8) & 255}.${i & 255}`, 443),
  );
  expect(bench.source.counts().ports).toBeLessThanOrEqual(MOST_PORTS);
  expect(bench.source.counts().ports).toBeGreaterThan(0.9 * MOST_PORTS);
  for (const flow of flows) bench.source.end(flow);
  expect(bench.source.counts()).toEqual({ ports: 0, swarms: 0, peers: 0 });
});

it('says nothing of flows without ports or a side that opened them, nor when it is closed', () => {
  const source = swarmSource(new VirtualTimeScheduler());
  const answers: FactAnswer[] = [];
  source.ask(flowOf('remote', 'udp', 1, '198.18.0.1', 2));
  const subscription = source.answers.subscribe((answer) => answers.push(answer));
  source.ask(flowOf('new', 'udp', 1, '198.18.0.1', 2));
  const { local, remote, ...rest } = flowOf('remote', 'udp', 1, '198.18.0.1', 2);
  source.ask({ ...rest, local: { address: local.address }, remote: { address: remote.address } });
  subscription.unsubscribe();
  source.ask(flowOf('remote', 'udp', 1, '198.18.0.1', 2));
  expect(answers).toEqual([]);
  expect(source.counts()).toEqual({});
});
