// A host that does as it is told, one order a line of standard input, and answers each with a line: {"id", "error"?, "result"?}.
//   {"id": 1, "do": "serve", "transport": "udp"|"tcp", "address": ..., "port": ...}   answers what comes with as much
//   {"id": 2, "do": "sink", "address": ..., "port": ...}                              takes datagrams, and says nothing
//   {"id": 5, "do": "heard", "address": ..., "port": ...}                             answers the numbers of what a sink took
//   {"id": 3, "do": "ask", "transport": ..., "address": ..., "port": ..., "size": ..., "times": ..., "from"?: port, "source"?: address, "keep"?: true}
//   {"id": 7, "do": "settled"}                                                        when no TCP connection is opening or closing
//   {"id": 4, "do": "tell", "address": ..., "port": ..., "times": ..., "from"?: port, "size"?: bytes} sends numbered datagrams, waits for nothing
//   {"id": 6, "do": "close", "from": port}                                            ends a connection that was kept
// One process for a whole suite: where the machine is emulated, a start takes seconds.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, isIPv6 } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const datagrams = (address) => createSocket(isIPv6(address) ? { type: 'udp6', ipv6Only: true } : 'udp4');

/** Connections that stay, by their own port and the other end. */
const kept = new Map();

/** A line of /proc/net/tcp in another state than ESTABLISHED, TIME_WAIT, CLOSE and LISTEN (include/net/tcp_states.h). */
const CHANGING = /^ *\d+: \S+ \S+ (?!01|06|07|0A)/m;

/** Numbers that came to a sink, by its address and port. */
const heard = new Map();

const orders = {
  async serve({ transport, address, port }) {
    if (transport === 'tcp') {
      const server = createServer({ allowHalfOpen: true }, (peer) => peer.on('error', () => {}).pipe(peer));
      await once(server.listen(port, address), 'listening');
    } else {
      const socket = datagrams(address);
      socket.on('message', (message, peer) => socket.send(message, peer.port, peer.address));
      await once(socket.bind(port, address), 'listening');
    }
  },
  async sink({ address, port }) {
    const numbers = [];
    heard.set(`${address} ${port}`, numbers);
    const socket = datagrams(address);
    socket.on('message', (message) => numbers.push(message.readUInt32BE(0)));
    await once(socket.bind(port, address), 'listening');
    socket.setRecvBufferSize(1 << 20);
  },
  async heard({ address, port }) {
    return heard.get(`${address} ${port}`);
  },
  async settled() {
    for (const table of ['/proc/self/net/tcp', '/proc/self/net/tcp6'])
      while (CHANGING.test(await readFile(table, 'utf8'))) await sleep(5);
  },
  async ask({ transport, address, port, size, times, from = 0, source, keep }) {
    if (transport === 'tcp') {
      const name = `${from} ${address} ${port}`;
      const before = from === 0 ? undefined : kept.get(name);
      const socket = before ?? connect({ port, host: address, localPort: from });
      if (!before) await once(socket, 'connect');
      if (keep) kept.set(name, socket);
      let back = 0;
      const all = new Promise((resolve) => {
        socket.on('data', (data) => {
          back += data.length;
          if (back >= size) resolve();
        });
      });
      socket[keep ? 'write' : 'end'](Buffer.alloc(size));
      await Promise.race(keep ? [all, once(socket, 'close')] : [once(socket, 'close')]);
      if (back !== size) throw new Error(`${back} bytes came back`);
      return;
    }
    const socket = datagrams(address);
    try {
      // Connected, so that ICMP errors come back.
      socket.bind(from, source);
      await once(socket, 'listening');
      socket.connect(port, address);
      await once(socket, 'connect');
      for (let i = 0; i < times; i++) {
        const answer = once(socket, 'message', { signal: AbortSignal.timeout(120_000) });
        socket.send(Buffer.alloc(size));
        await answer;
      }
    } finally {
      if (!keep) socket.close();
    }
  },
  async close({ from }) {
    for (const [name, socket] of kept) if (name.startsWith(`${from} `)) await once(socket.end(), 'close');
  },
  async tell({ address, port, times, from = 0, size = 20 }) {
    const socket = datagrams(address);
    socket.bind(from);
    await once(socket, 'listening');
    for (let i = 0; i < times; i++) {
      const datagram = Buffer.alloc(size);
      datagram.writeUInt32BE(i);
      await new Promise((sent, failed) => {
        socket.send(datagram, port, address, (error) => (error ? failed(error) : sent()));
      });
    }
    socket.close();
  },
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, do: name, ...order } = JSON.parse(line);
  const answer = (more) => console.log(JSON.stringify({ id, ...more }));
  orders[name](order).then(
    (result) => answer({ result }),
    (error) => answer({ error: error.message }),
  );
});
console.log('{"id":0}');
