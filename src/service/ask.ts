// What the other commands ask of the running service, over its control socket.

import type { IncomingMessage } from 'node:http';
import { getInstancePid, requestLocal } from '../kernel/index.ts';
import { type ErrorCode, HeadgateError, isErrorCode } from '../model/index.ts';
import { METRIC_FORMATS, type MetricFormat } from '../monitor/index.ts';
import type { Unconfirmed } from './confirmation.ts';
import type { LiveExplanation } from './explain-live.ts';
import type { FlowList } from './list-flows.ts';
import type { ReloadResult } from './reload.ts';
import type { WebAddress } from './serve-web.ts';
import type { ServiceStatus, Status } from './status.ts';

export { MOST_CONFIRM_MS } from './confirmation.ts';
export { FLOW_ORDERS, MOST_LISTED } from './flow-orders.ts';

/** Ms in which a service that lives says who it is. */
const PATIENCE_MS = 5000;

/** What the service of this network namespace knows of itself; undefined where none runs, or none that answers us. */
export const requestService = (): Promise<ServiceStatus | undefined> =>
  ask<ServiceStatus>('/service', 'GET', PATIENCE_MS).catch(() => undefined);

/** Process of the service of this network namespace, also of one that hangs; undefined where it cannot be told. */
export const getServicePid = async (): Promise<number | undefined> =>
  (await getInstancePid()) ?? (await requestService())?.pid;

/** The whole status, of a service that lives. @throws HeadgateError HG_NOT_RUNNING, HG_FORBIDDEN */
export const requestStatus = (): Promise<Status> => ask('/status');

/** Flows that the service knows by what is said of them, each with why it goes where it goes. @throws HeadgateError also HG_NO_FLOW, HG_USAGE */
export const requestExplanation = (flow: string): Promise<readonly LiveExplanation[]> =>
  ask(`/explain?${new URLSearchParams({ flow })}`);

/** The same of every flow that has this end: `10.0.0.5:443`, `[2001:db8::1]:443`, or an address alone. */
export const requestWhy = (end: string): Promise<readonly LiveExplanation[]> =>
  ask(`/why?${new URLSearchParams({ end })}`);

/** Flows by a condition, in order: list-flows.ts. @throws HeadgateError also HG_USAGE */
export const requestFlows = (parameters: URLSearchParams): Promise<FlowList> => ask(`/flows?${parameters}`);

/**
 * Has the service read its policy anew; where `confirm` ms are given, the policy before comes back unless it is confirmed
 * by then.
 *
 * @throws HeadgateError HG_NOT_RUNNING, HG_FORBIDDEN
 */
export const requestReload = (confirm?: number): Promise<ReloadResult> =>
  ask(confirm === undefined ? '/reload' : `/reload?confirm=${confirm}`, 'POST');

/** Confirms the change that waits for it. @throws HeadgateError HG_CONFIRM, HG_NOT_RUNNING, HG_FORBIDDEN */
export const requestConfirm = (): Promise<Unconfirmed> => ask('/confirm', 'POST');

/** Where the web page is. @throws HeadgateError HG_NO_WEB, HG_NOT_RUNNING, HG_FORBIDDEN */
export const requestWeb = (): Promise<WebAddress> => ask('/web');

/** Reads the event stream: NDJSON, as {@link serveEvents} has it. @throws HeadgateError HG_NOT_RUNNING, HG_FORBIDDEN, HG_USAGE */
export async function requestEvents(parameters: URLSearchParams): Promise<IncomingMessage> {
  await ensureAlive();
  const response = await requestLocal(`/events?${parameters}`);
  if (response.statusCode !== 200) throw errorOf(await readJson(response));
  return response;
}

/** The metrics, in one of their formats. @throws HeadgateError HG_NOT_RUNNING, HG_FORBIDDEN */
export async function requestMetrics(format: MetricFormat): Promise<string> {
  await ensureAlive();
  const response = await requestLocal('/metrics', 'GET', 0, { accept: METRIC_FORMATS[format] });
  if (response.statusCode !== 200) throw errorOf(await readJson(response));
  return readText(response);
}

/** @param timeout ms to the answer; absent: it may take long, from a service that says at once that it lives */
async function ask<T>(path: string, method: 'GET' | 'POST' = 'GET', timeout?: number): Promise<T> {
  if (timeout === undefined) await ensureAlive();
  const response = await requestLocal(path, method, timeout);
  const answer = await readJson(response).catch((cause: Error) => {
    throw new HeadgateError('HG_NOT_RUNNING', {}, { cause });
  });
  if (response.statusCode !== 200) throw errorOf(answer);
  return answer as T;
}

/** @throws HeadgateError HG_NOT_RUNNING, also of one that hangs */
const ensureAlive = (): Promise<unknown> => ask('/service', 'GET', PATIENCE_MS);

function errorOf(answer: unknown): Error {
  const { code, message, hint: _, ...fields } = (answer as { error: Record<string, string | number> }).error;
  return isErrorCode(String(code))
    ? new HeadgateError(code as ErrorCode, fields)
    : new Error(`the service says: ${message}`);
}

const readJson = async (response: IncomingMessage): Promise<unknown> => JSON.parse(await readText(response));

async function readText(response: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk;
  return body;
}
