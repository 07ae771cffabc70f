// More new flows than the service can follow, each of which a live rule takes: it answers, it stays within its bounds,
// what it has decided stays, and afterwards it knows what the kernel knows. Shown on the machine's own kernel (6.18).

import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';
import { Gateway, WORLD } from './gateway.ts';
import { PATIENCE } from './soon.ts';

let gateway: Gateway;
beforeEach(async () => {
  execFileSync('make', ['-s', '-C', packageFile('native-shim'), 'tools']);
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;

it('a storm of new flows', async () => {
  const { box, inside, world } = gateway;
  const file = join(gateway.folder, 'storm.gate');
  await writeFile(
    file,
    `link wan { device wan  download 50mbit  upload 50mbit }
queue local { share 50% }
queue slow { share 10% }
rule old when remote.port 5000 and age >= 0s -> slow
rule storm when udp and remote.port 443 and age >= 0s -> slow
default local -> local  remote -> local  new -> local
`,
  );
  // The storm may take longer than an entry lives that nothing is heard of.
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
  await gateway.serve(world, 'udp', WORLD, 5000);
  const program = await gateway.up(file);
  await gateway.ask(inside, 'udp', WORLD, 5000, 200, 7000);
  const marked = async () =>
    (await box.run('conntrack', '-L', '-p', 'udp', '--orig-port-dst', '5000')).includes('mark=33554432');
  await vi.waitFor(async () => expect(await marked()).toBe(true), { timeout: 10_000 * PATIENCE });

  const asker = box.start(process.execPath, packageFile('test/kernel/asker.mjs'));
  const lines = createInterface({ input: asker.stdout! })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe('ready');
  const peak = async () => Number(/VmHWM:\s+(\d+) kB/.exec(await readFile(`/proc/${program.pid}/status`, 'utf8'))![1]);
  const before = await peak();
  const told = await box.run(packageFile('native-shim/build/gen_flows'), '300000', '0', '100000');
  expect(told).toMatch(/ 0\n$/);
  asker.stdin!.write('\n');
  const times = JSON.parse((await lines.next()).value!) as number[];
  expect(times.length).toBeGreaterThan(10);
  // Each answer, on a machine that does nothing else; here it also waits for those who make the storm.
  expect(median(times)).toBeLessThan(100 * PATIENCE);
  expect(await marked()).toBe(true);

  // Stopped, it loses what happens, a flush of the whole table and a part of another storm among it.
  process.kill(program.pid!, 'SIGSTOP');
  await box.run('conntrack', '-F');
  await box.run(packageFile('native-shim/build/gen_flows'), '80000', '0', '0');
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
