// A box with a link to the world, the pipeline in this process on its conntrack, and real flows between them:
//   box  wan 192.0.2.1, 2001:db8::1 ── up0 192.0.2.2, 2001:db8::2  world
// Time is the test's: `pass` has the pipeline believe that it went by.

import { BehaviorSubject, type Subscription } from 'rxjs';
import { MarkWriter } from '../../src/kernel/index.ts';
import { conntrackDump, conntrackEvents } from '../../src/kernel/sources.ts';
import { Namespace } from '../../src/lab/index.ts';
import { type Policy, parsePolicy } from '../../src/language/index.ts';
import { classOfMark, DEFAULT_MARK_FIELD, type MarkField, parseAddress, parsePrefix } from '../../src/model/index.ts';
import type { MonitorEvent } from '../../src/monitor/index.ts';
import { type Demand, type FactSource, FlowClassifier, runPipeline, Sides } from '../../src/pipeline/index.ts';
import { fieldOf, numberedQueues, tableOperation } from '../../src/shape/index.ts';
import { Host } from './host.ts';
import { soon } from './soon.ts';

export const BOX = '192.0.2.1';
export const WORLD = '192.0.2.2';
export const BOX6 = '2001:db8::1';
export const WORLD6 = '2001:db8::2';

/** A policy of these rules with the queues `fast`, where all goes that no rule takes, and `slow`. */
export function policyOf(rules: string): Policy {
  const text = `link wan { }
queue fast { share 50% }
queue slow { share 10% }
default local -> fast  remote -> fast  new -> fast
${rules}`;
  const { policy, diagnostics } = parsePolicy(text, 'live.gate');
  if (!policy) throw new Error(diagnostics.map(({ message }) => message).join('; '));
  return policy;
}

/** A flow's mark has come to say another queue, or the flow has ended: '' then. */
export interface Turn {
  /** Source port of who opened the flow. */
  readonly from: number;
  readonly queue: string;
  /** When the kernel told of it, ms since 1970. */
  readonly at: number;
}

export class LiveLab {
  readonly box: Namespace;
  readonly world: Namespace;
  readonly boxHost: Host;
  readonly worldHost: Host;
  readonly events: MonitorEvent[] = [];
  classifier!: FlowClassifier;
  #running: Subscription | undefined;
  #marks: MarkWriter | undefined;
  #ahead = 0;
  #field: MarkField = DEFAULT_MARK_FIELD;
  #policy!: Policy;

  private constructor(box: Namespace, world: Namespace, boxHost: Host, worldHost: Host) {
    this.box = box;
    this.world = world;
    this.boxHost = boxHost;
    this.worldHost = worldHost;
  }

  static async build(): Promise<LiveLab> {
    const made: Namespace[] = [];
    try {
      for (const name of ['live', 'world']) made.push(await Namespace.add(name));
      const [box, world] = made as [Namespace, Namespace];
      await box.batch(
        `link add wan type veth peer name up0 netns ${world.name}`,
        'link set wan up',
        `address add ${BOX}/24 dev wan`,
        `address add ${BOX6}/64 dev wan nodad`,
      );
      await world.batch('link set up0 up', `address add ${WORLD}/24 dev up0`, `address add ${WORLD6}/64 dev up0 nodad`);
      await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1', 'net.netfilter.nf_conntrack_timestamp=1');
      const { command } = tableOperation(policyOf(''), []);
      await box.feed(command.input!, ...command.argv);
      return new LiveLab(box, world, await Host.start(box), await Host.start(world));
    } catch (error) {
      await Promise.all(made.map((ns) => ns.del()));
      throw error;
    }
  }

  /** Runs the pipeline with another policy, from the start. */
  async run(policy: Policy, sources: readonly FactSource[] = []): Promise<void> {
    this.stop();
    await this.box.run('conntrack', '-F').catch(() => '');
    this.#policy = policy;
    this.#field = fieldOf(policy, DEFAULT_MARK_FIELD);
    const sides = new Sides((ifindex) => ifindex === 2);
    for (const address of [BOX, BOX6]) sides.apply({ kind: 'address', address: parseAddress(address)!, ifindex: 2 });
    for (const prefix of ['192.0.2.0/24', '2001:db8::/64'])
      sides.apply({ kind: 'route', prefix: parsePrefix(prefix)!, ifindex: 2 });
    const marks = MarkWriter.open(this.box.path);
    this.#marks = marks;
    this.classifier = new FlowClassifier({
      policy,
      field: this.#field,
      sides,
      sources,
      now: () => Date.now() + this.#ahead,
      writeMarks: (batch) => marks.writeBatch(batch),
      emit: (event) => this.events.push(event),
      listening: () => true,
    });
    const { events, counters } = policy.needs;
    const demand: Demand = { groups: events, counters, ticks: true, links: [] };
    const { watch } = this.#field;
    const netns = this.box.path;
    this.#running = runPipeline({
      demand: new BehaviorSubject(demand),
      events: (groups) => conntrackEvents({ netns, groups }),
      dump: () => conntrackDump({ netns }),
      read: () => conntrackDump({ netns, ...(watch !== undefined && { mark: { value: watch, mask: watch } }) }),
      classifier: this.classifier,
      emit: (event) => this.events.push(event),
    }).subscribe();
    await soon(() => {
      if (!this.events.some(({ kind }) => kind === 'resync')) throw new Error('not read yet');
    });
  }

  /** So much time goes by, ms: for the pipeline alone. */
  pass(ms: number): void {
    this.#ahead += ms;
    // Its timers do not know: what is due by now waits to be decided, and that it is told.
    this.classifier.live.setTime();
    this.classifier.live.stirred.next();
  }

  /** Resolves when the pipeline knows the flows with these ports, and has read the counters of those that it watches. */
  async known(...ports: readonly number[]): Promise<void> {
    await soon(() => {
      const flows = Array.from(this.classifier.flows(), ({ row, local, remote, packets }) => {
        const counted = this.classifier.live.memoryOf(row)?.watch.counters !== true || packets !== undefined;
        return { ports: [local.port, remote.port], counted };
      });
      for (const port of ports)
        if (!flows.some((flow) => flow.counted && flow.ports.includes(port))) throw new Error(`${port} is not known`);
    });
  }

  /** Resolves when a reading has shown that the flow with this port carries nothing. */
  async idle(port: number): Promise<void> {
    await soon(() => {
      const rates = Array.from(this.classifier.flows(), (flow) =>
        flow.remote.port === port || flow.local.port === port ? flow.rate('in', 1000) : 0,
      );
      if (rates.some((rate) => rate !== 0)) throw new Error(`port ${port} still carries something`);
    });
  }

  /** The queue that the mark of the flow with this port, on either side, says in the kernel. */
  async queueOf(port: number): Promise<string> {
    const list = await this.box.run('conntrack', '-L', '-o', 'extended');
    const lines = list.split('\n').filter((line) => new RegExp(`[sd]port=${port} `).test(line));
    if (lines.length !== 1) throw new Error(`${lines.length} flows with port ${port}`);
    const number = classOfMark(this.#field, Number(/ mark=(\d+)/.exec(lines[0]!)?.[1] ?? 0));
    return numberedQueues(this.#policy).find((queue) => queue.number === number)?.queue.name ?? 'fast';
  }

  /** Resolves when that flow's mark says so, and how long that took, ms. */
  async until(port: number, queue: string): Promise<number> {
    const began = performance.now();
    await soon(async () => {
      const now = await this.queueOf(port);
      if (now !== queue) throw new Error(`port ${port} is in ${now}`);
    });
    return performance.now() - began;
  }

  /** Fills a list with every mark that turns in the kernel from now on, and every end, until the next {@link stop}. */
  turns(): readonly Turn[] {
    const turns: Turn[] = [];
    const names = new Map(numberedQueues(this.#policy).map(({ number, queue }) => [number, queue.name]));
    const last = new Map<number, string>();
    const turning = conntrackEvents({ netns: this.box.path, groups: ['update', 'destroy'] }).subscribe((batch) => {
      for (const record of batch) {
        if (record.kind !== 'update' && record.kind !== 'destroy') continue;
        const from = record.original().sourcePort!;
        const queue = record.kind === 'destroy' ? '' : (names.get(classOfMark(this.#field, record.mark)) ?? 'fast');
        if (queue !== (last.get(from) ?? 'fast')) turns.push({ from, queue, at: record.time });
        last.set(from, queue);
      }
    });
    this.#running!.add(turning);
    return turns;
  }

  stop(): void {
    this.#running?.unsubscribe();
    this.#marks?.close();
    this.#running = undefined;
    this.#marks = undefined;
    this.events.length = 0;
  }

  async close(): Promise<void> {
    this.stop();
    await Promise.all([this.box, this.world].map((ns) => ns.del()));
  }
}
