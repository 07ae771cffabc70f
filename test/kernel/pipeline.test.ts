// The pipeline on real sockets of a namespace, under a storm that its socket cannot hold.
// Shown on the machine's own kernel (6.18).

import { EMPTY, NEVER, startWith } from 'rxjs';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { MarkWriter } from '../../src/kernel/index.ts';
import { conntrackDump, conntrackEvents } from '../../src/kernel/sources.ts';
import { Namespace } from '../../src/lab/index.ts';
import { parsePolicy } from '../../src/language/index.ts';
import { DEFAULT_MARK_FIELD, parseAddress, parsePrefix } from '../../src/model/index.ts';
import type { MonitorEvent, OverrunEvent, ResyncEvent } from '../../src/monitor/index.ts';
import { FlowClassifier, runPipeline, Sides } from '../../src/pipeline/index.ts';
import { tableOperation } from '../../src/shape/index.ts';

const policy = parsePolicy(
  'link wan { }\nqueue a { share 50% }\nqueue b { share 10% }\nrule odd when udp and remote.port in 1024-65535 -> b\ndefault local -> a remote -> a new -> a',
  'storm.gate',
).policy!;

let ns: Namespace;
beforeEach(async () => {
  ns = await Namespace.add('storm');
  // Without links: the kernel tracks, and leaves all deciding to the pipeline.
  const { command } = tableOperation(policy, []);
  await ns.feed(command.input!, ...command.argv);
  // Somewhere to send to: a tap of the kernel's own that swallows everything.
  await ns.run('ip', 'link', 'add', 'out', 'type', 'ifb');
  await ns.run('ip', 'link', 'set', 'out', 'up');
  await ns.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'out');
});
afterEach(() => ns.del());

/** Opens `count` UDP flows to as many ports of one host, as fast as it can. */
const STORM = `
const socket = require('node:dgram').createSocket('udp4');
const count = Number(process.argv[1]);
socket.bind(0, async () => {
  for (let i = 0; i < count; ) {
    for (let burst = 0; burst < 500 && i < count; burst++, i++) socket.send('x', 1024 + i, '192.0.2.9');
    await new Promise(setImmediate);
  }
  socket.close();
});`;

it('tells of an overrun, reads the table anew, and then knows every flow of the kernel, each with its mark', async () => {
  const sides = new Sides((ifindex) => ifindex === 2);
  sides.apply({ kind: 'address', address: parseAddress('192.0.2.1')!, ifindex: 2 });
  sides.apply({ kind: 'route', prefix: parsePrefix('192.0.2.0/24')!, ifindex: 2 });
  const events: MonitorEvent[] = [];
  const marks = MarkWriter.open(ns.path);
  const classifier = new FlowClassifier({
    policy,
    field: DEFAULT_MARK_FIELD,
    sides,
    writeMarks: (requests) => marks.writeBatch(requests),
    emit: (event) => events.push(event),
    listening: () => false,
  });
  const running = runPipeline({
    demand: NEVER.pipe(startWith({ groups: ['new', 'destroy'], counters: false, ticks: false, links: [] } as const)),
    events: (groups) => conntrackEvents({ netns: ns.path, groups, receiveBuffer: 4096, mostBuffer: 4096, ring: 64 }),
    read: () => EMPTY,
    dump: () => conntrackDump({ netns: ns.path }),
    classifier,
    emit: (event) => events.push(event),
  }).subscribe();
  try {
    await ns.run(process.execPath, '-e', STORM, '20000');
    await vi.waitFor(() => expect(classifier.table.size).toBe(20_000), { timeout: 20_000 });
    const overruns = events.filter((e): e is OverrunEvent => e.kind === 'overrun');
    expect(overruns.reduce((sum, e) => sum + e.count, 0)).toBeGreaterThan(0);
    expect(events.filter((e): e is ResyncEvent => e.kind === 'resync').some((e) => e.added > 0 && e.complete)).toBe(
      true,
    );

    const count = async (...args: string[]) =>
      (await ns.run('conntrack', '-L', '-p', 'udp', '-d', '192.0.2.9', ...args))
        .split('\n')
        .filter((line) => line.startsWith('udp')).length;
    const inKernel = await count();
    expect(inKernel).toBe(20_000);
    expect(await count('-m', String(2 << 24))).toBe(inKernel);
    expect(classifier.marks.failed).toBe(0);
  } finally {
    running.unsubscribe();
    marks.close();
  }
});
