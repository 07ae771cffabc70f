import { type Condition, compare, type Watch } from '../language/index.ts';
import { type Address, type CountKey, type FlowFacts, keyOfAddress } from '../model/index.ts';

type CountCondition = Extract<Condition, { kind: 'count' }>;
/** What company is counted by. */
type Ends = Pick<FlowFacts, 'local' | 'remote' | 'unit'>;
type Value = string | number;

/** The flows that have one value of a key. */
interface Group {
  flows: number;
  /** Of each remote address, the flows that it has here; where the policy asks. */
  readonly peers: Map<string, number> | undefined;
  /** Rows of flows that a rule may take by how many these are. */
  readonly watching: Set<number>;
}

/**
 * How many flows, and different remote addresses, there are by each key that the policy counts by. A flow that a rule may
 * take by such a number is told when it comes to be above or below what the rule compares with, and not before.
 */
export class Company {
  readonly #changed: (row: number) => void;
  readonly #keys = new Map<CountKey, { readonly groups: Map<Value, Group>; readonly peers: boolean }>();
  readonly #conditions: readonly CountCondition[];

  /**
   * @param conditions all of the policy
   * @param changed is told the row of a flow that a comparison may come out otherwise for
   */
  constructor(conditions: readonly CountCondition[], changed: (row: number) => void) {
    this.#changed = changed;
    this.#conditions = conditions;
    for (const { by } of this.#conditions) {
      const peers = this.#conditions.some((one) => one.by === by && one.of === 'peers');
      this.#keys.set(by, { groups: new Map(), peers });
    }
  }

  /** A flow has come, or one of its keys has become known: `only`. */
  add(row: number, facts: Ends, watch: Watch | undefined, only?: CountKey): void {
    for (const [by, { groups, peers }] of this.#keys) {
      const value = only === undefined || only === by ? keyOf(facts, by) : undefined;
      if (value === undefined) continue;
      let group = groups.get(value);
      if (!group) {
        group = { flows: 0, peers: peers ? new Map() : undefined, watching: new Set() };
        groups.set(value, group);
      }
      this.#change(by, group, facts.remote.address, 1);
      if (watch?.counts.some((one) => one.by === by)) group.watching.add(row);
    }
  }

  /** The same the other way. */
  del(row: number, facts: Ends, only?: CountKey): void {
    for (const [by, { groups }] of this.#keys) {
      const value = only === undefined || only === by ? keyOf(facts, by) : undefined;
      const group = value === undefined ? undefined : groups.get(value);
      if (!group) continue;
      group.watching.delete(row);
      this.#change(by, group, facts.remote.address, -1);
      if (group.flows === 0) groups.delete(value!);
    }
  }

  /** Undefined where the flow has no such key. */
  count(facts: Ends, of: 'flows' | 'peers', by: CountKey): number | undefined {
    const value = keyOf(facts, by);
    const group = value === undefined ? undefined : this.#keys.get(by)?.groups.get(value);
    return of === 'flows' ? group?.flows : group?.peers?.size;
  }

  #change(by: CountKey, group: Group, remote: Address, step: 1 | -1): void {
    const before = { flows: group.flows, peers: group.peers?.size ?? 0 };
    group.flows += step;
    if (group.peers) {
      const peer = keyOfAddress(remote);
      const flows = (group.peers.get(peer) ?? 0) + step;
      if (flows === 0) group.peers.delete(peer);
      else group.peers.set(peer, flows);
    }
    const after = { flows: group.flows, peers: group.peers?.size ?? 0 };
    const turned = this.#conditions.some(
      ({ of, operator, value, ...one }) =>
        one.by === by && compare(before[of], operator, value) !== compare(after[of], operator, value),
    );
    if (turned) for (const row of group.watching) this.#changed(row);
  }
}

function keyOf({ local, remote, unit }: Ends, by: CountKey): Value | undefined {
  switch (by) {
    case 'local':
      return keyOfAddress(local.address);
    case 'remote':
      return keyOfAddress(remote.address);
    case 'local.port':
      return local.port;
    case 'remote.port':
      return remote.port;
    case 'unit':
      return unit;
  }
}
