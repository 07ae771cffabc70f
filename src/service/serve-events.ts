import type { IncomingMessage, ServerResponse } from 'node:http';
import { HeadgateError } from '../model/index.ts';
import { type FlowEvent, type Kept, parseFilter, parseSince, type ReadOptions } from '../monitor/index.ts';
import type { MonitorStream } from '../monitor/stream.ts';

/**
 * Answers a request for the event stream: NDJSON, or server-sent events where `Accept` says `text/event-stream`. Parameters:
 * `since=SEQ` or `SESSION-SEQ` (of server-sent events, the header `Last-Event-ID` does the same when they come back), `follow=0`
 * to end after what is there, `known=1` to be told first, as `flow.known`, each flow that is followed already (`known=counted`: with
 * what the kernel has counted of it; these have the number of the item before them), and those of a filter (src/monitor/filter.ts),
 * each as often as one likes.
 *
 * A reader gets what its socket takes, and is told what it missed; nothing waits for it, and nothing is kept for it.
 *
 * @throws HeadgateError HG_USAGE
 */
export async function serveEvents(
  stream: Pick<MonitorStream, 'open' | 'session' | 'idle'>,
  parameters: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse,
  getKnown: (counted: boolean) => Promise<Iterable<FlowEvent>>,
): Promise<void> {
  const { follow, known, ...options } = readOptions(parameters, request.headers['last-event-id']);
  const sse = request.headers.accept?.includes('text/event-stream') === true;
  const format = sse ? (kept: Kept) => formatSse(stream.session, kept) : ({ line }: Kept) => `${line}\n`;
  const asking = known === null ? undefined : getKnown(known === 'counted');
  // To find them may take longer than flows are told on for one who has gone.
  const held = asking && !stream.idle ? stream.open({ filter: options.filter }, nothing, nothing) : undefined;
  const flows = await asking?.finally(() => held?.close());
  // It has gone meanwhile.
  if (response.destroyed) return;
  let full = false;
  let turn: NodeJS.Immediate | undefined;
  let ended = !follow;
  const pump = () => {
    clearImmediate(turn);
    turn = undefined;
    while (!full && !response.writableEnded && !response.destroyed) {
      const kept = reader.next();
      if (kept) full = !response.write(format(kept));
      else if (reader.isLooking) return goOn();
      else if (!ended) return;
      else {
        // One that reads no further may keep the connection; what comes is not for it any more.
        reader.close();
        response.end();
      }
    }
  };
  const goOn = () => {
    // What comes in one go is sent in one.
    if (!turn && !full) turn = setImmediate(pump);
  };
  const reader = stream.open({ ...options, known: flows }, goOn, () => {
    ended = true;
    pump();
  });
  response.writeHead(200, {
    'content-type': sse ? 'text/event-stream' : 'application/x-ndjson',
    'cache-control': 'no-store',
  });
  response.flushHeaders();
  response.on('drain', () => {
    full = false;
    pump();
  });
  response.once('close', () => reader.close());
  pump();
}

/** The number comes back in `Last-Event-ID`. */
const formatSse = (session: string, { item, line }: Kept): string =>
  `id: ${session}-${item.seq}\nevent: ${item.kind}\ndata: ${line}\n\n`;

function readOptions(
  parameters: URLSearchParams,
  lastId: string | string[] | undefined,
): Omit<ReadOptions, 'known'> & { readonly follow: boolean; readonly known: string | null } {
  const filter = parseFilter([...parameters].filter(([key]) => !OF_READING.includes(key)));
  if (typeof filter === 'string') throw usage(filter);
  const text = typeof lastId === 'string' ? lastId : parameters.get('since');
  const since = text === null ? undefined : parseSince(text);
  if (text !== null && !since) throw usage(`since ${text}: write a sequence number, or SESSION-NUMBER`);
  const known = parameters.get('known');
  if (known !== null && known !== '1' && known !== 'counted') throw usage(`known=${known}: 1, or counted`);
  const follow = parameters.get('follow') !== '0';
  // Who does not follow asks for what is there.
  return { filter, since: since ?? (follow ? undefined : { seq: 0 }), follow, known };
}

const nothing = () => {};

/** Parameters that are none of a filter's. */
const OF_READING: readonly string[] = ['since', 'follow', 'known'];

const usage = (problem: string): HeadgateError => new HeadgateError('HG_USAGE', { problem, command: 'events' });
