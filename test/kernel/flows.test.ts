// `headgate flows` and `headgate why` of a running service that follows no flows, and of one that does: by the conditions of the
// language, with what the kernel counts. Shown on the machine's own kernel (6.18).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { FlowList } from '../../src/service/index.ts';
import { Gateway, INSIDE, WAN, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { soon } from './soon.ts';

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

const policy = (rules = '') => `link wan { device wan  download 50mbit  upload 50mbit }
queue mine { share 60% }  queue seed { share 10% }
rule seeders when udp and origin remote and local.port in 51413 -> seed
${rules}default local -> mine  remote -> mine  new -> mine
`;

it('list the flows that are meant, and say why they are where they are', async () => {
  const { box, inside, world } = gateway;
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1', 'net.netfilter.nf_conntrack_timestamp=1');
  // On a busy machine what follows takes longer than an entry lives that nothing is heard of.
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
  const file = join(gateway.folder, 'test.gate');
  await writeFile(file, policy());
  await gateway.serve(world, 'udp', WORLD, 5000);
  await gateway.serve(inside, 'udp', INSIDE, 51413);
  const program = await gateway.up(file);
  const [asking, serving] = [await Host.start(inside), await Host.start(world)];
  await serving.sink(WORLD, 5001);
  await gateway.ask(inside, 'udp', WORLD, 5000, 200, 6000);
  await gateway.ask(world, 'udp', WAN, 51413, 200, 7000);
  await asking.tell(WORLD, 5001, 100, { from: 6001, size: 1000 });

  const list = async (...args: string[]): Promise<FlowList> => {
    const exit = await gateway.headgate('flows', '--json', ...args);
    expect(exit, exit.stderr).toMatchObject({ status: 0, stderr: '' });
    return JSON.parse(exit.stdout);
  };
  const ports = ({ flows }: FlowList) => flows.map(({ local }) => Number(local.split(':')[1]));
  const look = async () => {
    await soon(async () => expect((await list('--where', 'bytes.out > 90KB')).matched).toBe(1));
    const all = await list();
    expect(all).toMatchObject({ total: 3, matched: 3 });
    expect(all.flows[0]).toMatchObject({
      ...{ protocol: 'udp', local: `${INSIDE}:6001`, remote: `${WORLD}:5001`, origin: 'local', queue: 'mine' },
      packets: { in: 0, out: expect.any(Number) },
      age: expect.any(Number),
    });
    expect(ports(await list('--sort', 'local'))).toEqual([6000, 6001, 51413]);
    expect(ports(await list('--where', 'origin remote'))).toEqual([51413]);
    expect(ports(await list('--where', 'local.port in 6000-6010 and bytes.in = 228B'))).toEqual([6000]);
    expect(await list('--limit', '1', '--sort', 'remote')).toMatchObject({ matched: 3, flows: [{}] });
  };
  // Nobody follows flows: it is the kernel that is asked.
  expect((await gateway.status()).service).toMatchObject({ follows: [] });
  await look();
  let looking = true;
  const [rated] = await Promise.all([
    list('--where', 'rate.out > 10kbit', '--sort', 'rate').finally(() => {
      looking = false;
    }),
    (async () => {
      while (looking) await asking.tell(WORLD, 5001, 10, { from: 6001, size: 1000 });
    })(),
  ]);
  expect(rated.flows.map(({ local, rate }) => [local, rate!.out > 10_000])).toEqual([[`${INSIDE}:6001`, true]]);

  // Of one that the kernel has noted no beginning of, nobody says one.
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_timestamp=0');
  await gateway.ask(inside, 'udp', WORLD, 5000, 200, 6002);
  const untold = await list('--where', 'local.port 6002');
  expect(untold).toMatchObject({ matched: 1 });
  expect(untold.flows[0]).not.toHaveProperty('age');
  expect((await gateway.headgate('why', `${INSIDE}:6002`)).stdout).toMatch(/^it was there before anybody looked; /m);
  await box.run('conntrack', '-D', '-p', 'udp', '--orig-port-src', '6002');
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_timestamp=1');

  const why = await gateway.headgate('why', `${INSIDE}:51413`, '--json');
  expect(JSON.parse(why.stdout)).toMatchObject([
    {
      queue: 'seed',
      rule: 'seeders',
      mark: 2,
      classes: ['7fe0:2', '7fe1:2'],
      age: expect.any(Number),
      decided: expect.any(Number),
    },
  ]);
  // The address that the world sees, and without a port.
  const [{ filters }] = JSON.parse(why.stdout) as [{ filters: string[] }];
  expect(filters).toEqual([
    expect.stringMatching(/^wan ingress filter pref \d+ bpf$/),
    expect.stringMatching(/^wan 7fe1: filter pref \d+ bpf$/),
  ]);
  expect(JSON.parse((await gateway.headgate('why', `${WAN}:51413`, '--json')).stdout)).toHaveLength(1);
  expect(JSON.parse((await gateway.headgate('why', WORLD, '--json')).stdout)).toHaveLength(3);
  const { stdout } = await gateway.headgate('why', `${WORLD}:7000`);
  expect(stdout).toMatch(/^-> seeders .*decides/m);
  expect(stdout).toMatch(/it would leave that with/);
  expect(stdout).toMatch(/^class 7fe0:2 arriving, 7fe1:2 leaving; class 2 in its mark$/m);
  expect(stdout).toMatch(/^it began \S+ ago; decided so (just now|\S+ ago)$/m);
  expect(await gateway.headgate('why', '192.0.2.99:1')).toMatchObject({ status: 1 });
  // An address, and no port.
  const six = await gateway.headgate('why', '2001:db8::2:5002');
  expect(six).toMatchObject({ status: 1, stderr: expect.stringContaining('with its port as [2001:db8::1]:443') });
  expect(await gateway.headgate('why', 'nonsense')).toMatchObject({ status: 2 });
  const wrong = await gateway.headgate('flows', '--where', 'origin us');
  expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining('--where origin us: column 8: ') });

  await writeFile(file, policy('rule old when age > 1h -> seed\n'));
  expect((await gateway.headgate('reload')).status).toBe(0);
  await soon(async () => expect((await gateway.status()).service!.flows).toMatchObject({ total: 3 }));
  await look();
  expect((await gateway.headgate('flows', '--sort', 'local')).stdout).toMatch(
    /^proto +local .*\nudp +10\.0\.0\.2:6000 +-> +192\.0\.2\.2:5000 +mine +- .*\n/,
  );

  // Flows are followed for a reader alone, and no rule looks at the clock: it goes on all the same.
  await writeFile(file, policy());
  expect((await gateway.headgate('reload')).status).toBe(0);
  await soon(async () => expect((await gateway.status()).service).toMatchObject({ follows: [] }));
  const reader = gateway.events();
  await reader.line((line) => line.includes('"kind":"resync"'));
  const age = async () => (await list('--where', 'local.port 6000')).flows[0]!.age!;
  const young = await age();
  await soon(async () => expect(await age()).toBeGreaterThan(young + 500));
  await reader.stop();
  expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
}, 240_000);

it('knows of a flow what no rule had to look at, says what nobody knows, and how many there are', async () => {
  const { box, inside, world } = gateway;
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1', 'net.netfilter.nf_conntrack_udp_timeout=600');
  const file = join(gateway.folder, 'test.gate');
  const text = `rule web when remote.port 443 -> mine\nrule big when bytes > 90KB -> seed\n`;
  await writeFile(file, policy(`${text}rule slow when remote.port 443 and rate < 1mbit for 10s -> seed\n`));
  const program = await gateway.up(file);
  const [asking, serving] = [await Host.start(inside), await Host.start(world)];
  await serving.sink(WORLD, 443);
  await asking.tell(WORLD, 443, 100, { from: 6001, size: 1000 });
  const why = async (...args: string[]) => {
    const exit = await gateway.headgate('why', ...args);
    expect(exit).toMatchObject({ status: 0 });
    return exit;
  };
  // `web` comes first, so nobody watches what it carries; but `why` can ask.
  await soon(async () => expect((await why(`${INSIDE}:6001`)).stdout).toMatch(/^-> web /m));
  const { stdout } = await why(`${INSIDE}:6001`);
  expect(stdout).toMatch(/^ {3}big +line \d +takes +bytes > 90kB \(it is [\d.]+(kB|B)\); too late, behind web$/m);
  expect(stdout).toMatch(/^ {3}slow .* needs rate < 1mbit \(not known\), rate < 1mbit for 10s \(not known\)$/m);
  expect(stdout).toMatch(/; then rule big comes next: seed$/m);
  await asking.tell(WORLD, 443, 1, { from: 6002, size: 10 });
  await soon(async () =>
    expect((await why(`${INSIDE}:6002`)).stdout).toMatch(
      /; then no other rule takes it, unless slow: not all is known$/m,
    ),
  );

  // What no rule asks for, nobody gathers.
  const list = async (where: string) => {
    const { status, stdout, stderr } = await gateway.headgate('flows', '--where', where);
    expect(status).toBe(0);
    const { matched, unknown } = JSON.parse((await gateway.headgate('flows', '--json', '--where', where)).stdout);
    const warning = /not known of every flow: (.*);/.exec(stderr)?.[1];
    return { matched, unknown, warning, lines: stdout.split('\n').length - 1 };
  };
  expect(await list('process "python3" or idle > 1ms and user root')).toMatchObject({
    ...{ matched: 0, unknown: ['idle', 'process', 'user'], warning: 'idle, process, user' },
  });
  expect(await list('not p2p and bytes > 50KB')).toMatchObject({ matched: 1, unknown: ['p2p'], warning: 'p2p' });
  expect(await list('origin local and bytes > 50KB')).toMatchObject({ matched: 1, unknown: [], warning: undefined });

  // A flow of a protocol without a name is asked for as it is printed.
  await box.run(...(['conntrack', '-I', '-p', '112', '-s', INSIDE, '-d', WORLD, '--timeout', '600'] as const));
  const ask = (flow: string) => gateway.headgate('explain', '--live', flow);
  await soon(async () =>
    expect(await ask(`112 ${INSIDE} -> ${WORLD}`)).toMatchObject({
      ...{ status: 0, stdout: expect.stringMatching(/^112 10\.0\.0\.2 -> 192\.0\.2\.2 origin local$/m) },
    }),
  );
  const none = await ask(`256 ${INSIDE} -> ${WORLD}`);
  expect(none).toMatchObject({ status: 2, stderr: expect.stringContaining('column 1: ') });

  // More than it explains.
  for (let port = 6003; port < 6025; port++) await asking.tell(WORLD, 443, 1, { from: port, size: 10 });
  await soon(async () => {
    const many = await why(`${WORLD}:443`, '--json');
    expect(JSON.parse(many.stdout)).toHaveLength(20);
    expect(many.stderr).toBe('the first 20 of 24 flows\n');
  });
  expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
}, 240_000);
