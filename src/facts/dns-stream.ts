import { Buffer } from 'node:buffer';
import type { PayloadSample } from '../kernel/index.ts';

/** Connections of which the beginning of a message waits for its end; of more, the oldest is given up. */
export const MOST_STREAMS = 256;

interface Pending {
  readonly bytes: Uint8Array;
  /** TCP's number of the byte that comes next. */
  readonly next: number;
}

const NOTHING = new Uint8Array(0);

/**
 * Cuts what DNS servers send by TCP into messages (RFC 1035, section 4.2.2): two bytes of length before each.
 * A message may be in several segments, which have to come one after the other; what was lost takes its message along.
 */
export class DnsStreams {
  readonly #pending = new Map<string, Pending>();

  /** Connections that a message is waited for on. */
  get size(): number {
    return this.#pending.size;
  }

  /** The messages that end in this segment. */
  take({ tuple, sequence, size, data }: PayloadSample): readonly Uint8Array[] {
    const key = [tuple.source, tuple.sourcePort, tuple.destination, tuple.destinationPort].join();
    const before = this.#pending.get(key);
    this.#pending.delete(key);
    const begun = before?.next === sequence ? before.bytes : NOTHING;
    let rest: Uint8Array = begun.length === 0 ? data : Buffer.concat([begun, data]);
    const messages: Uint8Array[] = [];
    while (rest.length >= 2) {
      const end = 2 + ((rest[0]! << 8) | rest[1]!);
      if (rest.length < end) break;
      messages.push(rest.subarray(2, end));
      rest = rest.subarray(end);
    }
    // Of a segment that was cut off the rest never comes.
    if (rest.length > 0 && data.length === size) {
      this.#pending.set(key, { bytes: rest, next: (sequence + size) >>> 0 });
      if (this.#pending.size > MOST_STREAMS) this.#pending.delete(this.#pending.keys().next().value!);
    }
    return messages;
  }
}
