// Lets what speaks TCP alone reach a unix socket: `unix-proxy.mjs PORT PATH`.
import { connect, createServer } from 'node:net';

const [port, path] = process.argv.slice(2);
createServer((socket) => {
  const other = connect(path);
  socket.pipe(other).pipe(socket);
  socket.on('error', () => other.destroy());
  other.on('error', () => socket.destroy());
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
