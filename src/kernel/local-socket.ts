import { chmod, mkdir, rm } from 'node:fs/promises';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { HeadgateError } from '../model/index.ts';
import { getNamespaceId, inStateFolder, STATE_FOLDER } from './machine.ts';

/** In the abstract namespace of unix(7): one per network namespace, and gone with its process, however that ends. */
const LOCK = '\0headgate';

/** How long readers have to take what was sent to them when the service ends. */
const GRACE_MS = 500;

/** Where the service of this network namespace listens. */
export const getSocketPath = async (): Promise<string> => `${STATE_FOLDER}/${await getNamespaceId()}.sock`;

/** Takes the place of the one service of this network namespace; call the result to leave it. Undefined: it is taken. */
export function acquireInstance(): Promise<(() => void) | undefined> {
  const server = createNetServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    );
    server.listen({ path: LOCK }, () => resolve(() => void server.close()));
    server.unref();
  });
}

/** Serves HTTP on the control socket, which root alone may use. Needs {@link acquireInstance}: a socket file left by a dead process is replaced. */
export async function listenLocal(listener: RequestListener): Promise<{ close(): Promise<void> }> {
  const path = await getSocketPath();
  const server: Server = createServer(listener);
  await inStateFolder(async () => {
    await mkdir(STATE_FOLDER, { recursive: true, mode: 0o755 });
    await rm(path, { force: true });
    // The umask holds from bind(2) on: no moment in which others could connect.
    const umask = process.umask(0o177);
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve)).finally(() =>
      process.umask(umask),
    );
    await chmod(path, 0o600);
  });
  return {
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

/**
 * Asks the running service.
 *
 * @throws HeadgateError HG_NOT_RUNNING; HG_NOT_ROOT where this user may not ask
 */
export async function requestLocal(path: string, method: 'GET' | 'POST' = 'GET'): Promise<IncomingMessage> {
  const socketPath = await getSocketPath();
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, path, method, agent: false }, resolve);
    request.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === 'EACCES'
          ? new HeadgateError('HG_NOT_ROOT', { what: 'talking to the running service' }, { cause })
          : new HeadgateError('HG_NOT_RUNNING', {}, { cause }),
      ),
    );
    request.end();
  });
}
