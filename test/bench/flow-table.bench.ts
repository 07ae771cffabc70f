// Memory and time of the flow table with a million flows: records as the shim packs them, without a kernel. Best of
// several rounds, since shared machines only ever make it slower.

import { expect, test } from 'vitest';
import { FlowRecord } from '../../src/kernel/index.ts';
import { FLAG, FLOW, KIND } from '../../src/kernel/shim/layout.ts';
import { Records } from '../../src/kernel/shim/records.ts';
import { parsePolicy } from '../../src/language/index.ts';
import { DEFAULT_MARK_FIELD, parsePrefix } from '../../src/model/index.ts';
import { FlowClassifier, FlowTable, Sides } from '../../src/pipeline/index.ts';
import { note } from './report.ts';

const FLOWS = 1_000_000;
/** A table of so many is near the processor: what it costs more, a million costs by waiting for memory. */
const FEW = 10_000;
const BATCH = 1024;
const policy = parsePolicy(
  `link wan { }
queue a { share 50% }
queue b { share 10% }
rule web when tcp and origin local and remote.port in { 80, 443 } -> a
rule seeders when origin remote and local.port 51413 -> b
rule odd when tcp.state close -> b
default local -> a  remote -> b  new -> b`,
  'bench.gate',
).policy!;
const other = parsePolicy(
  `link wan { }
queue b { share 10% }
queue a { share 50% }
rule late when udp and remote.port in { 53, 443 } and age > 1h -> a
default local -> b  remote -> a  new -> a`,
  'bench.gate',
).policy!;
const sides = new Sides((ifindex) => ifindex === 2);
sides.apply({ kind: 'route', prefix: parsePrefix('0.0.0.0/0')!, ifindex: 2 });
sides.apply({ kind: 'route', prefix: parsePrefix('10.0.0.0/8')!, ifindex: 3 });

/** A batch of records, one for each of the flows from `first` on: UDP, a host inside to one outside. */
const records = new Records(FLOW.size, BATCH);
const reader = new FlowRecord(records);
const { words, bytes } = records;
const halves = new Uint16Array(bytes.buffer, bytes.byteOffset);
function fill(first: number): void {
  for (let i = 0; i < BATCH; i++) {
    const at = i * FLOW.size;
    const n = first + i;
    halves[at >> 1] = KIND.new;
    halves[(at + 2) >> 1] = FLAG.ports;
    words[(at + FLOW.fields.id.offset) >> 2] = n;
    bytes[at + FLOW.fields.family.offset] = 2;
    bytes[at + FLOW.fields.protocol.offset] = 17;
    const inside = Buffer.from([10, n >> 24, n >> 16, n >> 8]);
    const outside = Buffer.from([198, 51, 100, n]);
    for (const [tuple, source, destination] of [
      [FLOW.fields.original, inside, outside],
      [FLOW.fields.reply, outside, inside],
    ] as const) {
      bytes.set(source, at + tuple.src.offset);
      bytes.set(destination, at + tuple.dst.offset);
      halves[(at + tuple.src_port.offset) >> 1] = source === inside ? 40_000 : 53;
      halves[(at + tuple.dst_port.offset) >> 1] = source === inside ? 53 : 40_000;
    }
  }
}

/** Ns of processor time for each flow, of what is done with every one; filling the records does not count. */
function timeAll(act: (record: FlowRecord) => void, flows = FLOWS): number {
  let spent = 0;
  for (let first = 0; first < flows; first += BATCH) {
    fill(first);
    const began = process.cpuUsage();
    for (let i = 0; i < BATCH && first + i < flows; i++) act(reader.moveTo(i));
    const { user, system } = process.cpuUsage(began);
    spent += user + system;
  }
  return (spent * 1e3) / flows;
}

const best = (rounds: number, act: () => number): number => Math.min(...Array.from({ length: rounds }, act));

test('a million flows: bytes of each, and the time of an operation', () => {
  const collect = globalThis.gc!;
  const make = () =>
    new FlowClassifier({
      policy,
      field: DEFAULT_MARK_FIELD,
      sides,
      writeMarks: ({ count }) => new Int32Array(count),
      emit: () => {},
      listening: () => false,
    });
  fill(0);
  collect();
  const before = process.memoryUsage.rss();
  const classifier = make();
  const see = () => timeAll((record) => classifier.see(record, 'event'));
  see();
  collect();
  const bytesEach = (process.memoryUsage.rss() - before) / FLOWS;
  expect(classifier.table.size).toBe(FLOWS);
  const seeing = best(3, () => {
    timeAll((record) => classifier.end(record));
    return see();
  });

  let turned = 0;
  const longestTurn = best(3, () => {
    const turn = classifier.replacing(turned++ % 2 === 0 ? other : policy);
    const turns: number[] = [];
    for (let [began, more] = [performance.now(), true]; more; began = performance.now()) {
      more = turn();
      turns.push(performance.now() - began);
    }
    return Math.max(...turns);
  });

  const { table } = classifier;
  let found = 0;
  const finding = best(3, () => timeAll((record) => (found += Number(table.find(record) >= 0))));
  expect(found).toBe(3 * FLOWS);
  const own = new FlowTable();
  const start = { origin: 'local', ports: true, silent: false, class: 0, nat: 0, began: 0, now: 0 } as const;
  const adding: number[] = [];
  const deleting: number[] = [];
  for (let round = 0; round < 3; round++) {
    adding.push(timeAll((record) => own.add(record, start)));
    expect(own.size).toBe(FLOWS);
    deleting.push(timeAll((record) => own.del(own.findEnding(record))));
    expect(own.size).toBe(0);
  }
  const small = new FlowTable();
  timeAll((record) => small.add(record, start), FEW);
  const began = performance.now();
  classifier.clear();
  const forgetting = performance.now() - began;
  const nearby = best(20, () => timeAll((record) => (found += Number(small.find(record) >= 0)), FEW));
  note('flow table, 1,000,000 flows', [
    { what: 'memory a flow (RSS)', value: bytesEach, unit: 'B', goal: { most: 200 } },
    { what: 'find', value: finding, unit: 'ns', goal: { most: 300 } },
    { what: `find among ${FEW.toLocaleString('en')} flows, which the caches hold`, value: nearby, unit: 'ns' },
    { what: 'add', value: Math.min(...adding), unit: 'ns', goal: { most: 300 } },
    { what: 'find and remove', value: Math.min(...deleting), unit: 'ns', goal: { most: 300 } },
    { what: 'a new flow: origin, decision, table', value: seeing, unit: 'ns' },
    { what: 'another policy takes its place: the longest turn', value: longestTurn, unit: 'ms', goal: { most: 100 } },
    { what: 'all are forgotten', value: forgetting, unit: 'ms', goal: { most: 100 } },
  ]);
});
