// Sends requests to the page's port byte for byte as they are given, one JSON object {port, requests: [text]} as argument, each on
// a connection of its own; prints what came back, [{status, headers, body}]; status 0 where the connection was closed without.
// `held` is asked before all, `idle` connections say nothing, and it is told whether these are open at the end.

import { connect } from 'node:net';

const { port, host = '127.0.0.1', requests, held, idle = 0 } = JSON.parse(process.argv[2]);
const holding = held && connect({ port, host }, () => holding.write(held));
if (holding) await new Promise((resolve) => holding.once('data', resolve));
const quiet = Array.from({ length: idle }, () => connect({ port, host }).on('error', () => {}));
await Promise.all(
  quiet.map((socket) => new Promise((resolve) => socket.once('connect', resolve).once('error', resolve))),
);
const ask = (text) =>
  new Promise((resolve) => {
    let got = '';
    const socket = connect({ port, host }, () => socket.write(text));
    socket.setEncoding('utf8').on('data', (data) => (got += data));
    socket
      .on('error', () => {})
      .on('close', () => {
        const [head = '', body = ''] = got.split(/\r\n\r\n(.*)/s);
        const [first, ...rest] = head.split('\r\n');
        const headers = Object.fromEntries(rest.map((line) => line.toLowerCase().split(/: (.*)/)));
        const whole = headers['transfer-encoding'] === 'chunked' ? joined(body) : body;
        resolve({ status: Number(first.split(' ')[1] ?? 0), headers, body: whole });
      });
    setTimeout(() => socket.destroy(), 20_000).unref();
  });
function joined(body) {
  const [, length, rest] = /^([\da-f]+)\r\n(.*)$/is.exec(body) ?? [];
  const size = Number.parseInt(length, 16);
  return size > 0 ? rest.slice(0, size) + joined(rest.slice(size + 2)) : '';
}
const answers = [];
for (const text of requests) answers.push(await ask(text));
// What was closed meanwhile is known.
await new Promise((resolve) => setImmediate(resolve));
const isOpen = (socket) => !socket.destroyed && socket.readable;
console.log(JSON.stringify({ answers, open: quiet.filter(isOpen).length, held: holding && isOpen(holding) }));
process.exit();
