import { constants } from 'node:os';
import { call, kernelError } from './error.ts';
import { shim } from './library.ts';

/** A process that has connected to a unix socket, as it was when it did. */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** Its supplementary groups. */
  readonly groups: readonly number[];
}

/** NGROUPS_MAX (linux/limits.h), with process, user and group before them. */
const MOST_IDS = 65_536 + 3;

/** Takes the lock of an open file, which ends with its descriptor (flock(2)). False: another holds it. @throws HeadgateError HG_KERNEL */
export function tryLock(fd: number): boolean {
  const status = shim().hg_lock(fd);
  if (status !== 0 && status !== -constants.errno.EWOULDBLOCK) throw kernelError('locking a file', -status, 'flock');
  return status === 0;
}

/** Who is at the other end of a unix socket (SO_PEERCRED, SO_PEERGROUPS: unix(7)). @throws HeadgateError HG_KERNEL */
export function getPeer(fd: number): Peer {
  const ids = new Uint32Array(MOST_IDS);
  const count = shim().hg_peer(fd, ids, ids.length);
  if (count < 0) throw kernelError('asking who has connected', -count, 'getsockopt');
  const [pid, uid, gid, ...groups] = ids.subarray(0, count);
  return { pid: pid!, uid: uid!, gid: gid!, groups };
}

/** Sends a datagram to a unix socket; `@name` is in the abstract namespace. Nobody there, or no room, is no error: false. */
export const sendLocal = (path: string, text: string): boolean => shim().hg_notify(path, text) === 0;

/**
 * Becomes another program that has these capabilities at most (a bit mask, capabilities(7)), in every thread, and can
 * gain none; needs CAP_SETPCAP. Does not return.
 *
 * @throws HeadgateError HG_NO_SHIM; HG_NOT_ROOT, HG_KERNEL where it could not
 */
export function execWith(keep: bigint, path: string, argv: readonly string[]): never {
  call('dropping what is not needed', (error) => shim().hg_exec_with(keep, path, [...argv, null], error));
  throw new Error('execve returned');
}
