// Asks a DNS server for a name, and prints the addresses that it gave:
// `ask-dns.mjs udp|tcp SERVER NAME TYPE`.
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import dns from 'dns-packet';

const [transport, server, name, type] = process.argv.slice(2);
const query = {
  type: 'query',
  id: 1 + Math.floor(Math.random() * 65_000),
  flags: dns.RECURSION_DESIRED,
  questions: [{ type, name }],
  additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options: [] }],
};

function show(message) {
  console.log(
    dns
      .decode(message)
      .answers.map(({ data }) => data)
      .join(' '),
  );
  process.exit(0);
}

if (transport === 'tcp') {
  let got = Buffer.alloc(0);
  connect(53, server)
    .on('data', (data) => {
      got = Buffer.concat([got, data]);
      if (got.length > 1 && got.length >= 2 + got.readUInt16BE(0)) show(got.subarray(2));
    })
    .on('error', fail)
    .write(dns.streamEncode(query));
} else {
  const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
  let left = 20;
  const ask = () => (left-- > 0 ? socket.send(dns.encode(query), 53, server) : fail(new Error('no answer')));
  socket.on('message', show).on('error', fail);
  ask();
  setInterval(ask, 250 * Number(process.env.HEADGATE_PATIENCE ?? 1));
}

function fail(error) {
  console.error(error.message);
  process.exit(1);
}
