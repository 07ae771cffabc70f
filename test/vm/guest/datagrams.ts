// Numbered UDP datagrams of 1000 bytes, sent once each, and who heard which.

import { type Namespace, Program } from '../../../src/lab/index.ts';
import { PATIENCE } from '../../kernel/soon.ts';

export interface Ends {
  readonly from: string;
  readonly fromPort: number;
  readonly to: string;
  readonly port: number;
}

const family = (address: string) => (address.includes(':') ? 'udp6' : 'udp4');

/** Sends `count` datagrams as fast as they go, with the numbers 0, 1, 2, ... */
export async function send(ns: Namespace, { from, fromPort, to, port }: Ends, count: number): Promise<void> {
  const script = `
const socket = require('node:dgram').createSocket('${family(from)}');
socket.bind(${fromPort}, '${from}', async () => {
  for (let i = 0; i < ${count}; i++) {
    const datagram = Buffer.alloc(1000);
    datagram.writeUInt32BE(i);
    await new Promise((resolve) => socket.send(datagram, ${port}, '${to}', resolve));
  }
  socket.close();
});
`;
  await ns.run(process.execPath, '-e', script);
}

/** The numbers of the datagrams that reach a socket, in their order, as they come. Ends with the namespace. */
export async function listen(ns: Namespace, host: string, port: number): Promise<readonly number[]> {
  const script = `
const socket = require('node:dgram').createSocket('${family(host)}');
socket.on('message', (datagram) => console.log('heard ' + datagram.readUInt32BE(0)));
socket.bind(${port}, '${host}', () => { socket.setRecvBufferSize(1 << 20); console.log('ready'); });
`;
  const program = Program.start('listener', [process.execPath, '-e', script], { netns: ns.name });
  const heard: number[] = [];
  program.onLine((line) => line.startsWith('heard ') && heard.push(Number(line.slice(6))));
  await program.line((line) => line === 'ready', 10_000 * PATIENCE);
  return heard;
}

/** The numbers of the datagrams in a capture of Ethernet frames (pcap-savefile(5), of this machine's byte order). */
export function readCapture(file: Buffer): number[] {
  const numbers: number[] = [];
  const [FILE_HEADER, RECORD_HEADER, ETHERNET, UDP] = [24, 16, 14, 8];
  for (let at = FILE_HEADER; at + RECORD_HEADER <= file.length; ) {
    const length = file.readUInt32LE(at + 8);
    const ip = at + RECORD_HEADER + ETHERNET;
    const header = file[ip]! >> 4 === 6 ? 40 : (file[ip]! & 15) * 4;
    numbers.push(file.readUInt32BE(ip + header + UDP));
    at += RECORD_HEADER + length;
  }
  return numbers;
}
