import { type Address, keyOfAddress } from '../model/index.ts';
import { oldestOf } from './oldest.ts';

/** Addresses that rules have put into one set, at most; beyond, those that were put there longest ago leave. */
export const MAX_MEMBERS = 65_536;
/** Between two looks for those whose time has come, ms. */
const LOOK_MS = 250;

/** The sets that rules fill: who was put there leaves again after its time. */
export class DynamicSets {
  readonly #changed: (address: string) => void;
  /** By set, until when, ms since 1970; in the order in which they were put there last. */
  readonly #members = new Map<string, Map<string, number>>();
  /** Nobody leaves before. */
  #next = Number.POSITIVE_INFINITY;

  /** @param changed is told, by {@link keyOfAddress}, an address that has come into a set, or left it */
  constructor(changed: (address: string) => void) {
    this.#changed = changed;
  }

  get size(): number {
    let size = 0;
    for (const members of this.#members.values()) size += members.size;
    return size;
  }

  /** Nobody leaves before, ms since 1970; Infinity: there is nobody. */
  get next(): number {
    return this.#next;
  }

  has(set: string, address: Address): boolean {
    return this.#members.get(set)?.has(keyOfAddress(address)) === true;
  }

  /** Puts an address into a set until a time, ms since 1970, or has it stay until then. */
  add(set: string, member: Address, until: number): void {
    const address = keyOfAddress(member);
    let members = this.#members.get(set);
    if (!members) {
      members = new Map();
      this.#members.set(set, members);
    }
    const before = members.get(address);
    members.delete(address);
    members.set(address, Math.max(until, before ?? until));
    if (before !== undefined) return;
    this.#next = Math.min(this.#next, until);
    for (const oldest of oldestOf(members, MAX_MEMBERS)) {
      members.delete(oldest);
      this.#changed(oldest);
    }
    this.#changed(address);
  }

  /** Has those leave whose time has come. */
  expire(now: number): void {
    if (now < this.#next) return;
    let next = Number.POSITIVE_INFINITY;
    const gone: [string, string][] = [];
    for (const [set, members] of this.#members)
      for (const [address, until] of members)
        if (until <= now) gone.push([set, address]);
        else next = Math.min(next, until);
    this.#next = Math.max(next, now + LOOK_MS);
    for (const [set, address] of gone) {
      this.#members.get(set)!.delete(address);
      this.#changed(address);
    }
  }

  /** Forgets the sets that are not of these names. */
  keep(names: ReadonlySet<string>): void {
    for (const name of this.#members.keys()) if (!names.has(name)) this.#members.delete(name);
  }
}
