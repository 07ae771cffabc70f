// The list of flows: its order, its most, and what it does not take for a flow's, on flows of made-up records.

import { expect, it } from 'vitest';
import { parsePolicy, parseWhere } from '../../src/language/index.ts';
import { DEFAULT_MARK_FIELD, parseAddress, parsePrefix } from '../../src/model/index.ts';
import { FlowClassifier, type Reading, Sides } from '../../src/pipeline/index.ts';
import { FLOW_ORDERS, MOST_LISTED } from '../../src/service/flow-orders.ts';
import { listFlows } from '../../src/service/list-flows.ts';
import { record } from './flow-records.ts';

const policy = parsePolicy(
  `link wan { }
queue mine { share 50% }  queue seed { share 5% }
rule web when origin local and remote.port in 400-500 -> seed
default local -> mine  remote -> mine  new -> mine`,
  'test.gate',
).policy!;

const sides = new Sides((ifindex) => ifindex === 2);
sides.apply({ kind: 'address', address: parseAddress('203.0.113.7')!, ifindex: 2 });
sides.apply({ kind: 'route', prefix: parsePrefix('0.0.0.0/0')!, ifindex: 2 });
sides.apply({ kind: 'route', prefix: parsePrefix('192.168.1.0/24')!, ifindex: 3 });

const here = parseAddress('192.168.1.20')!;
const there = parseAddress('1.1.1.1')!;

/** So many flows, of which every other one has a beginning, and readings. */
function flowsOf(count: number) {
  const classifier = new FlowClassifier({
    policy,
    field: DEFAULT_MARK_FIELD,
    sides,
    writeMarks: (batch) => new Int32Array(batch.count),
    emit: () => {},
    listening: () => false,
  });
  const readings = new Map<number, Reading>();
  for (let i = 0; i < count; i++) {
    const [port, to] = [1 + ((i * 7919) % 60_000), 1 + ((i * 31) % 997)];
    const news = record('dumped', {
      id: i + 1,
      ...(i % 2 === 0 && { start: Date.now() - ((i * 37) % 1000) * 1000 }),
      original: { source: here, sourcePort: port, destination: there, destinationPort: to },
      reply: { source: there, sourcePort: to, destination: here, destinationPort: port },
    });
    classifier.see(news, 'look');
    const counts = { in: (i * 101) % 1009, out: 1 };
    readings.set(classifier.table.find(news), { id: i + 1, bytes: counts, packets: counts, rate: counts });
  }
  return { classifier, readings };
}

it('is cut to the first of all, whatever the order, and others have their turn meanwhile', async () => {
  const { classifier, readings } = flowsOf(6000);
  for (const order of FLOW_ORDERS) {
    const list = (limit: number) => listFlows({ order, limit }, policy, classifier.flows(), classifier, readings);
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    const all = await list(MOST_LISTED);
    expect(turned).toBe(true);
    expect(all).toMatchObject({ total: 6000, matched: 6000 });
    for (const limit of [1, 7, 300]) expect((await list(limit)).flows).toEqual(all.flows.slice(0, limit));
  }
});

it('says of which words of the condition not everything is known', async () => {
  const { classifier, readings } = flowsOf(3);
  const unknownOf = async (text: string) => {
    const where = parseWhere(text, policy).condition!;
    const query = { where, order: 'bytes', limit: 9 } as const;
    return (await listFlows(query, policy, classifier.flows(), classifier, readings)).unknown;
  };
  expect(await unknownOf('not p2p or device lan and dscp 0 and count(flows by local) > 1')).toEqual([
    ...['count', 'device', 'dscp', 'p2p'],
  ]);
  expect(await unknownOf('bytes.in > 1MB and tcp and remote.port 5 and rate > 1mbit and zone 0')).toEqual([]);
  readings.clear();
  expect(await unknownOf('bytes.in > 1MB or rate > 1mbit')).toEqual(['bytes', 'rate']);
});

it('leaves out what nobody knows: when a flow began that was there before, and what another one of its row has carried', async () => {
  const { classifier, readings } = flowsOf(2);
  const [row] = [...classifier.table.rows()];
  readings.set(row!, { ...readings.get(row!)!, id: 77 });
  const { flows } = await listFlows({ order: 'local', limit: 9 }, policy, classifier.flows(), classifier, readings);
  expect(flows).toEqual([
    expect.objectContaining({ age: expect.any(Number), bytes: undefined, rate: undefined }),
    expect.objectContaining({ bytes: { in: 101, out: 1 } }),
  ]);
  expect(flows[1]).not.toHaveProperty('age');
});
