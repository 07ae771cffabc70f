import {
  type Address,
  type CountKey,
  type Direction,
  type End,
  type FlowFacts,
  type Origin,
  TCP_STATES,
  type TcpState,
  type Tuple,
} from '../model/index.ts';
import type { SuppliedFacts } from './fact-source.ts';
import type { Counts, FlowMemory } from './flow-memory.ts';
import type { FlowTable } from './flow-table.ts';

/** What a flow's facts are besides those in the table. */
export interface Surroundings {
  memoryOf(row: number): FlowMemory | undefined;
  factsOf(row: number): SuppliedFacts | undefined;
  count(facts: FlowFacts, of: 'flows' | 'peers', by: CountKey): number | undefined;
  inSet(set: string, address: Address): boolean;
  readonly clock: NonNullable<FlowFacts['clock']>;
  /** Ms since 1970. */
  readonly now: number;
}

const AF_INET = 2;
/** Of a row, in bytes: behind zone, family and protocol the original tuple, then the reply; each of two addresses of sixteen, then ports. */
const AT = { family: 2, protocol: 3, original: 4, reply: 44 } as const;
const SOURCE_PORT = 32;

/** Buffers for an address of either family. */
class Slot implements End {
  readonly #v4 = new Uint8Array(4);
  readonly #v6 = new Uint8Array(16);
  address: Uint8Array = this.#v4;
  port: number | undefined;

  copy(bytes: Uint8Array, at: number, v4: boolean): void {
    const address = v4 ? this.#v4 : this.#v6;
    for (let i = 0; i < address.length; i++) address[i] = bytes[at + i]!;
    this.address = address;
  }
}

/**
 * The facts of the flow in one row of the table, with NAT undone ({@link FlowFacts}). It stands on one row at a time; moving it
 * allocates nothing, and what it gives out is overwritten by the next move.
 */
export class FlowView implements FlowFacts {
  readonly #table: FlowTable;
  readonly #around: Surroundings;
  readonly local = new Slot();
  readonly remote = new Slot();
  row = -1;
  origin: Origin = 'new';
  protocol = 0;
  zone = 0;
  #memory: FlowMemory | undefined;
  #facts: SuppliedFacts | undefined;

  constructor(table: FlowTable, around: Surroundings) {
    this.#table = table;
    this.#around = around;
  }

  /** Stands on a row that holds a flow. */
  moveTo(row: number): this {
    const table = this.#table;
    const { bytes } = table;
    const at = table.wordOf(row) * 4;
    const v4 = bytes[at + AT.family] === AF_INET;
    const ports = table.hasPorts(row);
    this.row = row;
    this.origin = table.originOf(row);
    this.protocol = bytes[at + AT.protocol]!;
    this.zone = table.halves[at >> 1]!;
    const opener = this.origin === 'local' ? this.local : this.remote;
    const answerer = this.origin === 'local' ? this.remote : this.local;
    opener.copy(bytes, at + AT.original, v4);
    answerer.copy(bytes, at + AT.reply, v4);
    opener.port = ports ? table.halves[(at + AT.original + SOURCE_PORT) >> 1] : undefined;
    answerer.port = ports ? table.halves[(at + AT.reply + SOURCE_PORT) >> 1] : undefined;
    this.refresh();
    return this;
  }

  /** Takes notice of what has become known of the same flow. */
  refresh(): void {
    this.#memory = this.#around.memoryOf(this.row);
    this.#facts = this.#around.factsOf(this.row);
  }

  /** A copy of a tuple as conntrack has it. */
  tuple(which: 'original' | 'reply'): Tuple {
    const { bytes, halves } = this.#table;
    const at = this.#table.wordOf(this.row) * 4;
    const start = at + AT[which];
    const size = bytes[at + AT.family] === AF_INET ? 4 : 16;
    const port = (offset: number) => (this.#table.hasPorts(this.row) ? halves[(start + offset) >> 1] : undefined);
    return {
      source: bytes.slice(start, start + size),
      destination: bytes.slice(start + 16, start + 16 + size),
      sourcePort: port(SOURCE_PORT),
      destinationPort: port(SOURCE_PORT + 2),
    };
  }

  get nat(): { readonly source: boolean; readonly destination: boolean } {
    return NAT[this.#table.natOf(this.row)]!;
  }

  get helper(): string | undefined {
    return this.#table.helperOf(this.row);
  }

  get tcpState(): TcpState | undefined {
    const state = this.#table.tcpStateOf(this.row);
    return state === undefined ? undefined : TCP_STATES[state];
  }

  get age(): number | undefined {
    const age = this.#around.now - this.#table.beganOf(this.row);
    return Number.isNaN(age) ? undefined : age;
  }

  get idle(): number | undefined {
    return this.#memory?.idle(this.#around.now);
  }

  get bytes(): Counts | undefined {
    return this.#memory?.bytes;
  }

  get packets(): Counts | undefined {
    return this.#memory?.packets;
  }

  rate(direction: Direction, window: number): number | undefined {
    const rates = this.#memory?.rates;
    if (direction !== 'total') return rates?.rate(direction, window);
    const arriving = rates?.rate('in', window);
    const leaving = rates?.rate('out', window);
    return arriving === undefined || leaving === undefined ? undefined : arriving + leaving;
  }

  count(of: 'flows' | 'peers', by: CountKey): number | undefined {
    return this.#around.count(this, of, by);
  }

  inSet(set: string, address: Address): boolean {
    return this.#around.inSet(set, address);
  }

  get clock(): NonNullable<FlowFacts['clock']> {
    return this.#around.clock;
  }

  held(timer: number): number | undefined {
    const since = this.#memory?.heldSince.get(timer);
    if (since !== undefined) return this.#around.now - since;
    // Whether it holds, nobody looks while no rule waits for it.
    return this.#memory?.watch.held.some((one) => one.timer === timer) ? 0 : undefined;
  }

  get device(): string | undefined {
    return this.#facts?.device;
  }
  get mac(): string | undefined {
    return this.#facts?.mac;
  }
  get dscp(): number | undefined {
    return this.#facts?.dscp;
  }
  get user(): FlowFacts['user'] {
    return this.#facts?.user;
  }
  get process(): string | undefined {
    return this.#facts?.process;
  }
  get unit(): string | undefined {
    return this.#facts?.unit;
  }
  get cgroup(): string | undefined {
    return this.#facts?.cgroup;
  }
  get domains(): readonly string[] | undefined {
    return this.#facts?.domains;
  }
  get p2p(): FlowFacts['p2p'] {
    return this.#facts?.p2p;
  }
}

const NAT = [0, 1, 2, 3].map((bits) => ({ source: (bits & 1) !== 0, destination: (bits & 2) !== 0 }));
