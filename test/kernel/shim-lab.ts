// What the shim's kernel tests share: one namespace with rules on its loopback device, traffic, and conntrack(8) as oracle.

import { execFileSync } from 'node:child_process';
import type { Observable, Subscription } from 'rxjs';
import type { ConntrackBatch, FlowKind, FlowRecord } from '../../src/kernel/index.ts';
import { Namespace } from '../../src/lab/index.ts';
import { formatAddress, type Tuple } from '../../src/model/index.ts';
import { identityOf } from '../unit/flow-records.ts';
import { tool } from './tools.ts';

// Ports of 127.0.0.9: 7005 is in zone 5; TCP to port 80 goes to 127.0.0.1:7000, and comes from 127.0.0.7.
const RULES = `
table inet watch {
  chain zone_out {
    type filter hook output priority -300
    udp dport 7005 ct zone set 5
  }
  chain zone_in {
    type filter hook prerouting priority -300
    udp dport 7005 ct zone set 5
  }
  chain prerouting {
    type filter hook prerouting priority 0
    ct state new counter
  }
  chain output {
    type filter hook output priority 0
    ct state new counter
  }
}
table ip nat {
  chain output {
    type nat hook output priority -100
    ip daddr 127.0.0.9 tcp dport 80 dnat to 127.0.0.1:7000
  }
  chain input {
    type nat hook postrouting priority 100
    ip daddr 127.0.0.1 tcp dport 7000 snat to 127.0.0.7
  }
}
`;

/** A namespace in which conntrack runs. */
export async function addTracked(label: string, sysctls: readonly string[] = []): Promise<Namespace> {
  const ns = await Namespace.add(label);
  try {
    for (const sysctl of sysctls) await ns.run('sysctl', '-qw', sysctl);
    await ns.feed(RULES, 'nft', '-f', '-');
    return ns;
  } catch (error) {
    await ns.del();
    throw error;
  }
}

const node = (ns: Namespace, program: string, ...args: (string | number)[]) =>
  ns.run(process.execPath, '-e', program, ...args.map(String));

/** One TCP connection, opened, answered with a few bytes, closed. `listen` is where the server is, behind NAT. */
export const talkTcp = (ns: Namespace, to: string, port: number, listen = to, listenPort = port) =>
  node(
    ns,
    `const [to, port, listen, listenPort] = process.argv.slice(1);
     const { createServer, connect } = require('node:net');
     const server = createServer((peer) => peer.end('hello')).listen(listenPort, listen, () => {
       connect(port, to).resume().on('close', () => server.close());
     });`,
    to,
    port,
    listen,
    listenPort,
  );

/** `count` datagrams to one port, without an answer. */
export const sendUdp = (ns: Namespace, to: string, port: number, count = 1) =>
  node(
    ns,
    `const [to, port, count] = process.argv.slice(1);
     const socket = require('node:dgram').createSocket(to.includes(':') ? 'udp6' : 'udp4');
     let left = Number(count);
     const next = () => (left-- > 0 ? socket.send('hello', port, to, next) : socket.close());
     next();`,
    to,
    port,
    count,
  );

/** Datagrams to `count` ports of 127.0.0.9 from 10000 on, as fast as it goes: as many flows. */
export const sendStorm = (ns: Namespace, count: number) =>
  node(
    ns,
    `const socket = require('node:dgram').createSocket('udp4');
     const count = Number(process.argv[1]);
     socket.bind(0, '127.0.0.1', async () => {
       for (let i = 0; i < count; ) {
         for (let n = 0; n < 200 && i < count; n++, i++) socket.send('x', 10000 + i, '127.0.0.9');
         await new Promise(setImmediate);
       }
       socket.close();
     });`,
    count,
  );

/** So many flows, while nothing else in this process runs. */
export function makeFlows(ns: Namespace, count: number): void {
  execFileSync('ip', ['netns', 'exec', ns.name, tool('gen_flows'), String(count), '0', '0']);
}

/** Packets of any IP protocol. */
export const sendRaw = (ns: Namespace, to: string, protocol: number, count = 1): Promise<string> =>
  ns.run(tool('gen_raw'), to, String(protocol), String(count));

/** A record's fields, copied. */
export interface Seen {
  readonly kind: FlowKind;
  readonly count: number;
  readonly interrupted: boolean;
  readonly time: number;
  readonly key: string;
  readonly id: number;
  readonly zone: number;
  readonly family: number;
  readonly protocol: number;
  readonly mark: number;
  readonly status: number | undefined;
  readonly timeout: number | undefined;
  readonly tcpState: number | undefined;
  readonly start: number | undefined;
  readonly stop: number | undefined;
  readonly counters: readonly (number | undefined)[];
  readonly original: Tuple;
  readonly reply: Tuple;
}

const copy = (r: FlowRecord): Seen => ({
  kind: r.kind,
  count: r.count,
  interrupted: r.interrupted,
  time: r.time,
  key: identityOf(r),
  id: r.id,
  zone: r.zone,
  family: r.family,
  protocol: r.protocol,
  mark: r.mark,
  status: r.status,
  timeout: r.timeout,
  tcpState: r.tcpState,
  start: r.start,
  stop: r.stop,
  counters: [r.originalPackets, r.originalBytes, r.replyPackets, r.replyBytes],
  original: r.original(),
  reply: r.reply(),
});

/** Subscribes and copies every record. */
export function collect(batches: Observable<ConntrackBatch>): {
  seen: Seen[];
  subscription: Subscription;
  done: Promise<Seen[]>;
} {
  const seen: Seen[] = [];
  let subscription!: Subscription;
  const done = new Promise<Seen[]>((resolve, reject) => {
    subscription = batches.subscribe({
      next: (batch) => {
        for (const record of batch) seen.push(copy(record));
      },
      error: reject,
      complete: () => resolve(seen),
    });
  });
  done.catch(() => {}); // whoever waits for it hears of it
  return { seen, subscription, done };
}

export const formatTuple = ({ source, destination, sourcePort, destinationPort }: Tuple): string =>
  `${formatAddress(source)}${sourcePort === undefined ? '' : `:${sourcePort}`} > ${formatAddress(destination)}${destinationPort === undefined ? '' : `:${destinationPort}`}`;

const TCP_STATES = ['NONE', 'SYN_SENT', 'SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT', 'LAST_ACK', 'TIME_WAIT'];
const IPS_SEEN_REPLY = 2;
const IPS_ASSURED = 4;

/** An entry as conntrack(8) tells it in XML. */
export interface Told {
  readonly id: number;
  readonly zone: number;
  readonly family: number;
  readonly protocol: number;
  readonly original: string;
  readonly reply: string;
  readonly mark: number;
  readonly state: string | undefined;
  readonly assured: boolean;
  readonly unreplied: boolean;
  readonly counters: readonly (number | undefined)[];
}

/** The same of a record of ours. */
export const told = (r: Seen): Told => ({
  id: r.id,
  zone: r.zone,
  family: r.family,
  protocol: r.protocol,
  original: formatTuple(r.original),
  reply: formatTuple(r.reply),
  mark: r.mark,
  state: r.tcpState === undefined ? undefined : TCP_STATES[r.tcpState],
  assured: ((r.status ?? 0) & IPS_ASSURED) !== 0,
  unreplied: ((r.status ?? 0) & IPS_SEEN_REPLY) === 0,
  counters: r.counters,
});

/** `conntrack -L -o xml,id`, and each entry's timeout by its id. */
export async function listByTool(
  ns: Namespace,
  ...args: string[]
): Promise<{ entries: Told[]; timeouts: Map<number, number> }> {
  const xml = await ns.run('conntrack', '-L', '-o', 'xml,extended,id', ...args);
  const timeouts = new Map<number, number>();
  const entries = (xml.match(/<flow>.*?<\/flow>/gs) ?? []).map((flow) => {
    const [original, reply, rest] = [...flow.matchAll(/<meta.*?<\/meta>/gs)].map(([meta]) => meta) as [
      string,
      string,
      string,
    ];
    const number = (text: string, tag: string) => {
      const value = new RegExp(`<${tag}>(\\d+)<`).exec(text)?.[1];
      return value === undefined ? undefined : Number(value);
    };
    const tuple = (meta: string) => {
      const end = (address: string, port: string) => {
        const at = number(meta, port);
        return `${new RegExp(`<${address}>(.*?)<`).exec(meta)![1]}${at === undefined ? '' : `:${at}`}`;
      };
      return `${end('src', 'sport')} > ${end('dst', 'dport')}`;
    };
    const id = number(rest, 'id')!;
    timeouts.set(id, number(rest, 'timeout')!);
    return {
      id,
      zone: number(rest, 'zone') ?? 0,
      family: /layer3 protonum="2"/.test(original) ? 4 : 6,
      protocol: Number(/layer4 protonum="(\d+)"/.exec(original)![1]),
      original: tuple(original),
      reply: tuple(reply),
      mark: number(rest, 'mark') ?? 0,
      state: /<state>(\w+)</.exec(rest)?.[1],
      assured: rest.includes('<assured/>'),
      unreplied: rest.includes('<unreplied/>'),
      counters: [
        number(original, 'packets'),
        number(original, 'bytes'),
        number(reply, 'packets'),
        number(reply, 'bytes'),
      ],
    };
  });
  return { entries, timeouts };
}

export const byId = <T extends { readonly id: number }>(all: readonly T[]): T[] => [...all].sort((a, b) => a.id - b.id);
