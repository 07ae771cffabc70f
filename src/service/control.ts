import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Observable } from 'rxjs';
import { listenLocal, requestLocal } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import type { MonitorItem } from '../monitor/index.ts';
import type { ReloadResult } from './reload.ts';
import type { ServiceStatus } from './status.ts';

/** Bytes that may wait for one slow reader; past that, items are not sent to it but counted. */
export const READER_BUFFER = 1 << 20;

/** What the control socket gives access to. */
export interface Controlled {
  readonly status: () => ServiceStatus;
  readonly reload: () => Promise<ReloadResult>;
  readonly items: Observable<MonitorItem>;
}

/**
 * Serves `GET /status` and `POST /reload` as JSON and `GET /events` as one JSON item a line, for root on this machine.
 */
export function serveControl({ status, reload, items }: Controlled): Promise<{ close(): Promise<void> }> {
  const json = (response: ServerResponse, value: unknown) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  const answers: Readonly<Record<string, (response: ServerResponse) => void>> = {
    'GET /status': (response) => json(response, status()),
    'GET /events': (response) => follow(items, response),
    'POST /reload': (response) => void reload().then((result) => json(response, result)),
  };
  return listenLocal(({ method, url }: IncomingMessage, response: ServerResponse) => {
    const answer = answers[`${method} ${url}`];
    if (answer) answer(response);
    else response.writeHead(404).end();
  });
}

/** Sends items to one reader, which never slows anybody else: what does not fit is counted, and said when there is room again. */
function follow(items: Observable<MonitorItem>, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' }).flushHeaders();
  let missed = 0;
  const following = items.subscribe({
    next: (item) => {
      if (response.writableLength > READER_BUFFER) {
        missed++;
        return;
      }
      if (missed > 0) {
        response.write(
          `${JSON.stringify({ seq: item.seq, time: item.time, kind: 'missed', count: missed } satisfies MonitorItem)}\n`,
        );
        missed = 0;
      }
      response.write(`${JSON.stringify(item)}\n`);
    },
    complete: () => response.end(),
  });
  response.once('close', () => following.unsubscribe());
}

/** What the service of this network namespace says of itself; undefined where none runs, or none that answers. */
export async function requestStatus(): Promise<ServiceStatus | undefined> {
  try {
    return (await readJson(await requestLocal('/status'))) as ServiceStatus;
  } catch {
    return undefined;
  }
}

/** Has the service of this network namespace read its policy anew. @throws HeadgateError HG_NOT_RUNNING, HG_NOT_ROOT */
export const requestReload = async (): Promise<ReloadResult> =>
  (await readJson(await requestLocal('/reload', 'POST')).catch((cause: Error) => {
    throw new HeadgateError('HG_NOT_RUNNING', {}, { cause });
  })) as ReloadResult;

async function readJson(response: IncomingMessage): Promise<unknown> {
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk;
  return JSON.parse(body);
}
