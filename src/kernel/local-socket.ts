import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { HeadgateError, messageOf } from '../model/index.ts';
import { CONTROL_GROUP, getGroupId } from './group.ts';
import { getStatePath, inStateFolder } from './machine.ts';
import { getSocketPeer } from './peer.ts';
import type { Peer } from './shim/index.ts';

/** How long readers have to take what was sent to them when the service ends. */
const GRACE_MS = 500;

/** Connections of others than root and the service's own user; those beyond are closed. Root always finds a place. */
export const MOST_GUESTS = 64;

/** Where the service of this network namespace listens. */
export const getSocketPath = (): Promise<string> => getStatePath('sock');

/** Answers a request of a process of this machine. */
export type LocalListener = (request: IncomingMessage, response: ServerResponse, peer: Peer) => void;

export interface LocalServer {
  /** Number of the group whose members may connect; undefined: root alone. */
  readonly group: number | undefined;
  /** Why that is so although there is a group {@link CONTROL_GROUP}. */
  readonly problem: string | undefined;
  close(): Promise<void>;
}

/**
 * Serves HTTP on the control socket: mode 0660, of group {@link CONTROL_GROUP}; 0600 where there is no such group. Needs
 * {@link acquireInstance}: a socket file left by a dead process is replaced.
 *
 * @throws HeadgateError HG_NO_PLACE
 */
export async function listenLocal(listener: LocalListener): Promise<LocalServer> {
  const path = await getSocketPath();
  const peers = new WeakMap<Socket, Peer>();
  const server = createServer((request, response) => {
    const peer = peers.get(request.socket);
    if (peer) listener(request, response, peer);
    else request.socket.destroy();
  });
  let guests = 0;
  server.on('connection', (socket: Socket) => {
    try {
      const peer = getSocketPeer(socket);
      if (peer.uid !== 0 && peer.uid !== process.geteuid!()) {
        if (guests === MOST_GUESTS) return void socket.destroy();
        guests++;
        socket.once('close', () => guests--);
      }
      peers.set(socket, peer);
    } catch {
      socket.destroy();
    }
  });
  const group = await getGroupId(CONTROL_GROUP);
  const access = await inStateFolder(async () => {
    await rm(path, { force: true });
    // The umask holds from bind(2) on: no moment in which others could connect.
    const umask = process.umask(0o177);
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve)).finally(() =>
      process.umask(umask),
    );
    return giveToGroup(path, group, 0o660);
  });
  return {
    ...access,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), GRACE_MS);
      await closed;
      clearTimeout(timer);
      await rm(path, { force: true });
    },
  };
}

/** Gives a file of root's to a group, with this mode; without a group it stays as it is. `problem` says why that did not go. */
export async function giveToGroup(
  path: string,
  group: number | undefined,
  mode: number,
): Promise<Pick<LocalServer, 'group' | 'problem'>> {
  if (group === undefined) return { group, problem: undefined };
  try {
    // The owner may give a file to a group of its own without CAP_CHOWN (chown(2)).
    await chown(path, process.geteuid!(), group);
    await chmod(path, mode);
    return { group, problem: undefined };
  } catch (error) {
    return { group: undefined, problem: messageOf(error) };
  }
}

/**
 * Asks the running service; where `timeout` ms are given, one that says nothing for so long counts as none, and so does one that
 * is waited for no more (`signal`).
 *
 * @throws HeadgateError HG_NOT_RUNNING; HG_FORBIDDEN where this user may not ask
 */
export async function requestLocal(
  path: string,
  method: 'GET' | 'POST' = 'GET',
  timeout = 0,
  headers: Readonly<Record<string, string>> = {},
  signal?: AbortSignal,
): Promise<IncomingMessage> {
  const socketPath = await getSocketPath();
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, path, method, timeout, headers, agent: false, signal }, resolve);
    request.once('timeout', () => request.destroy(new Error('it does not answer')));
    request.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === 'EACCES'
          ? new HeadgateError('HG_FORBIDDEN', { what: `${method} ${path}`, uid: process.geteuid!() }, { cause })
          : new HeadgateError('HG_NOT_RUNNING', {}, { cause }),
      ),
    );
    request.end();
  });
}
