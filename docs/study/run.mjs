/**
 * Makes the study again: `node docs/study/run.mjs [FILTER] [VMS]`, as root, then `node docs/study/plot.mjs`. FILTER is a
 * regular expression without blanks for `RATE,RTT,LOAD,TREATMENT`, such as `^10000000,20,` or `bulk`; VMS is how many machines share the runs. Results
 * replace those of the same runs in results.json.
 *
 * Debian's kernel is the one of `npm run test:vm`, in its cache. Time in the guest is virtual: one instruction takes
 * 1 ns, and while nothing is to be done it leaps to what comes next. So it does not matter how busy this machine is.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { allRuns } from './matrix.mjs';

const HERE = import.meta.dirname;
const RESULTS = join(HERE, 'results.json');
const KERNEL = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'headgate/kernels/bookworm');

const [filter = '', vms = '2'] = process.argv.slice(2);
if (!existsSync(KERNEL))
  throw new Error('no kernel: run "npm run test:vm -- --kernel 6.1 test/vm/guest/kernel.test.ts" once');
const file = (folder, start) =>
  join(
    KERNEL,
    folder,
    readdirSync(join(KERNEL, folder)).find((name) => name.startsWith(start)),
  );

execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', join(HERE, 'load'), join(HERE, 'load.c'), '-lm']);

const key = ({ rate, rtt, load, treatment }) => [rate, rtt, load, treatment].join();
const wanted = allRuns().filter((run) => new RegExp(filter).test(key(run))).length;
const runs = new Map(
  existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')).runs.map((run) => [key(run), run]) : [],
);
let kernel;
let done = 0;

function boot(shard) {
  const settings = {
    HG_CLONE: resolve(HERE, '../..'),
    HG_GUEST: 'docs/study/guest.sh',
    HG_MODULES: join(KERNEL, 'lib/modules'),
    HG_ARGS: [shard, vms, filter].join(':'),
  };
  const append = ['console=ttyS0', 'panic=-1', 'quiet', ...Object.entries(settings).map(([k, v]) => `"${k}=${v}"`)];
  const qemu = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', 'qemu-system-x86_64', '-accel', 'tcg,thread=single', '-icount', 'shift=0,sleep=off'],
      ...['-smp', '1', '-cpu', 'max', '-m', '2G', '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
      ...['-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap'],
      ...['-kernel', file('boot', 'vmlinuz-'), '-initrd', file('.', 'initramfs-'), '-append', append.join(' ')],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  createInterface({ input: qemu.stdout }).on('line', (line) => {
    if (line.startsWith('kernel ')) kernel = line.slice(7);
    if (!line.startsWith('RESULT ')) return process.stderr.write(`guest ${shard}: ${line}\n`);
    const run = { ...JSON.parse(line.slice(7)), kernel };
    runs.set(key(run), run);
    process.stderr.write(`${++done} of ${wanted}: ${key(run)}\n`);
  });
  return new Promise((resolve) => qemu.on('close', resolve));
}

await Promise.all(Array.from({ length: Number(vms) }, (_, shard) => boot(shard)));
if (done < wanted) throw new Error(`${wanted - done} runs are missing; results.json stays as it was`);
const order = allRuns().map(key);
const sorted = [...runs.values()].sort((a, b) => order.indexOf(key(a)) - order.indexOf(key(b)));
writeFileSync(RESULTS, `{"runs":[\n${sorted.map((run) => JSON.stringify(run)).join(',\n')}\n]}\n`);
