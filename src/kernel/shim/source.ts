import { Socket, type SocketConstructorOpts } from 'node:net';
import { call } from './error.ts';
import { LITTLE_ENDIAN, SOURCE_STATS } from './layout.ts';
import { type Pointer, type Shim, shim } from './library.ts';
import type { Records } from './records.ts';

export interface SourceStats {
  /** Records put into the ring so far. */
  readonly records: number;
  /** Times that the kernel had to drop messages; with a ring ({@link ringBytes}), how many it dropped. */
  readonly overruns: number;
  /** Times that the shim had to wait for JavaScript. */
  readonly ringFull: number;
  /** SO_RCVBUF as read back, in bytes: twice what was granted (socket(7)). */
  readonly receiveBuffer: number;
  /** Records in the ring now. */
  readonly waiting: number;
  /** Of the ring that the kernel copies events into, where it would else queue them at the socket. */
  readonly ringBytes: number | undefined;
}

/** One open source of the shim: a kernel socket, the thread that reads it, a ring, a doorbell. */
export class Source {
  readonly #shim: Shim;
  readonly #doorbell: Socket;
  #pointer: Pointer | undefined;

  /**
   * Opens a source; `ring` runs on the main thread whenever records wait.
   *
   * @throws HeadgateError HG_NO_SHIM, HG_NOT_ROOT, HG_KERNEL.
   */
  constructor(doing: string, open: (shim: Shim, error: Buffer) => Pointer | null, ring: () => void) {
    this.#shim = shim();
    this.#pointer = call(doing, (error) => open(this.#shim, error));
    this.#doorbell = new Socket({
      fd: this.#shim.hg_source_doorbell(this.#pointer),
      readable: true,
      writable: false,
      onread: {
        buffer: Buffer.alloc(64),
        callback: () => {
          if (this.#pointer !== undefined) ring();
          return true;
        },
      },
    } as SocketConstructorOpts); // @types/node knows onread of connect() alone; the constructor takes it, too
    this.#doorbell.on('error', () => {}); // closed from under us: close() is on its way
  }

  /** Fills `records` from its start, oldest first; returns how many came. After the doorbell, take until it is not full. */
  take(records: Records): number {
    if (this.#pointer === undefined) return 0;
    return this.#shim.hg_source_take(this.#pointer, records.bytes, records.capacity);
  }

  getStats(): SourceStats {
    const bytes = new DataView(new ArrayBuffer(SOURCE_STATS.size));
    if (this.#pointer !== undefined) this.#shim.hg_source_get_stats(this.#pointer, new Uint8Array(bytes.buffer));
    const f = SOURCE_STATS.fields;
    const u64 = (offset: number) => Number(bytes.getBigUint64(offset, LITTLE_ENDIAN));
    return {
      records: u64(f.records.offset),
      overruns: u64(f.overruns.offset),
      ringFull: u64(f.ring_full.offset),
      receiveBuffer: bytes.getUint32(f.receive_buffer.offset, LITTLE_ENDIAN),
      waiting: bytes.getUint32(f.waiting.offset, LITTLE_ENDIAN),
      ringBytes: bytes.getUint32(f.ring_bytes.offset, LITTLE_ENDIAN) || undefined,
    };
  }

  /** Ends the thread and closes the socket before it returns. Twice is no error. */
  close(): void {
    if (this.#pointer === undefined) return;
    this.#shim.hg_source_close(this.#pointer);
    this.#pointer = undefined;
    this.#doorbell.destroy();
  }
}
