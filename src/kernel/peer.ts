import type { Socket } from 'node:net';
import { getPeer, type Peer } from './shim/index.ts';

/** Who is at the other end of a unix socket. @throws HeadgateError HG_KERNEL */
export function getSocketPeer(socket: Socket): Peer {
  // node gives no other way to a socket's descriptor; -1 where there is none, which getsockopt(2) refuses.
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } | null };
  return getPeer(handle?.fd ?? -1);
}
