// Rules by whose the local socket is, on sockets of processes in cgroups made for that, as systemd makes them; no systemd
// is needed. Shown on the machine's own kernel (6.18).

import { mkdir, rmdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { processSource } from '../../src/facts/who.ts';
import { getCgroupRoot, SocketFinder } from '../../src/kernel/index.ts';
import { Program } from '../../src/lab/index.ts';
import { flowOf } from '../unit/swarm-scenes.ts';
import { Gateway, HEADGATE, WAN, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { PATIENCE, soon } from './soon.ts';

const POLICY = `link wan { device wan  download 50mbit  upload 50mbit }
queue mine { share 50% }  queue theirs { share 10% }
queue seed { share 5% }  queue people { share 5% }  queue deep { share 5% }  queue tool { share 5% }
rule client when unit "qbittorrent.service" -> seed
rule people when user nobody -> people
rule deep   when cgroup "/hg-*/deep/*"      -> deep
rule tool   when process "hg-*" -> tool
default local -> mine  remote -> theirs  new -> theirs
`;
const WORLD6 = '2001:db8:1::2';
const WAN6 = '2001:db8:1::1';
const INSIDE6 = 'fd00:1::2';

let gateway: Gateway;
let program: Program | undefined;
let world: Host;
let inside: Host;
/** In the unit, in another cgroup by the user's number, in one below that; in one with others. */
let client: Host;
let person: Host;
let deep: Host;
let tool: Host;
let other: Host;
let mixed: Host;
const folders: string[] = [];
beforeAll(async () => {
  gateway = await Gateway.build();
  await gateway.box.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
  await gateway.box.batch(`address add ${WAN6}/64 dev wan nodad`, 'address add fd00:1::1/64 dev lan nodad');
  await gateway.inside.batch(`address add ${INSIDE6}/64 dev eth0 nodad`, 'route add default via fd00:1::1');
  await gateway.world.batch(`address add ${WORLD6}/64 dev up0 nodad`, `route add fd00:1::/64 via ${WAN6}`);
  const own = `hg-${process.pid}`;
  const folder = (...path: string[]) => addCgroup(own, ...path);
  await folder();
  await folder('deep');
  await folder('system.slice');
  const { box } = gateway;
  const crowd = await folder('crowd');
  await Host.start(box, ...into(crowd));
  [world, inside, client, person, deep, tool, other, mixed] = await Promise.all([
    Host.start(gateway.world),
    Host.start(gateway.inside),
    Host.start(box, ...into(await folder('system.slice', 'qbittorrent.service'))),
    Host.start(box, 'setpriv', '--reuid', 'nobody', '--clear-groups'),
    Host.start(box, ...into(await folder('deep', 'er'))),
    Host.start(box, ...(await named('hg-tool-of-fifteen', await folder('tools')))),
    Host.start(box, ...into(await folder('system.slice', 'nginx.service'))),
    Host.start(box, ...(await named('hg-mixed', crowd))),
  ]);
  for (const transport of ['tcp', 'udp'] as const)
    for (const address of [WORLD, WORLD6]) await world.serve(transport, address, 5000);
  // One socket for both families.
  await client.serve('tcp', '::', 51414);
  await client.serve('udp', WAN, 51414);
  await client.serve('udp', WAN6, 51414);
  await other.serve('tcp', '::', 8080);
  // The same port on a host behind the box, whose flows are none of the box's own.
  await inside.serve('tcp', INSIDE6, 51414);
  await writeFile(join(gateway.folder, 'test.gate'), POLICY);
  // `ip netns exec` would hide /sys/fs/cgroup from it.
  const argv = [
    'nsenter',
    `--net=${box.path}`,
    ...HEADGATE,
    'up',
    '--json',
    join(gateway.folder, 'test.gate'),
  ] as const;
  program = Program.start('headgate up', argv);
  await program.line((line) => line.includes('"kind":"ready"'), 20_000 * PATIENCE);
});
afterAll(async () => {
  await program?.stop('SIGTERM');
  await gateway?.close();
  for (const folder of folders.reverse()) await soon(() => rmdir(folder));
});

async function addCgroup(...path: string[]): Promise<string> {
  const root = await getCgroupRoot();
  expect(root, 'cgroup2 has to be mounted').toBeDefined();
  const folder = join(root!, ...path);
  await mkdir(folder);
  folders.push(folder);
  return folder;
}

/** Has what is started behind it begin in a cgroup. */
const into = (folder: string): string[] => ['sh', '-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"', folder];

/** The same under another name than node's. */
async function named(name: string, folder: string): Promise<string[]> {
  const link = join(gateway.folder, name);
  await symlink(process.execPath, link);
  return ['sh', '-c', 'echo $$ >"$0/cgroup.procs"; link=$1; shift 2; exec "$link" "$@"', folder, link];
}

const queueOf = async (flow: string): Promise<string> => {
  const { stdout, stderr } = await gateway.headgate('explain', '--live', flow, '--json');
  return (JSON.parse(stdout)[0]?.queue as string | undefined) ?? stderr;
};
const goesTo = (queue: string, flow: string) => soon(async () => expect(await queueOf(flow)).toBe(queue));
const end = (address: string, port: number) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);

describe.each(['tcp', 'udp'] as const)('a rule by unit takes flows of %s', (transport) => {
  it.each([
    ['IPv4', WAN, WORLD],
    ['IPv6', WAN6, WORLD6],
  ])('that the unit opens, and that it accepts, over %s', async (_, here, there) => {
    const from = transport === 'tcp' ? 7001 : 7002;
    await client.ask({ transport, address: there, port: 5000, size: 100, times: 1, from, keep: true });
    await goesTo('seed', `${transport} ${end(here, from)} -> ${end(there, 5000)}`);
    await world.ask({ transport, address: here, port: 51_414, size: 100, times: 1, from, keep: true });
    await goesTo('seed', `${transport} ${end(there, from)} -> ${end(here, 51_414)}`);
  });
});

it('leaves alone what another unit accepts, and what is only forwarded to the same port', async () => {
  await world.ask({ transport: 'tcp', address: WAN, port: 8080, size: 100, times: 1, from: 7003 });
  await goesTo('theirs', `tcp ${end(WORLD, 7003)} -> ${end(WAN, 8080)}`);
  await world.ask({ transport: 'tcp', address: INSIDE6, port: 51_414, size: 100, times: 1, from: 7004 });
  await goesTo('theirs', `tcp ${end(WORLD6, 7004)} -> ${end(INSIDE6, 51_414)}`);
});

it.each([
  ['user', 'people', () => person, 7005],
  ['cgroup', 'deep', () => deep, 7006],
  ['process', 'tool', () => tool, 7007],
] as const)('a rule by %s takes its flows', async (_, queue, host, from) => {
  await host().ask({ transport: 'udp', address: WORLD, port: 5000, size: 100, times: 1, from, keep: true });
  await goesTo(queue, `udp ${end(WAN, from)} -> ${end(WORLD, 5000)}`);
});

it('finds a process among others of its cgroup where it may look, which the service may not', async () => {
  await mixed.ask({ transport: 'udp', address: WORLD, port: 5000, size: 100, times: 1, from: 7008, keep: true });
  const flow = flowOf('local', 'udp', 7008, WORLD, 5000, WAN);
  const source = processSource({ isOwn: () => true, open: () => SocketFinder.open(gateway.box.path) });
  const found = firstValueFrom(source.answers);
  source.ask(flow);
  expect((await found).facts).toEqual({ process: 'hg-mixed' });

  const { stdout } = await gateway.headgate('explain', '--live', `udp ${end(WAN, 7008)} -> ${end(WORLD, 5000)}`);
  expect(stdout).toContain('process "hg-*" (not known)');
  expect(stdout).toContain('queue mine');
});

it('says in its status what it has found', async () => {
  const { facts } = (await gateway.status()).service!;
  expect(facts.map(({ word }) => word)).toEqual(['user, unit, cgroup', 'process']);
  for (const { counts } of facts) expect(counts.found).toBeGreaterThan(10);
});
