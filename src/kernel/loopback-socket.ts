import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { formatLoopback, HeadgateError, type Loopback } from '../model/index.ts';

/** Connections at once: those beyond are closed as they come. A browser takes six. */
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

/**
 * Serves HTTP on a port of loopback, within bounds: who connects and says nothing, or too much, is closed.
 *
 * @throws HeadgateError HG_WEB_TAKEN
 */
export async function listenLoopback(
  at: Loopback,
  listener: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<LoopbackServer> {
  const server = createServer(
    {
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: IDLE_MS,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: MOST_HEADERS,
    },
    listener,
  );
  server.maxConnections = MOST_CONNECTIONS;
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
