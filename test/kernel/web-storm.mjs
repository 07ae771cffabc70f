// The page's server with made-up flows and events behind it, as many as no test here could send: `web-storm.mjs FLOWS EVENTS`,
// events a second. The first line of its output is the address. At SIGUSR2 it emits more events at once
// than the ring keeps.

import { Ring } from '../../dist/monitor/index.js';
import { MonitorStream } from '../../dist/monitor/stream.js';
import { listAnswers } from '../../dist/service/answers.js';
import { openWeb } from '../../dist/service/serve-web.js';

const [flows, rate] = process.argv.slice(2).map(Number);
const TURN_MS = 20;
const ROOM = 4096;
const QUEUES = ['interactive', 'web', 'seed'];

const stream = new MonitorStream('0badcafe', undefined, new Ring(ROOM));
let count = 0;
const ends = (n) => ({
  protocol: n % 3 ? 'tcp' : 'udp',
  local: n % 5 ? `10.0.${(n >> 8) & 255}.${n & 255}:${1024 + (n % 50_000)}` : `[2001:db8::${n.toString(16)}]:443`,
  remote: n % 5 ? `192.0.2.${n & 255}:443` : `[2001:db8:1::${n.toString(16)}]:443`,
  origin: ['local', 'remote', 'new'][n % 3],
  queue: QUEUES[n % 3],
  ...(n % 3 === 2 && { rule: 'seeders' }),
});
function emit(many) {
  for (let i = 0; i < many; i++, count++)
    stream.emit({
      kind: ['flow.new', 'flow.update', 'flow.end'][count % 3],
      id: count,
      ...ends(count % flows),
      because: [{ term: 'origin remote' }, { term: 'local.port in 51413', value: '51413' }],
    });
}
const begun = Date.now();
setInterval(() => {
  emit(Math.min(rate, Math.round(((Date.now() - begun) * rate) / 1000) - count));
}, TURN_MS);

const seconds = () => (Date.now() - begun) / 1000;
/** Bytes that a queue has sent: a rate that goes up and down. */
const sent = (i) => Math.round((i + 1) * 800_000 * (seconds() + Math.sin(seconds() / (i + 2))));
const direction = () => ({
  packets: { local: Math.round(seconds() * 900), remote: Math.round(seconds() * 400), new: Math.round(seconds() * 9) },
  queues: QUEUES.map((name, i) => ({
    ...{ name, device: 'hg-wan', classid: `7fe0:${i + 1}`, leaf: 'fq_codel', rate: 10e6, ceil: i === 2 ? 20e6 : 50e6 },
    ...{ bytes: sent(i), packets: Math.round(sent(i) / 1000), drops: i === 2 ? Math.round(seconds() * 3) : 0 },
    ...{ overlimits: 0, backlogBytes: i * 20_000, backlogPackets: i * 20 },
  })),
});
const list = Array.from({ length: flows }, (_, n) => ({
  ...ends(n),
  age: n * 100,
  domains: n % 7 ? undefined : ['cdn.example.net'],
}));

const web = await openWeb({ host: '127.0.0.1', port: 0 });
web.serve(
  listAnswers({
    status: async () => ({
      running: true,
      service: {
        datapath: 'bpf',
        overruns: 0,
        resyncs: 1,
        flows: { total: flows, live: 0, local: flows, remote: 0, new: 0 },
      },
      links: [{ name: 'wan', device: 'wan', state: 'steering', ifbs: [], download: direction(), upload: direction() }],
      policers: [],
    }),
    service: () => ({}),
    policy: () => ({
      file: 'storm.gate',
      texts: [{ file: 'storm.gate', text: 'queue seed { share 5% }\nrule seeders when udp -> seed\n' }],
      links: [{ name: 'wan', download: 50e6, upload: 50e6 }],
      queues: QUEUES.map((name) => ({ name, share: 0.3, ceiling: 1 })),
      rules: [{ name: 'seeders', file: 'storm.gate', line: 2, queue: 'seed', hits: count }],
      defaults: [],
    }),
    explain: async () => ({ matched: 0, flows: [] }),
    why: async () => [],
    flows: async () => ({
      total: flows,
      matched: flows,
      unknown: [],
      flows: list.map((flow, n) => {
        const bytes = { in: Math.round(seconds() * n * 10), out: count };
        return { ...flow, bytes, packets: bytes, rate: { in: n * 100, out: (count + n) % 1e6 } };
      }),
    }),
    stream,
    metrics: () => [],
  }),
);
process.on('SIGUSR2', () => emit(2 * ROOM));
process.stdin.resume().on('close', () => void web.close().then(() => process.exit()));
console.log(web.url);
