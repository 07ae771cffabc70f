// More new flows than the service can follow, as many as all processors can send and receive for ten seconds, each of which a
// live rule takes: first through the link, then on the shortest way on which the kernel makes entries, its table full all the
// time. The service answers, it stays within its bounds, what it has decided stays, and afterwards it knows what the kernel knows. What
// the kernel could make is printed. Shown on the machine's own kernel (6.18).

import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Namespace, Program, packageFile } from '../../src/lab/index.ts';
import { Gateway, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { PATIENCE, soon } from './soon.ts';
import { tool } from './tools.ts';

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

const [STORM, FLOWS] = [tool('gen_storm'), tool('gen_flows')];
const MADE = `table ip made {
  chain input {
    type filter hook input priority 0
    ct state new udp dport 443 counter
  }
  chain forward {
    type filter hook forward priority 0
    ct state new udp dport 443 counter
  }
}
`;
/** Flows of the storms that the kernel has begun an entry for. */
async function made(box: Namespace): Promise<number> {
  const table = await box.run('nft', 'list', 'table', 'ip', 'made');
  return [...table.matchAll(/packets (\d+)/g)].reduce((sum, [, packets]) => sum + Number(packets), 0);
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
const ranked = (numbers: readonly number[], rank: number): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length * rank)]!;

/** What the world's storm is sent to: a host behind the box that is not there. */
const NOBODY = { address: '10.0.0.99', mac: '02:00:5e:00:00:99' };
/** The other one's: behind a device that drops all, which is the shortest way on which an entry comes to be. */
const NOWHERE = { address: '10.0.9.9', mac: '00:00:00:00:00:00' };
const SECONDS = 10;

/** Has each processor send a storm for {@link SECONDS}. */
const sendFrom = (where: Namespace, device: string, to: { mac: string; address: string }) => () =>
  Promise.all(
    Array.from({ length: availableParallelism() }, async (_, i) => {
      const told = await where.run(STORM, device, `${to.mac},${to.address},443`, `${SECONDS}`, `${i * 500_000_000}`);
      const [sent, seconds, cpu] = told.trim().split(' ').map(Number) as [number, number, number];
      return { sent, seconds, cpu };
    }),
  );

it('storms of new flows', async () => {
  const { box, inside, world } = gateway;
  const file = join(gateway.folder, 'storm.gate');
  await writeFile(
    file,
    `link wan { device wan  download 10gbit  upload 10gbit }
queue mine { share 50% }
queue slow { share 10% }
queue theirs { share 10% }
rule old when remote.port 5000 and age >= 0s -> slow
rule storm when udp and (remote.port 443 or local.port 443) and age >= 0s -> slow
default local -> mine  remote -> theirs  new -> theirs
`,
  );
  // A storm may take longer than an entry lives that nothing is heard of: they go because there is no room.
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
  await box.batch(`neighbour add ${NOBODY.address} lladdr ${NOBODY.mac} dev lan nud permanent`);
  await box.batch('tuntap add nowhere mode tun', 'link set nowhere up', 'route add 10.0.9.0/24 dev nowhere');
  await world.batch('route add 10.0.0.0/24 via 192.0.2.1');
  await box.run('nft', 'delete', 'table', 'ip', 'nat');
  // Who counts the flows that come to be.
  await box.feed(MADE, 'nft', '-f', '-');
  const [asking, serving] = [await Host.start(inside), await Host.start(world)];
  await serving.serve('tcp', WORLD, 5000);
  const program = await gateway.up(file);
  const say = (size: number) =>
    asking.ask({ transport: 'tcp', address: WORLD, port: 5000, size, times: 1, from: 7000, keep: true });
  await say(200);
  const marked = async () =>
    (await box.run('conntrack', '-L', '-p', 'tcp', '--orig-port-dst', '5000')).includes('mark=33554432');
  await soon(async () => expect(await marked()).toBe(true));
  /** Packets of this side's own flows so far, by queue, down and up. */
  const carried = async (name: string) => {
    const { download, upload } = await gateway.link();
    return [download, upload].map((way) => way!.queues.find((queue) => queue.name === name)!.packets);
  };
  const mine = await carried('mine');
  const others = Math.max(1, loadavg()[0]! / availableParallelism());
  const peak = async () => Number(/VmHWM:\s+(\d+) kB/.exec(await readFile(`/proc/${program.pid}/status`, 'utf8'))![1]);
  const before = await peak();

  const weather = async (about: string, send: ReturnType<typeof sendFrom>) => {
    const [first, { overruns }] = [await made(box), (await gateway.status()).service!];
    const asker = Program.start('asker', [process.execPath, packageFile('test/kernel/asker.mjs')], {
      netns: box.name,
    });
    await asker.line((line) => line === 'ready', 20_000 * PATIENCE);
    let stormy = true;
    const told = send().finally(() => {
      stormy = false;
    });
    // What this side has opened goes on, in its own class, while it lasts.
    let said = 0;
    for (; stormy; said++) await say(20_000);
    const sent = await told;
    const [opened, seconds] = [(await made(box)) - first, Math.max(...sent.map((one) => one.seconds))];
    await asker.stop();
    const times = JSON.parse(asker.output.at(-1)!) as number[];
    const cpu = sum(sent.map((one) => one.cpu));
    const { overruns: lost, refused, marksWritten } = (await gateway.status()).service!;
    const ms = (rank: number) => `${ranked(times, rank).toFixed(1)} ms`;
    console.log(
      [
        `${about}: ${Math.round(opened / seconds)} new flows a second for ${seconds.toFixed(1)} s, of ${Math.round(sum(sent.map((one) => one.sent)) / seconds)} sent`,
        `${((cpu / opened) * 1e6).toFixed(1)} us of a processor each, to send and receive: ${Math.round((sent.length * opened) / cpu)} a second, did they nothing else`,
        `${lost - overruns} overruns, ${refused} refused, ${marksWritten} marks written`,
        `${times.length} answers: median ${ms(0.5)}, 99 % within ${ms(0.99)}, worst ${Math.max(...times).toFixed(1)} ms, load before ${(others * availableParallelism()).toFixed(1)}`,
        `memory ${before} to ${await peak()} KiB; ${said} exchanges of an old flow`,
      ].join('\n'),
    );
    expect(opened).toBeGreaterThan(10_000);
    expect(times.length).toBeGreaterThan(10);
    // Beside those who make the storm; of a machine that others use, too, there is less.
    expect(ranked(times, 0.5)).toBeLessThan(100 * PATIENCE * others);
    expect(ranked(times, 0.99)).toBeLessThan(500 * PATIENCE * others);
    expect(said).toBeGreaterThan(0);
    expect(await marked()).toBe(true);
    expect(await carried('mine')).toEqual(mine);
  };
  const mac = JSON.parse(await box.run('ip', '-j', 'link', 'show', 'wan'))[0].address;
  await weather('through the link', sendFrom(world, 'up0', { ...NOBODY, mac }));
  await weather('the shortest way', sendFrom(box, 'lo', NOWHERE));

  // Stopped, it loses what happens, a flush of the whole table and a part of another storm among it.
  process.kill(program.pid!, 'SIGSTOP');
  await box.run('conntrack', '-F');
  await box.run(FLOWS, '80000', '0', '0');
  process.kill(program.pid!, 'SIGCONT');

  // All that are left come to be known and marked.
  const inKernel = async () => Number(await box.run('conntrack', '-C'));
  await vi.waitFor(
    async () => {
      const { flows } = (await gateway.status()).service!;
      expect(flows!.total).toBe(await inKernel());
      const list = await box.run('conntrack', '-L', '-p', 'udp', '--orig-port-dst', '443', '-m', '0');
      expect(list.includes('dport=443')).toBe(false);
    },
    { timeout: 60_000 * PATIENCE, interval: 500 },
  );
  const { overruns, marksFailed, refused, flows } = (await gateway.status()).service!;
  expect(overruns).toBeGreaterThan(0);
  expect(flows!.total).toBeGreaterThanOrEqual(80_000);
  const grown = (await peak()) - before;
  expect(marksFailed).toBe(0);
  expect(refused).toBe(0);
  // KiB: the table, what is remembered of flows, and the garbage of both.
  expect(grown).toBeLessThan(600_000);
  expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
}, 180_000);
