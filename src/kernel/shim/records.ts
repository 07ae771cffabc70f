import type { Address, Tuple } from '../../model/index.ts';
import { type Field, FLAG, LITTLE_ENDIAN, type TupleFields } from './layout.ts';

const AF_INET = 2;

/** An array of records of one layout in one piece of memory, and how to read a field of the one that starts at `at`. */
export class Records {
  readonly bytes: Buffer;
  readonly recordSize: number;
  /** The same memory by 32-bit words, in host byte order. */
  readonly words: Uint32Array;
  readonly #view: DataView;
  /** The same memory; a Buffer's slice would not copy. */
  readonly #array: Uint8Array;

  constructor(recordSize: number, capacity: number) {
    this.recordSize = recordSize;
    this.bytes = Buffer.alloc(recordSize * capacity);
    this.words = new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length >> 2);
    this.#array = new Uint8Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    this.#view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
  }

  get capacity(): number {
    return this.bytes.length / this.recordSize;
  }

  u8(at: number, field: Field): number {
    return this.#view.getUint8(at + field.offset);
  }

  u16(at: number, field: Field): number {
    return this.#view.getUint16(at + field.offset, LITTLE_ENDIAN);
  }

  u32(at: number, field: Field): number {
    return this.#view.getUint32(at + field.offset, LITTLE_ENDIAN);
  }

  /** Exact up to 2^53; a counter of bytes takes decades to get there. */
  u64(at: number, field: Field): number {
    const first = this.#view.getUint32(at + field.offset, LITTLE_ENDIAN);
    const second = this.#view.getUint32(at + field.offset + 4, LITTLE_ENDIAN);
    return LITTLE_ENDIAN ? second * 2 ** 32 + first : first * 2 ** 32 + second;
  }

  /** A time in nanoseconds as milliseconds, as Date counts them. */
  time(at: number, field: Field): number {
    return this.u64(at, field) / 1e6;
  }

  /** Text up to the first NUL. */
  text(at: number, field: Field): string {
    const start = at + field.offset;
    const whole = this.bytes.toString('latin1', start, start + field.length);
    const end = whole.indexOf('\0');
    return end < 0 ? whole : whole.slice(0, end);
  }

  /** A copy of an address, as long as its family (AF_INET, AF_INET6) says. */
  address(at: number, field: Field, family: number): Address {
    const start = at + field.offset;
    return this.#array.slice(start, start + (family === AF_INET ? 4 : 16));
  }

  /** A copy of a tuple; `flags` are those of the record, and say what it has. */
  tuple(at: number, fields: TupleFields, family: number, flags: number): Tuple {
    const ports = (flags & FLAG.ports) !== 0;
    return {
      source: this.address(at, fields.src, family),
      destination: this.address(at, fields.dst, family),
      sourcePort: ports ? this.u16(at, fields.src_port) : undefined,
      destinationPort: ports ? this.u16(at, fields.dst_port) : undefined,
      icmp:
        flags & FLAG.icmp
          ? {
              type: this.u8(at, fields.icmp_type),
              code: this.u8(at, fields.icmp_code),
              id: this.u16(at, fields.icmp_id),
            }
          : undefined,
    };
  }
}

/** AF_INET and AF_INET6 as the model says them; undefined for any other. */
export const familyOfNumber = (family: number): 4 | 6 | undefined =>
  family === AF_INET ? 4 : family === 10 ? 6 : undefined;
