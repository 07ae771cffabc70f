// A peer for real traffic. `echo.mjs serve tcp|udp HOST PORT` prints "ready" and sends back what comes;
// `echo.mjs ask tcp|udp HOST PORT BYTES SOURCE-PORT` sends that many bytes, waits until they are back, and ends with status 0.
import { createSocket } from 'node:dgram';
import { connect, createServer, isIPv6 } from 'node:net';

const [role, transport, host, ...numbers] = process.argv.slice(2);
const [port, size, localPort] = numbers.map(Number);
const family = isIPv6(host) ? 'udp6' : 'udp4';
const ready = () => console.log('ready');

if (role === 'serve' && transport === 'tcp') {
  createServer({ allowHalfOpen: true }, (peer) => peer.on('error', () => {}).pipe(peer)).listen(port, host, ready);
} else if (role === 'serve') {
  const socket = createSocket(family);
  socket.on('message', (message, peer) => socket.send(message, peer.port, peer.address));
  socket.bind(port, host, ready);
} else if (transport === 'tcp') {
  let back = 0;
  const socket = connect({ port, host, localPort }, () => socket.end(Buffer.alloc(size)));
  socket.on('data', (data) => {
    back += data.length;
  });
  socket.on('close', () => process.exit(back === size ? 0 : 1));
  socket.on('error', fail);
} else {
  // Datagrams may be lost: asked again until an answer is there, 20 times, 250 ms apart, or more where all is slow
  // (soon.ts): tests count packets. Connected, so that ICMP errors
  // come back.
  const socket = createSocket(family);
  let left = 20;
  const ask = () => (left-- > 0 ? socket.send(Buffer.alloc(size)) : fail(new Error('no answer')));
  socket.on('error', fail);
  socket.on('message', (message) => process.exit(message.length === size ? 0 : 1));
  socket.bind(localPort, () => socket.connect(port, host, ask));
  setInterval(ask, 250 * Number(process.env.HEADGATE_PATIENCE ?? 1));
}

function fail(error) {
  console.error(error.message);
  process.exit(1);
}
