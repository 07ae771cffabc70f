// Live rules by what a flow's first packet shows (dscp, mac, device), and by its conntrack helper, beside something that
// user space alone knows: each flow that a kernel rule would take, and no other, over both families, by an Ethernet and by a tunnel.
// Shown on the machine's own kernel (6.18).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AccessLink } from '../../src/lab/index.ts';
import { Gateway, INSIDE, WAN, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { soon } from './soon.ts';

const WORLD6 = '2001:db8:1::2';
/** The world's end of the tunnel. */
const FAR = '198.51.100.2';
const FAR6 = '2001:db8:2::2';
const MAC = '02:00:5e:10:00:01';
const POLICY = `link wan { device wan  download 50mbit  upload 50mbit }
link tunnel { device tun  download 50mbit  upload 50mbit }
queue mine { share 30% } queue voice { share 10% } queue guest { share 10% }
queue wing { share 10% } queue files { share 10% } queue theirs { share 10% }
rule voice when dscp ef and age >= 0s -> voice
rule files when helper in { ftp, "t*" } and age >= 0s -> files
rule guest when mac "02:00:5e:*" and remote.port 5001 and age >= 0s -> guest
rule wing  when device "la*" and (remote.port 5002 or local.port 51413) and age >= 0s -> wing
default local -> mine  remote -> theirs  new -> theirs
`;
/** By the number of each queue. */
const QUEUES = ['', 'mine', 'voice', 'guest', 'wing', 'files', 'theirs'];

const HELPER = ['ip', 'ip6']
  .map(
    (family) => `table ${family} h {
  ct helper t {
    type "tftp" protocol udp
  }
  chain p {
    type filter hook prerouting priority 0
    udp dport 5004 ct helper set "t"
  }
}
`,
  )
  .join('');

let gateway: Gateway;
let tunnel: AccessLink;
beforeEach(async () => {
  gateway = await Gateway.build();
  tunnel = await AccessLink.add(gateway.box, 'tun', gateway.world, 'tun', { rateMbit: 1000, rttMs: 0, fifoMs: 1000 });
});
afterEach(async () => {
  await tunnel.del();
  await gateway.close();
});

it('dscp, mac, device and helper in live rules', async () => {
  const { box, inside, world } = gateway;
  await inside.batch(`link set eth0 address ${MAC}`);
  await box.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
  await box.batch('address add 2001:db8:1::1/64 dev wan nodad', 'address add fd00:1::1/64 dev lan nodad');
  await inside.batch('address add fd00:1::2/64 dev eth0 nodad', 'route add default via fd00:1::1');
  await box.batch('address add 198.51.100.1/24 dev tun', 'address add 2001:db8:2::1/64 dev tun nodad');
  await world.batch(
    `address add ${WORLD6}/64 dev up0 nodad`,
    'route add fd00:1::/64 via 2001:db8:1::1',
    `address add ${FAR}/24 dev tun`,
    `address add ${FAR6}/64 dev tun nodad`,
  );
  const dscp = 'udp dport 5003 ip dscp set ef\n udp dport 5003 ip6 dscp set ef';
  for (const ns of [box, inside])
    await ns.feed(
      `table inet t {\n chain o {\n type filter hook output priority -150\n ${dscp}\n }\n }\n`,
      'nft',
      '-f',
      '-',
    );
  await box.feed(HELPER, 'nft', '-f', '-');
  const [here, there, own] = await Promise.all([Host.start(inside), Host.start(world), Host.start(box)]);
  for (const port of [5000, 5001, 5002, 5003, 5004])
    for (const address of [WORLD, WORLD6]) await there.serve('udp', address, port);
  for (const address of [FAR, FAR6]) await there.serve('udp', address, 5001);
  await here.serve('udp', INSIDE, 51413);
  await own.serve('udp', WAN, 51414);
  const file = join(gateway.folder, 'opening.gate');
  await writeFile(file, POLICY);
  await gateway.up(file);

  const queueOf = async (port: number, from: number, family: string): Promise<string | undefined> => {
    const list = await box.run('conntrack', '-L', '-f', family, '-p', 'udp', '--orig-port-src', `${from}`);
    const line = list.split('\n').find((one) => one.includes(`dport=${port} `));
    return QUEUES[Number(/mark=(\d+)/.exec(line ?? '')?.[1]) >> 24];
  };
  const wanted: [host: Host, address: string, port: number, queue: string][] = [
    ...[WORLD, WORLD6].flatMap((address): [Host, string, number, string][] => [
      [here, address, 5000, ''],
      [here, address, 5001, 'guest'],
      [here, address, 5002, 'wing'],
      [here, address, 5003, 'voice'],
      [here, address, 5004, 'files'],
      // From the box itself: no device, no hardware address, and not through prerouting.
      [own, address, 5001, ''],
      [own, address, 5002, ''],
      [own, address, 5003, 'voice'],
      [own, address, 5004, ''],
    ]),
    ...[FAR, FAR6].flatMap((address): [Host, string, number, string][] => [
      [here, address, 5001, 'guest'],
      [own, address, 5001, ''],
    ]),
    [there, WAN, 51413, 'wing'],
    [there, WAN, 51414, ''],
  ];
  for (const [i, [host, address, port]] of wanted.entries())
    await host.ask({ transport: 'udp', address, port, size: 100, times: 1, from: 6000 + i, keep: true });
  await soon(async () => {
    const queues = await Promise.all(
      wanted.map(([, address, port], i) => queueOf(port, 6000 + i, address.includes(':') ? 'ipv6' : 'ipv4')),
    );
    expect(queues).toEqual(wanted.map(([, , , queue]) => queue));
  });
  const { facts } = (await gateway.status()).service!;
  expect(facts).toMatchObject([{ word: 'dscp, mac, device', counts: { packets: wanted.length, overruns: 0 } }]);
});
