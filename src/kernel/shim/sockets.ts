import { constants } from 'node:os';
import type { End } from '../../model/index.ts';
import { call, kernelError } from './error.ts';
import { LITTLE_ENDIAN, SOCKET, SOCKET_QUERY } from './layout.ts';
import { type Pointer, type Shim, shim } from './library.ts';

/** A socket of TCP or UDP by the ends that it sees: NAT on its way has not happened yet, or has been undone. */
export interface SocketQuery {
  readonly protocol: number;
  readonly local: End;
  readonly remote: End;
}

export interface LocalSocket {
  /** Who made it. */
  readonly uid: number;
  /** As /proc/PID/fd shows it: `socket:[INODE]`. */
  readonly inode: number;
  /** Id of its maker's cgroup in the cgroup2 hierarchy: the inode of its folder. Undefined: the kernel does not say. */
  readonly cgroup: bigint | undefined;
}

const DOING = 'looking up sockets';

/** Finds the sockets that packets come to in a network namespace: `ss -tunlpe` for one, by sock_diag(7). */
export class SocketFinder {
  readonly #shim: Shim;
  #pointer: Pointer | undefined;

  private constructor(library: Shim, pointer: Pointer) {
    this.#shim = library;
    this.#pointer = pointer;
  }

  /**
   * @param netns path of a network namespace; ours where absent
   * @throws HeadgateError HG_NO_SHIM, HG_NOT_ROOT, HG_KERNEL
   */
  static open(netns?: string): SocketFinder {
    const library = shim();
    return new SocketFinder(
      library,
      call(DOING, (error) => library.hg_sockets_open(netns ?? null, error)),
    );
  }

  /**
   * For each the socket that is connected to that end, or else the one that listens, or is bound to the port. Undefined:
   * there is none. A socket that listens on all addresses is found for those of other boxes, too.
   *
   * @throws HeadgateError HG_KERNEL where the netlink socket failed, or this is closed
   */
  find(queries: readonly SocketQuery[]): (LocalSocket | undefined)[] {
    if (this.#pointer === undefined) throw kernelError(DOING, constants.errno.EBADF, 'find');
    if (queries.length === 0) return [];
    const bytes = Buffer.alloc(queries.length * SOCKET_QUERY.size);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const q = SOCKET_QUERY.fields;
    queries.forEach(({ protocol, local, remote }, i) => {
      const at = i * SOCKET_QUERY.size;
      view.setUint8(at + q.family.offset, local.address.length === 4 ? 2 : 10);
      view.setUint8(at + q.protocol.offset, protocol);
      view.setUint16(at + q.local_port.offset, local.port ?? 0, LITTLE_ENDIAN);
      view.setUint16(at + q.remote_port.offset, remote.port ?? 0, LITTLE_ENDIAN);
      bytes.set(local.address, at + q.local.offset);
      bytes.set(remote.address, at + q.remote.offset);
    });
    const found = Buffer.alloc(queries.length * SOCKET.size);
    const status = this.#shim.hg_sockets_find(this.#pointer, bytes, queries.length, found);
    if (status < 0) throw kernelError(DOING, -status, 'sendto');
    const said = new DataView(found.buffer, found.byteOffset, found.byteLength);
    const s = SOCKET.fields;
    return queries.map((_, i) => {
      const at = i * SOCKET.size;
      if (said.getInt32(at + s.status.offset, LITTLE_ENDIAN) !== 0) return undefined;
      return {
        uid: said.getUint32(at + s.uid.offset, LITTLE_ENDIAN),
        inode: said.getUint32(at + s.inode.offset, LITTLE_ENDIAN),
        cgroup: said.getBigUint64(at + s.cgroup.offset, LITTLE_ENDIAN) || undefined,
      };
    });
  }

  /** Twice is no error. */
  close(): void {
    if (this.#pointer !== undefined) this.#shim.hg_sockets_close(this.#pointer);
    this.#pointer = undefined;
  }
}
