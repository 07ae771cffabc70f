import { type Condition, compare, type Watch } from '../language/index.ts';
import { type Address, type CountKey, type FlowFacts, keyOfAddress } from '../model/index.ts';
import { NO_ROW, RowLists } from './row-lists.ts';

type CountCondition = Extract<Condition, { kind: 'count' }>;
/** What company is counted by. */
type Ends = Pick<FlowFacts, 'local' | 'remote' | 'unit'>;
type Value = string | number;

/** The flows that have one value of a key. */
interface Group {
  flows: number;
  /** Of each remote address, the flows that it has here; where the policy asks. */
  readonly peers: Map<Value, number> | undefined;
  /** The first of the flows that a rule may take by how many these are: {@link Key.watching}. */
  watched: number;
}

/** A key that the policy counts by. */
interface Key {
  readonly by: CountKey;
  readonly groups: Map<Value, Group>;
  readonly ofFlows: readonly CountCondition[];
  readonly ofPeers: readonly CountCondition[];
  /** Lists of rows, one for each group. */
  watching: RowLists;
}

/**
 * How many flows, and different remote addresses, there are by each key that the policy counts by. A flow that a rule may
 * take by such a number is told when it comes to be above or below what the rule compares with, and not before.
 */
export class Company {
  readonly #changed: (row: number) => void;
  readonly #keys: readonly Key[];

  /**
   * @param conditions all of the policy
   * @param changed is told the row of a flow that a comparison may come out otherwise for
   */
  constructor(conditions: readonly CountCondition[], changed: (row: number) => void) {
    this.#changed = changed;
    this.#keys = [...new Set(conditions.map(({ by }) => by))].map((by) => ({
      by,
      groups: new Map(),
      ofFlows: conditions.filter((one) => one.by === by && one.of === 'flows'),
      ofPeers: conditions.filter((one) => one.by === by && one.of === 'peers'),
      watching: new RowLists(),
    }));
  }

  /** A flow has come, or one of its keys has become known: `only`. */
  add(row: number, facts: Ends, watch: Watch | undefined, only?: CountKey): void {
    for (const key of this.#keys) {
      const value = only === undefined || only === key.by ? keyOf(facts, key.by) : undefined;
      if (value === undefined) continue;
      let group = key.groups.get(value);
      if (!group) {
        group = { flows: 0, peers: key.ofPeers.length > 0 ? new Map() : undefined, watched: NO_ROW };
        key.groups.set(value, group);
      }
      this.#change(key, group, facts.remote.address, 1);
      if (asks(watch, key)) addWatching(key, group, row);
    }
  }

  /** A flow that is counted already, which a rule may take by such a number. */
  watch(row: number, facts: Ends, watch: Watch | undefined): void {
    for (const key of this.#keys) {
      const value = asks(watch, key) ? keyOf(facts, key.by) : undefined;
      const group = value === undefined ? undefined : key.groups.get(value);
      if (group) addWatching(key, group, row);
    }
  }

  /** The same the other way. */
  del(row: number, facts: Ends, only?: CountKey): void {
    for (const key of this.#keys) {
      const value = only === undefined || only === key.by ? keyOf(facts, key.by) : undefined;
      const group = value === undefined ? undefined : key.groups.get(value);
      if (!group) continue;
      if (key.watching.has(row)) group.watched = key.watching.del(group.watched, row);
      this.#change(key, group, facts.remote.address, -1);
      if (group.flows === 0) key.groups.delete(value!);
    }
  }

  /** All flows have gone. */
  clear(): void {
    for (const key of this.#keys) {
      key.groups.clear();
      key.watching = new RowLists();
    }
  }

  /** Undefined where the flow has no such key. */
  count(facts: Ends, of: 'flows' | 'peers', by: CountKey): number | undefined {
    const value = keyOf(facts, by);
    const group = value === undefined ? undefined : this.#keys.find((key) => key.by === by)?.groups.get(value);
    return of === 'flows' ? group?.flows : group?.peers?.size;
  }

  #change(key: Key, group: Group, remote: Address, step: 1 | -1): void {
    group.flows += step;
    let turned = hasTurned(key.ofFlows, group.flows - step, group.flows);
    if (group.peers) {
      const peer = addressKey(remote);
      const peers = group.peers.size;
      const flows = (group.peers.get(peer) ?? 0) + step;
      if (flows === 0) group.peers.delete(peer);
      else group.peers.set(peer, flows);
      turned ||= hasTurned(key.ofPeers, peers, group.peers.size);
    }
    if (!turned) return;
    for (let row = group.watched; row !== NO_ROW; row = key.watching.next(row)) this.#changed(row);
  }
}

/** A rule that may come to take the flow counts by the key. */
const asks = (watch: Watch | undefined, { by }: Key): boolean => watch?.counts.some((one) => one.by === by) ?? false;

function addWatching({ watching }: Key, group: Group, row: number): void {
  if (!watching.has(row)) group.watched = watching.add(group.watched, row);
}

/** One of the comparisons comes out otherwise. */
function hasTurned(conditions: readonly CountCondition[], before: number, after: number): boolean {
  for (const { operator, value } of conditions)
    if (compare(before, operator, value) !== compare(after, operator, value)) return true;
  return false;
}

function keyOf({ local, remote, unit }: Ends, by: CountKey): Value | undefined {
  switch (by) {
    case 'local':
      return addressKey(local.address);
    case 'remote':
      return addressKey(remote.address);
    case 'local.port':
      return local.port;
    case 'remote.port':
      return remote.port;
    case 'unit':
      return unit;
  }
}

/** An address as a key; of IPv4 a number, which is found faster than a text. */
const addressKey = (address: Address): Value =>
  address.length === 4
    ? (address[0]! << 24) | (address[1]! << 16) | (address[2]! << 8) | address[3]!
    : keyOfAddress(address);
