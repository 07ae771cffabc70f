import type { Policy, Rule } from '../language/index.ts';
import { type Command, turned } from '../model/index.ts';
import {
  changeMembers,
  flushMembers,
  type LiveEffect,
  liveEffects,
  MAX_TUPLES,
  type Member,
  mapKeyOf,
} from '../shape/index.ts';
import type { FlowView } from './flow-view.ts';
import { TupleMap } from './tuple-map.ts';

/** Carries the effects of live rules on packets, `police` and `mirror`, into the kernel. */
export interface EffectSink {
  /** The flow that the view stands on meets the rule's effects from now on. */
  add(flow: FlowView, rule: Rule): void;
  /** And from now on no more. */
  del(flow: FlowView, rule: Rule): void;
  /** No flow meets any: this policy's rules have taken the place of others. */
  follow(policy: Policy): void;
  flush(): void;
}

/** Keeps the nft sets of flows that meet the effects of live rules (src/shape/live-effects.ts). Flows without ports are in none. */
export class LiveEffects implements EffectSink {
  readonly #run: (command: Command) => Promise<unknown>;
  readonly #failed: (error: unknown) => void;
  #effects: ReadonlyMap<Rule, LiveEffect> = new Map();
  #members: TupleMap<Member> | undefined;

  /** @param failed hears why the sets could not be written */
  constructor(run: (command: Command) => Promise<unknown>, failed: (error: unknown) => void) {
    this.#run = run;
    this.#failed = failed;
  }

  /** The policy's own sets are in the kernel, and whatever is in them an earlier run has left. */
  follow(policy: Policy): void {
    const effects = liveEffects(policy);
    const full = `a rule's set has room for ${MAX_TUPLES} flows of each family; packets of others are not policed or mirrored`;
    const commands = { full, change: changeMembers, flush: () => flushMembers(effects) };
    this.#effects = new Map(effects.map((effect) => [effect.rule, effect]));
    this.#members = effects.length > 0 ? new TupleMap(this.#run, this.#failed, commands) : undefined;
    this.refill();
  }

  /** The sets were made anew, and are empty. */
  refill(): void {
    void this.#members?.reset();
  }

  add(flow: FlowView, rule: Rule): void {
    this.#set(flow, rule, 1);
  }

  del(flow: FlowView, rule: Rule): void {
    this.#set(flow, rule, undefined);
  }

  flush(): void {
    void this.#members?.flush();
  }

  #set(flow: FlowView, rule: Rule, number: number | undefined): void {
    const effect = this.#effects.get(rule);
    if (!effect || flow.zone !== 0) return;
    const { local, remote, protocol } = flow;
    // Behind the first NAT hook what arrives has its true destination; behind the last, what leaves has its public source.
    const arriving = {
      source: remote.address,
      sourcePort: remote.port,
      destination: local.address,
      destinationPort: local.port,
    };
    const leaving = turned(flow.tuple(flow.origin === 'local' ? 'reply' : 'original'));
    for (const [way, tuple] of [
      ['in', arriving],
      ['out', leaving],
    ] as const) {
      const key = mapKeyOf(protocol, tuple);
      if (key) this.#members?.set({ ...key, place: `${way} ${effect.number} `, effect, way }, number);
    }
  }
}
