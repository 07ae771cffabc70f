/**
 * The study inside the virtual machine: `node guest.mjs SHARD OF [FILTER]` does every OFth run of the matrix, beginning
 * with number SHARD, and prints each as `RESULT {json}`.
 *
 *   world ──── isp ──── wan, box
 *         ◀ netem   tbf ▶
 *
 * The whole round-trip time is on the way of the acknowledgements; so a datagram's time from world to box is what it
 * waited. Packets are of one MTU from the start (gso_max_segs 1), as a line carries them.
 */
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { allRuns, LINE_FIFO_MS, LINE_PART, LOADS, MEASURE_MS, settleMs, TREATMENTS } from './matrix.mjs';

const run = (argv, input) =>
  execFileSync(argv[0], argv.slice(1), { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
const words = (text) => run(text.split(' '));
const inside = (ns, text) =>
  words(/^(ip|tc) /.test(text) ? text.replace(' ', ` -n ${ns} `) : `nsenter --net=/run/netns/${ns} ${text}`);
const batch = (ns, lines) => run(['tc', '-n', ns, '-batch', '-'], `${lines.join('\n')}\n`);
const attempt = (work) => {
  try {
    work();
  } catch {
    // it was not there
  }
};

/** The lines that the load prints, one after the other. It goes before all else: while we count, it must send on time. */
async function* startLoad(...numbers) {
  const child = spawn('chrt', ['-f', '50', `${import.meta.dirname}/load`, ...numbers.map(String)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout })) yield JSON.parse(line);
}

const MAC = {
  world: '02:00:00:00:00:01',
  lan: '02:00:00:00:00:02',
  line: '02:00:00:00:00:03',
  box: '02:00:00:00:00:04',
};

function layPath() {
  for (const ns of ['world', 'isp', 'box']) {
    words(`ip netns add ${ns}`);
    inside(ns, 'ip link set lo up');
  }
  words(`ip link add name eth0 address ${MAC.world} netns world type veth peer name lan address ${MAC.lan} netns isp`);
  words(`ip link add name wan address ${MAC.box} netns box type veth peer name line address ${MAC.line} netns isp`);
  inside('world', 'ip link set dev eth0 gso_max_segs 1 up');
  inside('isp', 'ip link set dev lan up');
  inside('isp', 'ip link set dev line up');
  inside('box', 'ip link set dev wan gso_max_segs 1 up');
  inside('world', 'ip addr add 10.9.0.1/24 dev eth0');
  inside('isp', 'ip addr add 10.9.0.2/24 dev lan');
  inside('isp', 'ip addr add 10.9.1.1/24 dev line');
  inside('box', 'ip addr add 10.9.1.2/24 dev wan');
  // What waits for an address to be resolved, behind netem, would come as a burst.
  inside('world', `ip neigh add 10.9.0.2 dev eth0 lladdr ${MAC.lan} nud permanent`);
  inside('isp', `ip neigh add 10.9.0.1 dev lan lladdr ${MAC.world} nud permanent`);
  inside('isp', `ip neigh add 10.9.1.2 dev line lladdr ${MAC.box} nud permanent`);
  inside('box', `ip neigh add 10.9.1.1 dev wan lladdr ${MAC.line} nud permanent`);
  inside('world', 'ip route add default via 10.9.0.2');
  inside('box', 'ip route add default via 10.9.1.1');
  inside('isp', 'sysctl -qw net.ipv4.ip_forward=1');
  // What one run learns of the path must not help the next.
  inside('world', 'sysctl -qw net.ipv4.tcp_no_metrics_save=1');
}

function prepare({ rate, rtt, treatment }) {
  attempt(() => inside('box', 'tc qdisc del dev wan clsact'));
  attempt(() => inside('box', 'ip link del ifb0'));
  attempt(() => inside('box', 'nft delete table inet study'));
  const line = Math.round(rate / LINE_PART);
  const fifo = Math.max(30_000, Math.round(((line / 8) * LINE_FIFO_MS) / 1000));
  attempt(() => inside('isp', 'tc qdisc del dev lan root'));
  attempt(() => inside('isp', 'tc qdisc del dev line root'));
  batch('isp', [
    `qdisc add dev lan root handle 1: netem limit 100000 delay ${rtt}ms`,
    `qdisc add dev line root handle 1: tbf rate ${line}bit burst 3200 limit ${fifo}`,
  ]);
  const { tc = [], nft } = TREATMENTS[treatment](rate);
  if (tc.some((command) => command.includes('ifb0'))) {
    inside('box', 'ip link add name ifb0 txqueuelen 1000 type ifb');
    inside('box', 'ip link set ifb0 up');
  }
  if (tc.length > 0) batch('box', tc);
  if (nft) run(['nsenter', '--net=/run/netns/box', 'nft', '-f', '-'], nft);
}

/** Packets that came to the treatment, and that it dropped; packets that the ISP's FIFO dropped. */
function counters(treatment) {
  const line = JSON.parse(inside('isp', 'tc -s -j qdisc show dev line')).find(({ kind }) => kind === 'tbf').drops;
  if (treatment === 'none') return { offered: 0, dropped: 0, line };
  if (treatment.startsWith('police')) {
    const [, { actions }] = JSON.parse(inside('box', 'tc -s -j actions ls action police'));
    return { offered: actions[0].stats.packets, dropped: actions[0].stats.drops, line };
  }
  if (treatment.startsWith('nft')) {
    const items = JSON.parse(inside('box', 'nft -j list counters')).nftables.flatMap(({ counter }) => counter ?? []);
    const packets = (name) => items.find((counter) => counter.name === name).packets;
    return { offered: packets('offered'), dropped: packets('dropped'), line };
  }
  const leaf = JSON.parse(inside('box', 'tc -s -j qdisc show dev ifb0')).find(({ handle }) => handle === '10:');
  return { offered: leaf.packets + leaf.drops + leaf.qlen, dropped: leaf.drops, line };
}

/** Ticks of the processor so far: all, and idle ones. */
function processor() {
  const ticks = readFileSync('/proc/stat', 'utf8').split('\n')[0].split(/ +/).slice(1, 9).map(Number);
  return { all: ticks.reduce((a, b) => a + b), idle: ticks[3] + ticks[4] };
}

const round = (value, digits = 3) => (Number.isFinite(value) ? Number(value.toFixed(digits)) : null);
const percentile = (sorted, part) => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)];
const spread = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((part) => round(percentile(sorted, part) ?? Number.NaN));
  return { count: sorted.length, p50, p95, p99, max: round(sorted.at(-1) ?? Number.NaN) };
};
const jain = (values) =>
  values.reduce((a, b) => a + b, 0) ** 2 / (values.length * values.reduce((a, b) => a + b * b, 0));

async function measure({ rate, rtt, load, treatment }, seed) {
  prepare({ rate, rtt, treatment });
  const { long, udpPart = 0, shortPart = 0, shortBytes = 0 } = LOADS[load];
  const shortsPerSecond = shortPart === 0 ? 0 : (rate * shortPart) / 8 / shortBytes;
  const lines = startLoad(settleMs(treatment), MEASURE_MS, long, rate * udpPart, shortsPerSecond, shortBytes, seed);
  const sample = async () => {
    const { value } = await lines.next();
    return {
      ...value,
      ...counters(treatment),
      cpu: processor(),
      late: Number(process.hrtime.bigint()) / 1e6 - value.at,
    };
  };
  const before = await sample();
  const after = await sample();
  const { heard, times, open } = (await lines.next()).value;

  const seconds = (after.at - before.at) / 1000;
  const flows = after.long.map((bytes, i) => bytes - before.long[i]);
  const bytes = flows.reduce((a, b) => a + b, 0) + after.short - before.short + after.udp - before.udp;
  const offered = after.offered - before.offered;
  const call = heard.filter(([number]) => number >= before.sequence && number < after.sequence);
  const delays = call.map(([, delay]) => delay);
  const jitter = delays.slice(1).map((delay, i) => Math.abs(delay - delays[i]));
  const short = times.filter(([start]) => start >= before.at).map(([, duration]) => duration);
  return {
    goodputMbit: round((bytes * 8) / seconds / 1e6),
    offered,
    dropped: after.dropped - before.dropped,
    lossPct: offered === 0 ? 0 : round((100 * (after.dropped - before.dropped)) / offered),
    lineDrops: after.line - before.line,
    retransmitted: after.retransmitted - before.retransmitted,
    jain: flows.length > 1 ? round(jain(flows)) : null,
    voice: {
      sent: after.sequence - before.sequence,
      lossPct: round(100 * (1 - call.length / (after.sequence - before.sequence))),
      delayMs: spread(delays),
      jitterMs: round(jitter.reduce((a, b) => a + b, 0) / jitter.length),
    },
    short: shortPart === 0 ? null : { ...spread(short), unfinished: open },
    lateMs: round(Math.max(before.late, after.late), 1),
    idlePct: round((100 * (after.cpu.idle - before.cpu.idle)) / (after.cpu.all - before.cpu.all), 1),
  };
}

const [shard = '0', of = '1', filter = '', seed = '1'] = process.argv.slice(2);
layPath();
const runs = allRuns().filter((what) => new RegExp(filter).test(Object.values(what)));
for (const [i, what] of runs.entries()) {
  if (i % Number(of) !== Number(shard)) continue;
  const result = await measure(what, Number(seed) * 1000 + i);
  process.stdout.write(`RESULT ${JSON.stringify({ ...what, seed: Number(seed), ...result })}\n`);
}
