import { constants } from 'node:os';
import { call, kernelError } from './error.ts';
import { KEY_BYTES, MARK_REQUEST } from './layout.ts';
import { type Pointer, type Shim, shim } from './library.ts';

const WORDS = MARK_REQUEST.size / 4;
const KEY_WORDS = KEY_BYTES / 4;

/** Marks to be written, packed as the shim takes them (`struct hg_mark_request`), used again and again. */
export class MarkBatch {
  #words: Uint32Array;
  #count = 0;

  /** @param room requests that it has room for at first */
  constructor(room = 1024) {
    this.#words = new Uint32Array(room * WORDS);
  }

  get count(): number {
    return this.#count;
  }

  /** The requests, one behind the other. */
  get words(): Uint32Array {
    return this.#words.subarray(0, this.#count * WORDS);
  }

  /**
   * Adds a request for the flow whose identity begins at `words[word]` ({@link FlowRecord.words}). Only the bits of `mask`
   * change: new = (old & ~mask) | (mark & mask).
   */
  add(words: Uint32Array, word: number, mark: number, mask: number): void {
    const at = this.#count * WORDS;
    if (at === this.#words.length) {
      const grown = new Uint32Array(2 * at);
      grown.set(this.#words);
      this.#words = grown;
    }
    for (let i = 0; i < KEY_WORDS; i++) this.#words[at + i] = words[word + i]!;
    this.#words[at + KEY_WORDS] = mark;
    this.#words[at + KEY_WORDS + 1] = mask;
    this.#count++;
  }

  clear(): void {
    this.#count = 0;
  }
}

/** The mark stands. */
export const MARK_WRITTEN = 0;
/** The flow has ended meanwhile (-ENOENT): no error. */
export const MARK_GONE = -constants.errno.ENOENT;
/** The kernel's answer was lost (-ENOBUFS): the mark may stand or not. */
export const MARK_UNKNOWN = -constants.errno.ENOBUFS;

const DOING = 'writing conntrack marks';

/** Writes marks into conntrack entries, many with one call: `conntrack -U -m MARK/MASK`, in effect. */
export class MarkWriter {
  readonly #shim: Shim;
  #pointer: Pointer | undefined;

  private constructor(library: Shim, pointer: Pointer) {
    this.#shim = library;
    this.#pointer = pointer;
  }

  /**
   * @param netns path of a network namespace; ours where absent.
   * @throws HeadgateError HG_NO_SHIM, HG_NOT_ROOT, HG_KERNEL.
   */
  static open(netns?: string): MarkWriter {
    const library = shim();
    return new MarkWriter(
      library,
      call(DOING, (error) => library.hg_marks_open(netns ?? null, error)),
    );
  }

  /**
   * Writes, some 128 marks a system call; returns what became of each:
   * MARK_WRITTEN, MARK_GONE, MARK_UNKNOWN, or another negative errno.
   *
   * @throws HeadgateError HG_KERNEL where the socket failed, or the writer is closed.
   */
  writeBatch({ words, count }: MarkBatch): Int32Array {
    if (this.#pointer === undefined) throw kernelError(DOING, constants.errno.EBADF, 'write');
    if (count === 0) return new Int32Array(0);
    const requests = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    const results = new Int32Array(count);
    const status = this.#shim.hg_marks_write(this.#pointer, requests, count, results);
    if (status < 0 && status !== MARK_UNKNOWN) throw kernelError(DOING, -status, 'sendto');
    return results;
  }

  /** Twice is no error. */
  close(): void {
    if (this.#pointer !== undefined) this.#shim.hg_marks_close(this.#pointer);
    this.#pointer = undefined;
  }
}
