import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { formatLoopback, HeadgateError, type Loopback } from '../model/index.ts';

/** Connections at once. A browser takes six. */
export const MOST_CONNECTIONS = 64;
/** Ms in which a request has to be there whole. */
const REQUEST_MS = 5000;
/** Ms for which a connection is kept for the next request. */
const IDLE_MS = 5000;
/** Bytes of a request's headers. */
const MOST_HEADERS = 8192;

export interface LoopbackServer {
  /** With the port that it has. */
  readonly at: Loopback;
  close(): Promise<void>;
}

/** Answers a request; `trust` keeps its connection a place from then on. */
export type LoopbackListener = (request: IncomingMessage, response: ServerResponse, trust: () => void) => void;

/**
 * Serves HTTP on a port of loopback, within bounds: who connects and says nothing, or too much, is closed. With
 * {@link MOST_CONNECTIONS} the oldest that is not trusted makes room for the next.
 *
 * @throws HeadgateError HG_WEB_TAKEN
 */
export async function listenLoopback(at: Loopback, listener: LoopbackListener): Promise<LoopbackServer> {
  /** Those that have a place until it is needed, in the order in which they came. */
  const strangers = new Set<Socket>();
  let open = 0;
  const server = createServer(
    {
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: IDLE_MS,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: MOST_HEADERS,
    },
    (request, response) => listener(request, response, () => strangers.delete(request.socket)),
  );
  server.on('connection', (socket: Socket) => {
    open++;
    strangers.add(socket);
    socket.once('close', () => {
      open--;
      strangers.delete(socket);
    });
    if (open <= MOST_CONNECTIONS) return;
    // Where all others are trusted, it is the newcomer itself.
    const [oldest] = strangers;
    strangers.delete(oldest!);
    oldest!.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    // After that, of what cannot be accepted its peer hears; the service goes on.
    server.on('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new HeadgateError(
          'HG_WEB_TAKEN',
          { address: formatLoopback(at), problem: cause.code ?? cause.message },
          { cause },
        ),
      ),
    );
    server.listen({ ...at, exclusive: true }, resolve);
  });
  const bound = server.address();
  const port = typeof bound === 'object' && bound ? bound.port : at.port;
  return {
    at: { ...at, port },
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
