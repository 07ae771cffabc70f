/**
 * The hosts' application: real TCP connections, counted. A program of its own, started inside a namespace:
 *
 *   node traffic.js serve ADDRESS PORT          answers any number of connections
 *   node traffic.js fetch ADDRESS PORT COUNT    opens COUNT connections and receives without end
 *   node traffic.js push  ADDRESS PORT COUNT    opens COUNT connections and sends without end
 *
 * A connection's first byte, from who opened it, says what it wants. Standard output is JSON lines: {"kind":"ready"}
 * once it listens or all are connected; every {@link SAMPLE_MS} {"kind":"sample","at":MS,"connections":[{"id","received","sent"}]}
 * with the bytes of each open connection so far and the time of CLOCK_MONOTONIC. Ends when standard input closes.
 */
import { connect, createServer, type Socket } from 'node:net';

export const SAMPLE_MS = 200;
/** More connections than this are refused. */
const MOST_CONNECTIONS = 256;
const FETCH = 0x46;
const PUSH = 0x50;
const payload = Buffer.alloc(64 * 1024, 'headgate ');

interface Connection {
  readonly id: number;
  readonly socket: Socket;
}

const open = new Set<Connection>();
let opened = 0;

const tell = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);

function fail(problem: string): never {
  process.stderr.write(`${problem}\n`);
  process.exit(1);
}

function follow(socket: Socket): void {
  const connection = { id: ++opened, socket };
  open.add(connection);
  socket.setNoDelay(true);
  socket.on('error', () => {}); // 'close' follows
  socket.on('close', () => open.delete(connection));
}

/** Keeps the socket's buffer full from now on. */
function sendWithoutEnd(socket: Socket): void {
  const fill = () => {
    while (!socket.destroyed && socket.write(payload)) {
      // until the buffer is full
    }
  };
  socket.on('drain', fill);
  fill();
}

function serve(address: string, port: number): void {
  const server = createServer((socket) => {
    if (open.size >= MOST_CONNECTIONS) return socket.destroy();
    follow(socket);
    socket.once('data', (first) => {
      if (first[0] === FETCH) sendWithoutEnd(socket);
      socket.resume();
    });
  });
  server.on('error', (error) => fail(error.message));
  server.listen(port, address, () => tell({ kind: 'ready' }));
}

function openAll(wish: number, address: string, port: number, count: number): void {
  let ready = 0;
  for (let i = 0; i < count; i++) {
    const socket = connect({ host: address, port });
    follow(socket);
    socket.on('error', (error) => fail(`${address} port ${port}: ${error.message}`));
    socket.on('end', () => fail(`${address} port ${port}: the other side closed the connection`));
    socket.resume();
    socket.on('connect', () => {
      socket.write(Buffer.of(wish));
      if (wish === PUSH) sendWithoutEnd(socket);
      if (++ready === count) tell({ kind: 'ready' });
    });
  }
}

function sample(): void {
  const connections = Array.from(open, ({ id, socket }) => ({
    id,
    received: socket.bytesRead,
    sent: socket.bytesWritten,
  }));
  tell({ kind: 'sample', at: Number(process.hrtime.bigint()) / 1e6, connections });
}

const [what, address, port, count] = process.argv.slice(2);
if (what === 'serve' && port) serve(address!, Number(port));
else if (what === 'fetch' && count) openAll(FETCH, address!, Number(port), Number(count));
else if (what === 'push' && count) openAll(PUSH, address!, Number(port), Number(count));
else fail('usage: traffic.js serve ADDRESS PORT | fetch ADDRESS PORT COUNT | push ADDRESS PORT COUNT');

setInterval(sample, SAMPLE_MS);
// A Ctrl-C on the terminal is for the demo; it then ends us in its own order.
process.on('SIGINT', () => {});
process.stdout.on('error', () => process.exit(0));
process.stdin.on('close', () => process.exit(0)).resume();
