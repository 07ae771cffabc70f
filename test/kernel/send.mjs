// Opens flows for nft-rules.test.ts: reads one JSON line a flow, {id, protocol: 'udp' | 'tcp', from, fromPort, to, toPort},
// sends its first packet, and prints its id when that is out.
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { createInterface } from 'node:readline';

createInterface(process.stdin).on('line', (line) => {
  const { id, protocol, from, fromPort, to, toPort } = JSON.parse(line);
  const done = () => console.log(id);
  if (protocol === 'tcp') {
    const socket = connect({ host: to, port: toPort, localAddress: from, localPort: fromPort });
    socket.on('error', () => {});
    // Its SYN has gone out by now: an address needs no looking up.
    setTimeout(() => {
      socket.destroy();
      done();
    }, 5);
  } else {
    const socket = createSocket(isIPv6(from) ? 'udp6' : 'udp4');
    socket.on('error', (error) => {
      console.error(error.message);
      process.exit(1);
    });
    socket.bind(fromPort, from, () => socket.send('x', toPort, to, () => socket.close(done)));
  }
});
console.log('ready');
