// Opens that many flows of conntrack with one datagram each, to 127.0.0.9: `open-flows.mjs COUNT`. Who drops them has to
// stand behind conntrack, or each is answered by an ICMP error.
import { createSocket } from 'node:dgram';

/** Destination ports of one socket, and datagrams on their way at a time: the receive buffer of the loopback is small. */
const [PORTS, AT_ONCE] = [50_000, 500];

for (let [left, source] = [Number(process.argv[2]), 20_000]; left > 0; source++) {
  const socket = createSocket('udp4');
  await new Promise((bound) => socket.bind(source, '127.0.0.1', bound));
  const count = Math.min(left, PORTS);
  for (let at = 0; at < count; at += AT_ONCE) {
    const ports = Array.from({ length: Math.min(AT_ONCE, count - at) }, (_, i) => 10_000 + at + i);
    await Promise.all(ports.map((port) => new Promise((sent) => socket.send('x', port, '127.0.0.9', sent))));
  }
  socket.close();
  left -= count;
}
