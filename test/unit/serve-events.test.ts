// The end of the event stream's answer, to one who takes nothing: node's own ServerResponse on a socket that stands still.

import { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { LINGER_MS, MonitorStream } from '../../src/monitor/stream.ts';
import { serveEvents } from '../../src/service/serve-events.ts';

function standingReader() {
  const socket = new Duplex({ read() {}, write() {} }) as Socket;
  const request = new IncomingMessage(socket);
  const response = new ServerResponse(request);
  response.assignSocket(socket);
  return { request, response };
}

it('has flows told on while those that are known are found, however long that takes', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const stream = new MonitorStream('cafe');
    const { request, response } = standingReader();
    // The one before has gone.
    const nothing = () => {};
    stream.open({}, nothing, nothing).close();
    let resolve: (known: []) => void = nothing;
    const found = new Promise<[]>((done) => {
      resolve = done;
    });
    const parameters = new URLSearchParams({ follow: '0', known: 'counted' });
    const serving = serveEvents(stream, parameters, request, response, () => found);
    vi.advanceTimersByTime(2 * LINGER_MS);
    expect(stream.idle).toBe(false);
    resolve([]);
    await serving;
    expect([stream.counts.readers, response.writableEnded]).toEqual([0, true]);
    vi.advanceTimersByTime(LINGER_MS);
    expect(stream.idle).toBe(true);
    stream.complete();
  } finally {
    vi.useRealTimers();
  }
});

it('with follow=0 is over for a reader that stands still, whatever comes then', async () => {
  const { request, response } = standingReader();
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

it('looks through what is known already in turns, where the filter wants little of it', async () => {
  const { request, response } = standingReader();
  const stream = new MonitorStream('cafe');
  const ends = { protocol: 'tcp', local: '10.0.0.2:1', remote: '192.0.2.2:2' };
  const flow = { kind: 'flow.known', origin: 'local', queue: 'mine', ...ends } as const;
  let looked = 0;
  const known = (function* () {
    for (; looked < 5000; looked++) yield { ...flow, id: looked };
  })();
  const parameters = new URLSearchParams({ follow: '0', known: '1', queue: 'other' });
  await serveEvents(stream, parameters, request, response, async () => known);
  const first = looked;
  expect(first).toBeLessThan(2500);
  expect(response.writableEnded).toBe(false);
  // What comes meanwhile is no reason to look twice in one turn.
  stream.emit({ kind: 'warning', message: 'something' });
  await setImmediate();
  expect(looked - first).toBeLessThan(2500);
  for (let turn = 0; turn < 5; turn++) await setImmediate();
  expect([looked, response.writableEnded]).toEqual([5000, true]);
  stream.complete();
});
