// More new flows than the service can follow, as many as all processors can send and receive for ten seconds, each of which a
// live rule takes: it answers, it stays within its bounds, what it has decided stays, and afterwards it knows what the kernel
// knows. What the kernel could make is printed. Shown on the machine's own kernel (6.18).

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
  chain forward {
    type filter hook forward priority 0
    ct state new udp dport 443 counter
  }
}
`;
/** Flows of the storm that the kernel has made an entry for. */
const made = async (box: Namespace): Promise<number> =>
  Number(/packets (\d+)/.exec(await box.run('nft', 'list', 'table', 'ip', 'made'))![1]);

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;

/** What the world's storm is sent to: a host behind the box that is not there. */
const NOBODY = { address: '10.0.0.99', mac: '02:00:5e:00:00:99' };
const SECONDS = 10;

it('a storm of new flows', async () => {
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
  // The storm may take longer than an entry lives that nothing is heard of.
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
  await box.batch(`neighbour add ${NOBODY.address} lladdr ${NOBODY.mac} dev lan nud permanent`);
  await world.batch('route add 10.0.0.0/24 via 192.0.2.1');
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

  const asker = Program.start('asker', [process.execPath, packageFile('test/kernel/asker.mjs')], { netns: box.name });
  await asker.line((line) => line === 'ready', 20_000 * PATIENCE);
  const peak = async () => Number(/VmHWM:\s+(\d+) kB/.exec(await readFile(`/proc/${program.pid}/status`, 'utf8'))![1]);
  const before = await peak();
  const mac = JSON.parse(await box.run('ip', '-j', 'link', 'show', 'wan'))[0].address;
  const storms = Array.from({ length: availableParallelism() }, (_, i) =>
    world.run(STORM, 'up0', `${mac},${NOBODY.address},443`, `${SECONDS}`, `${i * 500_000_000}`),
  );
  let stormy = true;
  const told = Promise.all(storms).finally(() => {
    stormy = false;
  });
  // What this side has opened goes on, in its own class, while it lasts.
  let said = 0;
  for (; stormy; said++) await say(20_000);
  const sent = (await told).map((line) => line.trim().split(' ').map(Number));
  const [opened, seconds] = [await made(box), Math.max(...sent.map(([, wall]) => wall!))];
  await asker.stop();
  const times = JSON.parse(asker.output.at(-1)!) as number[];
  const [packets, cpu] = [sent.reduce((sum, [n]) => sum + n!, 0), sent.reduce((sum, [, , n]) => sum + n!, 0)];
  const { overruns: lost, refused: beyond, marksWritten } = (await gateway.status()).service!;
  console.log(
    [
      `${Math.round(opened / seconds)} new flows a second for ${seconds.toFixed(1)} s, of ${Math.round(packets / seconds)} sent`,
      `${((cpu / opened) * 1e6).toFixed(1)} us of a processor each, to send and receive: ${Math.round((storms.length * opened) / cpu)} a second, did they nothing else`,
      `${lost} overruns, ${beyond} refused, ${marksWritten} marks written`,
      `${times.length} answers: median ${median(times).toFixed(1)} ms, worst ${Math.max(...times).toFixed(1)} ms, load before ${(others * availableParallelism()).toFixed(1)}`,
      `memory ${before} to ${await peak()} KiB; ${said} exchanges of an old flow`,
    ].join('\n'),
  );
  expect(opened).toBeGreaterThan(10_000);
  expect(times.length).toBeGreaterThan(10);
  // Beside those who make the storm; of a machine that others use, too, there is less.
  expect(median(times)).toBeLessThan(100 * PATIENCE * others);
  expect(said).toBeGreaterThan(0);
  expect(await marked()).toBe(true);
  expect(await carried('mine')).toEqual(mine);

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
