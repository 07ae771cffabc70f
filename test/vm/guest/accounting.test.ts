// What conntrack counts of a flow under each datapath: act_ct asks it about what arrives, and netfilter does again. The
// figures of docs/limits.md. Shown on Linux 6.1.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { BOX, Pair, WORLD } from './pair.ts';

const policy = (conntrack: string) => `link wan { device wan  download 50mbit  upload 50mbit  conntrack ${conntrack} }
queue q { share 50% }
default local -> q  remote -> q  new -> q
`;
const UDP = { transport: 'udp', port: 7000, size: 100, times: 10 } as const;
/** With its IP header. */
const BYTES = 128;
let from = 20_000;

let pair: Pair;
beforeAll(async () => {
  pair = await Pair.build();
  await pair.box.run('nft', 'add', 'table', 'inet', 't');
  await pair.box.feed('table inet t {\n  chain c {\n    ct state new\n  }\n}\n', 'nft', '-f', '-');
  await pair.box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1');
});
afterAll(() => pair?.close());

/** What conntrack has counted of the flow from that port: each way packets and bytes, the opener's first. */
async function counted(protocol: 'udp' | 'tcp'): Promise<number[]> {
  const line = await pair.box.run('conntrack', '-L', '-p', protocol, '--orig-port-src', `${from}`);
  return [...line.matchAll(/packets=(\d+) bytes=(\d+)/g)].flatMap(([, packets, bytes]) => [
    Number(packets),
    Number(bytes),
  ]);
}

const opened = {
  byBox: async () => {
    await pair.atBox.ask({ ...UDP, address: WORLD.v4, from: ++from });
    return counted('udp');
  },
  byWorld: async () => {
    await pair.atWorld.ask({ ...UDP, address: BOX.v4, from: ++from });
    return counted('udp');
  },
};

const once = [10, 10 * BYTES];
const twice = [20, 20 * BYTES];
const butFirst = [19, 19 * BYTES];
test.each([
  // The entry that act_ct makes of a first packet is thrown away, and its count with it.
  { datapath: 'ct', conntrack: 'query', byBox: [...once, ...twice], byWorld: [...butFirst, ...once] },
  { datapath: 'ct', conntrack: 'create', byBox: [...once, ...twice], byWorld: [...twice, ...once] },
  { datapath: 'mark', conntrack: 'query', byBox: [...once, ...once], byWorld: [...once, ...once] },
])('datapath $datapath, conntrack $conntrack', async ({ datapath, conntrack, byBox, byWorld }) => {
  await pair.up('--datapath', datapath, await pair.write(policy(conntrack)));
  expect({ byBox: await opened.byBox(), byWorld: await opened.byWorld() }).toEqual({ byBox, byWorld });
  await pair.down();
});
