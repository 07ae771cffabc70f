// A BitTorrent tracker (BEP 3, 23): `tracker.mjs ADDRESS PORT` prints "ready", then a line for each peer that it hears of first.
import { createServer } from 'node:http';

const [address, port] = process.argv.slice(2);
/** By torrent the peers, as six bytes each. */
const swarms = new Map();

createServer((request, response) => {
  // What is escaped are bytes, and no UTF-8.
  const fields = Object.fromEntries(
    (request.url.split('?')[1] ?? '').split('&').map((field) => field.split('=').map((text) => unescape(text))),
  );
  const own = request.socket.remoteAddress.replace('::ffff:', '');
  const peers = swarms.get(fields.info_hash) ?? new Map();
  swarms.set(fields.info_hash, peers);
  const name = `${own}:${fields.port}`;
  if (!peers.has(name)) console.log(name);
  const number = Number(fields.port);
  peers.set(name, Buffer.from([...own.split('.').map(Number), number >> 8, number & 255]));
  if (fields.event === 'stopped') peers.delete(name);
  const others = Buffer.concat([...peers].flatMap(([other, bytes]) => (other === name ? [] : [bytes])));
  const head = Buffer.from(`d8:intervali10e5:peers${others.length}:`);
  response.end(Buffer.concat([head, others, Buffer.from('e')]));
}).listen(Number(port), address, () => console.log('ready'));
