import type { Policy } from '../language/index.ts';
import type { Recording } from './recording.ts';
import { type Outcome, replay } from './replay.ts';

interface Sum {
  flows: number;
  bytes: number;
}

/** What would change for a recording's flows between two policies; bytes are what flows that were counted have carried while it was recorded. */
export interface Comparison {
  readonly flows: number;
  /** Times that recording began: a flow that went on from one run to the next counts in each. */
  readonly runs: number;
  /** Gaps and overruns in it: flows that nobody heard of are not there. */
  readonly losses: number;
  /** Lines that could not be read. */
  readonly torn: number;
  /** Flows of which nobody told what they carried: they count 0 bytes, and rules that look at counters do not take them. */
  readonly uncounted: number;
  /** Flows of whose beginning nobody told: their time is counted from when they were first told of. */
  readonly unbegun: number;
  /** Words of the rules that a recording does not tell. */
  readonly unknown: readonly string[];
  /** By the name of the queue that each flow was in last. */
  readonly queues: readonly { readonly queue: string; readonly before?: Sum | undefined; readonly after: Sum }[];
  /** Flows that each rule came to take. What ran tells of flows that it held last. */
  readonly rules: readonly { readonly rule: string; readonly before?: number | undefined; readonly after: number }[];
  /** Times that a flow went from one rule to another. */
  readonly changes: number;
  /** Flows that go elsewhere, from the most down; `yours` are those that this side opened. */
  readonly moves: readonly ({ readonly from: string; readonly to: string; readonly yours: number } & Sum)[];
}

/** Compares a policy with another one, or with what ran while it was recorded, where that is recorded. */
export function compare(recording: Recording, policy: Policy, against?: Policy | undefined): Comparison {
  const after = replay(recording, policy);
  const before = against ? replay(recording, against) : recording.places.length > 0 ? asRecorded(recording) : undefined;
  const moves = new Map<string, { from: string; to: string; flows: number; yours: number; bytes: number }>();
  for (let flow = 0; before && flow < recording.flows; flow++) {
    const [from, to] = [queueOf(before, flow), queueOf(after, flow)];
    if (from === to) continue;
    const key = `${from}\n${to}`;
    let move = moves.get(key);
    if (!move) {
      move = { from, to, flows: 0, yours: 0, bytes: 0 };
      moves.set(key, move);
    }
    move.flows++;
    move.bytes += recording.bytesOf(flow);
    if (recording.originOf(flow) === 'local') move.yours++;
  }
  const sums = { before: before && sumUp(recording, before), after: sumUp(recording, after) };
  const zero = { flows: 0, bytes: 0 };
  const queues = [...new Set([...after.queues, ...(before?.queues ?? [])])];
  const rules = [...new Set([...policy.rules.map(({ name }) => name), ...(before?.hits.keys() ?? [])])];
  return {
    ...{ flows: recording.flows, runs: recording.runs, losses: recording.losses, torn: recording.torn },
    ...{ uncounted: recording.uncounted, unbegun: recording.unbegun },
    unknown: [...new Set([...after.unknown, ...(before?.unknown ?? [])])].sort(),
    queues: queues.map((queue) => ({
      queue,
      ...(sums.before && { before: sums.before.get(queue) ?? zero }),
      after: sums.after.get(queue) ?? zero,
    })),
    rules: rules.map((rule) => ({
      rule,
      ...(before && { before: before.hits.get(rule) ?? 0 }),
      after: after.hits.get(rule) ?? 0,
    })),
    changes: after.changes,
    moves: [...moves.values()].sort((a, b) => b.flows - a.flows || (a.from + a.to < b.from + b.to ? -1 : 1)),
  };
}

const queueOf = ({ queues, last }: Pick<Outcome, 'queues' | 'last'>, flow: number): string => queues[last[flow]!]!;

function sumUp(recording: Recording, outcome: Pick<Outcome, 'queues' | 'last'>): Map<string, Sum> {
  const sums = new Map<string, Sum>();
  for (let flow = 0; flow < recording.flows; flow++) {
    const queue = queueOf(outcome, flow);
    const sum = sums.get(queue) ?? { flows: 0, bytes: 0 };
    sum.flows++;
    sum.bytes += recording.bytesOf(flow);
    sums.set(queue, sum);
  }
  return sums;
}

function asRecorded(recording: Recording): Outcome {
  const queues = [...new Set(recording.places.map(({ queue }) => queue))];
  const numbers = new Map(queues.map((queue, i) => [queue, i]));
  const last = new Uint16Array(recording.flows);
  const hits = new Map<string, number>();
  for (let flow = 0; flow < recording.flows; flow++) {
    const { queue, rule } = recording.places[recording.placeOf(flow)]!;
    last[flow] = numbers.get(queue)!;
    if (rule !== null) hits.set(rule, (hits.get(rule) ?? 0) + 1);
  }
  return { queues, last, hits, changes: 0, unknown: [] };
}
