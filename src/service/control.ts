import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Observable } from 'rxjs';
import { listenLocal, requestLocal } from '../kernel/index.ts';
import type { MonitorItem } from '../monitor/index.ts';
import type { ServiceStatus } from './status.ts';

/** Bytes that may wait for one slow reader; past that, items are not sent to it but counted. */
export const READER_BUFFER = 1 << 20;

/** Serves `GET /status` as JSON and `GET /events` as one JSON item a line, for root on this machine. */
export function serveControl(
  status: () => ServiceStatus,
  items: Observable<MonitorItem>,
): Promise<{ close(): Promise<void> }> {
  return listenLocal((request: IncomingMessage, response: ServerResponse) => {
    if (request.method !== 'GET') {
      response.writeHead(405, { allow: 'GET' }).end();
      return;
    }
    switch (request.url) {
      case '/status':
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(status()));
        break;
      case '/events':
        follow(items, response);
        break;
      default:
        response.writeHead(404).end();
    }
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
    const response = await requestLocal('/status');
    let body = '';
    for await (const chunk of response.setEncoding('utf8')) body += chunk;
    return JSON.parse(body) as ServiceStatus;
  } catch {
    return undefined;
  }
}
