// What the service tells whoever may ask: the same over the control socket and for the web page.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { HeadgateError } from '../model/index.ts';
import type { Family, FlowEvent } from '../monitor/index.ts';
import type { MonitorStream } from '../monitor/stream.ts';
import type { LiveExplanations } from './explain-live.ts';
import type { PolicyView } from './get-policy.ts';
import type { FlowList } from './list-flows.ts';
import { serveEvents } from './serve-events.ts';
import { serveMetrics } from './serve-metrics.ts';
import { shareRunning } from './share-running.ts';
import type { ServiceStatus, Status } from './status.ts';

/** What can be read of the running service. */
export interface Readable {
  readonly status: () => Promise<Status>;
  readonly service: () => ServiceStatus;
  readonly policy: () => PolicyView;
  /** @throws HeadgateError HG_NO_FLOW, HG_USAGE */
  readonly explain: (flow: string) => Promise<LiveExplanations>;
  /** @throws HeadgateError HG_NO_FLOW, HG_USAGE */
  readonly why: (end: string) => Promise<LiveExplanations>;
  /** @throws HeadgateError HG_USAGE */
  readonly flows: (parameters: URLSearchParams) => Promise<FlowList>;
  readonly stream: MonitorStream;
  /** Each flow that is followed, as it stands when it is taken; `counted`: with what the kernel has counted of it. */
  readonly known: (counted: boolean) => Promise<Iterable<FlowEvent>>;
  readonly metrics: (status: Status) => readonly Family[];
}

export type Answer = (parameters: URLSearchParams, request: IncomingMessage, response: ServerResponse) => unknown;

/** By `METHOD /path`; what one returns is sent as JSON, unless it has answered itself. */
export type Answers = Readonly<Record<string, Answer>>;

/**
 * `/status`, `/service` (what of it needs no look at the kernel), `/policy`, `/explain?flow=`, `/why?end=`,
 * `/flows?where=&sort=&limit=&rates=1`, `/events` (serve-events.ts) and `/metrics` (serve-metrics.ts).
 */
export function listAnswers(readable: Readable): Answers {
  const status = shareRunning(readable.status);
  return {
    'GET /status': status,
    'GET /service': readable.service,
    'GET /policy': readable.policy,
    'GET /explain': (parameters) => readable.explain(parameters.get('flow') ?? ''),
    'GET /why': (parameters) => readable.why(parameters.get('end') ?? ''),
    'GET /flows': (parameters) => readable.flows(parameters),
    'GET /events': (parameters, request, response) =>
      serveEvents(readable.stream, parameters, request, response, readable.known),
    'GET /metrics': async (_, request, response) => serveMetrics(readable.metrics(await status()), request, response),
  };
}

/** Of what is asked for only the path and the parameters count. */
const BASE = 'http://headgate';

/** What a request asks for, as errors name it and {@link Answers} do; without a URL where its target is no address. */
export function readTarget({ method = '', url: target = '' }: IncomingMessage): { what: string; url?: URL } {
  const url = URL.canParse(target, BASE) ? new URL(target, BASE) : undefined;
  return { what: `${method} ${url?.pathname ?? target}`, ...(url && { url }) };
}

/** Answers a request by one of these: what goes wrong is `{error: {code, message, hint, ...}}`, with status 404 for an unknown path, 409 for the rest. */
export async function giveAnswer(answers: Answers, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { what, url } = readTarget(request);
  try {
    const answer = Object.hasOwn(answers, what) ? answers[what] : undefined;
    if (!url || !answer)
      return fail(response, 404, new HeadgateError('HG_USAGE', { problem: `there is no ${what}`, command: '' }));
    const value = await answer(url.searchParams, request, response);
    if (!response.headersSent) send(response, 200, value);
  } catch (error) {
    fail(response, 409, error);
  }
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

/** Says what went wrong; where the answer has begun already, it is cut off. */
export function fail(response: ServerResponse, status: number, error: unknown): void {
  if (response.headersSent) return void response.destroy();
  const { code, message, hint, fields } =
    error instanceof HeadgateError
      ? error
      : { code: 'internal', message: String(error), hint: 'This is a fault in headgate.', fields: {} };
  send(response, status, { error: { code, message, hint, ...fields } });
}
