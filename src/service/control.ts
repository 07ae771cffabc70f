import type { IncomingMessage, ServerResponse } from 'node:http';
import { listenLocal, type Peer } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import type { Family } from '../monitor/index.ts';
import type { MonitorStream } from '../monitor/stream.ts';
import { isAllowed } from './access.ts';
import { MOST_CONFIRM_MS, type Unconfirmed } from './confirmation.ts';
import type { LiveExplanation } from './explain-live.ts';
import type { FlowList } from './list-flows.ts';
import type { ReloadResult } from './reload.ts';
import { serveEvents } from './serve-events.ts';
import { serveMetrics } from './serve-metrics.ts';
import { shareRunning } from './share-running.ts';
import type { ServiceStatus, Status } from './status.ts';

/** What the control socket gives access to. */
export interface Controlled {
  readonly status: () => Promise<Status>;
  readonly service: () => ServiceStatus;
  /** @throws HeadgateError HG_NO_FLOW, HG_USAGE */
  readonly explain: (flow: string) => Promise<readonly LiveExplanation[]>;
  /** @throws HeadgateError HG_NO_FLOW, HG_USAGE */
  readonly why: (end: string) => Promise<readonly LiveExplanation[]>;
  /** @throws HeadgateError HG_USAGE */
  readonly flows: (parameters: URLSearchParams) => Promise<FlowList>;
  /** `confirm`: ms in which it has to be confirmed. */
  readonly reload: (confirm: number | undefined) => Promise<ReloadResult>;
  /** @throws HeadgateError HG_CONFIRM */
  readonly confirm: () => Promise<Unconfirmed>;
  readonly stream: MonitorStream;
  readonly metrics: (status: Status) => readonly Family[];
}

type Answer = (parameters: URLSearchParams, request: IncomingMessage, response: ServerResponse) => unknown;

/** Of what is asked for only the path and the parameters count. */
const BASE = 'http://headgate';

/**
 * Serves, to whom {@link isAllowed} lets: `GET /status`, `/service` (what of it needs no look at the kernel), `/explain?flow=`, `/why?end=`, `/flows?where=&sort=&limit=`, `POST /reload?confirm=MS` and
 * `/confirm` as JSON, `GET /events` (serve-events.ts) and `/metrics` (serve-metrics.ts). What goes wrong is `{error: {code, message, hint, ...}}`, with status 403 where the
 * caller may not, 404 for an unknown path, 409 for the rest.
 *
 * @returns also why the group of readers is shut out, where it is
 */
export async function serveControl(
  controlled: Controlled,
): Promise<{ problem?: string | undefined; close(): Promise<void> }> {
  const status = shareRunning(controlled.status);
  const answers: Readonly<Record<string, Answer>> = {
    'GET /status': status,
    'GET /service': controlled.service,
    'GET /explain': (parameters) => controlled.explain(parameters.get('flow') ?? ''),
    'GET /why': (parameters) => controlled.why(parameters.get('end') ?? ''),
    'GET /flows': (parameters) => controlled.flows(parameters),
    'GET /events': (parameters, request, response) => serveEvents(controlled.stream, parameters, request, response),
    'GET /metrics': async (_, request, response) => serveMetrics(controlled.metrics(await status()), request, response),
    'POST /reload': (parameters) => controlled.reload(readConfirm(parameters)),
    'POST /confirm': controlled.confirm,
  };
  const listener = async (request: IncomingMessage, response: ServerResponse, peer: Peer): Promise<void> => {
    const method = request.method ?? '';
    const target = request.url ?? '';
    const url = URL.canParse(target, BASE) ? new URL(target, BASE) : undefined;
    const what = `${method} ${url?.pathname ?? target}`;
    try {
      if (!isAllowed(method, peer, { user: process.geteuid!(), group: server.group }))
        return fail(response, 403, new HeadgateError('HG_FORBIDDEN', { what, uid: peer.uid }));
      const answer = Object.hasOwn(answers, what) ? answers[what] : undefined;
      if (!url || !answer)
        return fail(response, 404, new HeadgateError('HG_USAGE', { problem: `there is no ${what}`, command: '' }));
      const value = await answer(url.searchParams, request, response);
      if (!response.headersSent) send(response, 200, value);
    } catch (error) {
      fail(response, 409, error);
    }
  };
  const server = await listenLocal((request, response, peer) => void listener(request, response, peer));
  return server;
}

/** @throws HeadgateError HG_USAGE */
function readConfirm(parameters: URLSearchParams): number | undefined {
  const text = parameters.get('confirm');
  if (text === null) return undefined;
  const ms = Number(text);
  if (!Number.isInteger(ms) || ms < 1 || ms > MOST_CONFIRM_MS)
    throw new HeadgateError('HG_USAGE', {
      problem: `confirm=${text}: not 1 to ${MOST_CONFIRM_MS} ms`,
      command: 'reload',
    });
  return ms;
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function fail(response: ServerResponse, status: number, error: unknown): void {
  if (response.headersSent) return void response.destroy();
  const { code, message, hint, fields } =
    error instanceof HeadgateError
      ? error
      : { code: 'internal', message: String(error), hint: 'This is a fault in headgate.', fields: {} };
  send(response, status, { error: { code, message, hint, ...fields } });
}
