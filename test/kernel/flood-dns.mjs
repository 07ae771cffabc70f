// Asks a server for the address of a name, so many times at once, and waits a second for what comes back: flood-dns.mjs SERVER TIMES

import { createSocket } from 'node:dgram';

const [server, times] = process.argv.slice(2);
const name = ['before', 'example', 'org'].flatMap((label) => [label.length, ...Buffer.from(label)]);
const question = Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name, 0, 0, 1, 0, 1]);
const socket = createSocket('udp4');
for (let i = 0; i < Number(times); i++) {
  socket.send(question, 53, server);
  // The server's socket has room for some hundred.
  if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
}
setTimeout(() => socket.close(), 1000);
