import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { delToken, getFile, listenLoopback, pageFile, replaceToken } from '../kernel/index.ts';
import { formatLoopback, HeadgateError, type Loopback } from '../model/index.ts';
import { type Answers, fail, giveAnswer, readTarget } from './answers.ts';

/** Where the page is. `GET /web` of the control socket. */
export interface WebAddress {
  /** With the token as its fragment, which browsers keep to themselves. */
  readonly url: string;
  /** What has the token, for programs that send it as a bearer (Prometheus: `credentials_file`). */
  readonly tokenFile: string;
}

export interface WebServer extends WebAddress {
  /** From now on these are given; without them whoever asks is told to come again. */
  serve(answers: Answers | undefined): void;
  close(): Promise<void>;
}

const FILES = {
  '/': { name: 'index.html', type: 'text/html; charset=utf-8' },
  '/page.js': { name: 'page.js', type: 'text/javascript; charset=utf-8' },
  '/page.css': { name: 'page.css', type: 'text/css; charset=utf-8' },
  '/icon.svg': { name: 'icon.svg', type: 'image/svg+xml' },
} as const;

/** Nothing from elsewhere, nothing inline, and no text that becomes markup. */
const HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store',
} as const;

/** Names that lead to loopback whatever a DNS server says (RFC 6761): another in Host is a page from elsewhere at work. */
const HOST = /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/i;

/**
 * Serves the page, and to whoever has the token what is given to {@link WebServer.serve}, on a port of loopback. It changes
 * nothing: GET alone. The token is new at each start, and is sent as a bearer (docs/decisions/0056).
 *
 * @throws HeadgateError HG_WEB_TAKEN, HG_NO_PLACE, HG_NO_SHIM where the page was not built
 */
export async function openWeb(at: Loopback): Promise<WebServer> {
  const token = randomBytes(32).toString('base64url');
  const wanted = hash(token);
  const files = new Map<string, { readonly type: string; readonly body: Uint8Array }>();
  for (const [path, { name, type }] of Object.entries(FILES))
    files.set(`GET ${path}`, { type, body: await getFile(pageFile(name)) });
  let answers: Answers | undefined;

  const listener = (request: IncomingMessage, response: ServerResponse, trust: () => void): unknown => {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    const refuse = (status: number, problem: string) => {
      response.setHeader('connection', 'close');
      fail(response, status, new HeadgateError('HG_WEB_REFUSED', { problem }));
    };
    const { headers, method } = request;
    const { host = '', origin } = headers;
    if (!HOST.test(host)) return refuse(421, 'Host names another machine');
    if (origin !== undefined && origin !== `http://${host}`)
      return refuse(403, 'it comes from a page of another origin');
    if (method !== 'GET') {
      response.setHeader('allow', 'GET');
      return refuse(405, 'it can only be read');
    }
    const file = files.get(readTarget(request).what);
    if (file) return response.writeHead(200, { 'content-type': file.type }).end(file.body);
    const [, given] = /^Bearer (.+)$/i.exec(headers.authorization ?? '') ?? [];
    if (given === undefined || !timingSafeEqual(hash(given), wanted)) {
      response.setHeader('www-authenticate', 'Bearer');
      return refuse(401, given === undefined ? 'the key is missing' : 'the key is not that of this start');
    }
    trust();
    if (answers) return giveAnswer(answers, request, response);
    return refuse(503, 'headgate is starting, or stopping');
  };

  const server = await listenLoopback(at, listener);
  const close = async () => {
    await server.close();
    await delToken();
  };
  try {
    const tokenFile = await replaceToken(token);
    const url = `http://${formatLoopback(server.at)}/#${token}`;
    return { url, tokenFile, serve: (these) => (answers = these), close };
  } catch (error) {
    // What cannot be written there may be what cannot be removed either.
    await close().catch(() => {});
    throw error;
  }
}

const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
