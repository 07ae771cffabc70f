// The end of the event stream's answer, to one who takes nothing: node's own ServerResponse on a socket that stands still.

import { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { MonitorStream } from '../../src/monitor/stream.ts';
import { serveEvents } from '../../src/service/serve-events.ts';

it('with follow=0 is over for a reader that stands still, whatever comes then', async () => {
  const socket = new Duplex({ read() {}, write() {} }) as Socket;
  const request = new IncomingMessage(socket);
  const response = new ServerResponse(request);
  response.assignSocket(socket);
  const failed: unknown[] = [];
  response.on('error', (error) => failed.push(error));
  const stream = new MonitorStream('cafe');
  const tell = async () => {
    stream.emit({ kind: 'warning', message: 'something' });
    await setImmediate();
  };
  await tell();
  await serveEvents(stream, new URLSearchParams({ follow: '0' }), request, response, async () => []);
  expect(response.writableEnded).toBe(true);
  expect(response.writableFinished).toBe(false);
  await tell();
  expect(failed).toEqual([]);
  expect(stream.counts.readers).toBe(0);
  stream.complete();
});
