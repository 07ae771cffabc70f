import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Policy, parsePolicy } from '../../src/language/index.ts';
import { parseEnd, parsePrefix } from '../../src/model/index.ts';
import type { MonitorEvent, MonitorItem } from '../../src/monitor/index.ts';
import { compare, Recorder, Recording, readRecording } from '../../src/replay/index.ts';

const START = Date.parse('2026-01-02T12:00:00Z');

function policyOf(rules: string): Policy {
  const { policy, diagnostics } = parsePolicy(
    `link wan { }
queue local { share 50% }  queue seed { share 10% }  queue bulk { share 5% }
${rules}
default local -> local  remote -> seed  new -> local`,
    'replay.gate',
  );
  if (!policy) throw new Error(diagnostics.map(({ message }) => message).join('; '));
  return policy;
}

/** The recording of events, each at a second since the start. */
function record(...events: readonly (readonly [second: number, event: MonitorEvent])[]): string[] {
  const recorder = new Recorder();
  const stream = { kind: 'stream', schema: 1, session: 'aa', oldest: 1, newest: 0 } as const;
  return [[0, stream] as const, ...events].flatMap(([second, event], seq) => {
    const time = new Date(START + second * 1000).toISOString();
    return recorder.linesOf({ seq, time, monotonic: 5 + second * 1000, ...event } as MonitorItem);
  });
}

async function* linesOf(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}
const read = (lines: readonly string[], ...inside: string[]): Promise<Recording> =>
  readRecording(
    linesOf(lines),
    inside.map((one) => parsePrefix(one)!),
    'the file',
  );

const flow = { kind: 'flow.new', protocol: 'tcp', origin: 'local', queue: 'local' } as const;
const begin = (id: number, more: object = {}) =>
  ({
    ...flow,
    id,
    local: `10.0.0.2:${1000 + id}`,
    remote: '[2001:db8::1]:443'.replace('[2001:db8::1]', '192.0.2.1'),
    ...more,
  }) as MonitorEvent;
const end = (id: number, bytesIn: number, more: object = {}) =>
  ({
    ...begin(id, more),
    kind: 'flow.end',
    in: { bytes: bytesIn, packets: 10 },
    out: { bytes: 100, packets: 10 },
  }) as MonitorEvent;

describe('a recording', () => {
  it('has every flow with what became of it', async () => {
    const seeder = {
      origin: 'remote',
      queue: 'seed',
      rule: 'seeders',
      local: '[2001:db8::2]:51413',
      remote: '[2001:db8::9]:7',
    };
    const lines = record(
      [1, begin(1)],
      [2, begin(2, { ...seeder, kind: 'flow.known', began: new Date(START - 60_000).toISOString(), zone: 3 })],
      [3, { ...begin(1), kind: 'flow.update', queue: 'bulk', rule: 'big' } as MonitorEvent],
      [4, { kind: 'overrun', count: 2 }],
      [5, end(1, 5000)],
      // Nobody has told of their beginning.
      [6, end(9, 1, { began: new Date(START).toISOString() })],
      [7, begin(8, { kind: 'flow.update', queue: 'bulk', rule: 'big' })],
    );
    expect(lines.slice(1)).toEqual([
      '["p","local",null]',
      '["n",1000,"tcp","10.0.0.2:1001","192.0.2.1:443","local",0]',
      '["p","seed","seeders"]',
      '["n",1000,"tcp","[2001:db8::2]:51413","[2001:db8::9]:7","remote",1,62000,3]',
      '["p","bulk","big"]',
      '["u",1000,0,2]',
      '["x",1000,"overrun",2]',
      '["e",1000,0,5000,100,10,10]',
      '["n",1000,"tcp","10.0.0.2:1009","192.0.2.1:443","local",0,6000]',
      '["e",0,2,1,100,10,10]',
      '["n",1000,"tcp","10.0.0.2:1008","192.0.2.1:443","local",2,-1]',
    ]);
    const recording = await read(lines);
    expect(recording).toMatchObject({ flows: 4, events: 6, losses: 1, torn: 0 });
    expect(recording.bytesOf(2)).toBe(101);
    expect([0, 1].map((i) => recording.places[recording.placeOf(i)])).toEqual([
      { queue: 'bulk', rule: 'big' },
      { queue: 'seed', rule: 'seeders' },
    ]);
    expect([recording.originOf(1), recording.beganOf(1) - START, recording.timeOf(1) - START]).toEqual([
      'remote',
      -60_000,
      2000,
    ]);
  });

  it('ends with what flows that go on have carried', async () => {
    const recorder = new Recorder();
    const stream = { kind: 'stream', schema: 1, session: 'aa', oldest: 1, newest: 0 } as MonitorEvent;
    const stamp = (event: MonitorEvent, second: number) =>
      ({
        ...{ seq: 1, time: new Date(START + second * 1000).toISOString(), monotonic: second * 1000 },
        ...event,
      }) as MonitorItem;
    const lines = [stream, begin(1), begin(2), begin(3)].flatMap((event) => recorder.linesOf(stamp(event, 0)));
    const known = (id: number, bytes: number) => ({ ...end(id, bytes), kind: 'flow.known' }) as MonitorEvent;
    const last = [
      stream,
      known(1, 5000),
      begin(4),
      end(3, 7),
      end(1, 9),
      // Told of nowhere before; what is behind is older.
      known(5, 1),
      begin(5),
      begin(1),
      begin(1, { kind: 'flow.update' }),
      begin(2, { kind: 'flow.known' }),
    ].flatMap((event) => recorder.lastLinesOf(stamp(event, 8)));
    expect(last).toEqual([
      '["c",8000,0,5000,100,10,10]',
      '["n",0,"tcp","10.0.0.2:1004","192.0.2.1:443","local",0]',
      '["e",0,2,7,100,10,10]',
      '["n",0,"tcp","10.0.0.2:1005","192.0.2.1:443","local",0,-1]',
      '["c",0,4,1,100,10,10]',
    ]);
    const recording = await read([...lines, ...last]);
    expect([0, 1, 2, 3, 4].map((i) => recording.bytesOf(i))).toEqual([5100, 0, 107, 0, 101]);
    // Evenly, as what has ended.
    const totals = new Float64Array(4);
    recording.readTotals(0, START + 4000, totals);
    expect([...totals]).toEqual([2500, 50, 5, 5]);
  });

  it('is no file that holds something else, or nothing', async () => {
    const problems = [
      ['', 'default local -> a', 'x'],
      ['{}', '[1]'],
      ['', '<?xml version="1.0"?>'],
      ['{"headgate":"recording","version":2,"session":"aa","time":"2026-01-02T12:00:00Z"}', '["p","local",null]'],
    ].map((lines) =>
      read(lines).then(
        () => 'read',
        (error: Error) => error.message,
      ),
    );
    expect(await Promise.all(problems)).toEqual([
      'cannot read the file: line 2 and those behind it are neither of a recording nor of what conntrack prints',
      'cannot read the file: line 1 and those behind it are neither of a recording nor of what conntrack prints',
      'cannot read the file: there is no flow in it',
      'cannot read the file: line 1 and those behind it are neither of a recording nor of what conntrack prints',
    ]);
  });

  it('goes on in a file that a killed run has left', async () => {
    const lines = record([1, begin(1)], [2, end(1, 10)]);
    const torn = [...lines.slice(0, -1), lines.at(-1)!.slice(0, 9)];
    const recording = await read([
      '',
      ...torn,
      ...record([1, begin(1)], [2, end(1, 10)]),
      '["e",1,77]',
      '["q"]',
      '{}',
      '"n"',
    ]);
    // The flow of the run that was killed ends with it.
    expect(recording).toMatchObject({ flows: 2, events: 4, torn: 5 });
    expect(compare(recording, policyOf('')).queues[0]).toMatchObject({
      before: { flows: 2 },
      after: { flows: 2, bytes: 110 },
    });
  });

  it('has of a flow that was there what it carried since, in each run that goes on in the file', async () => {
    const known = (bytesIn: number) => [1, { ...end(1, bytesIn), kind: 'flow.known' } as MonitorEvent] as const;
    const lines = record(known(1_000_000), [2, end(1, 1_000_600)]);
    expect(lines[2]).toBe('["n",1000,"tcp","10.0.0.2:1001","192.0.2.1:443","local",0,-1,0,1000000,100,10,10]');
    const recording = await read([...record([1, begin(1)], [2, end(1, 1_000_000)]), ...lines]);
    expect([0, 1].map((i) => recording.bytesOf(i))).toEqual([1_000_100, 600]);
    // Rules look at what it has carried in all, from the moment that it was told of.
    const compared = compare(recording, policyOf('rule big when bytes.in > 999KB for 500ms -> bulk'));
    expect(compared).toMatchObject({ flows: 2, runs: 2, rules: [{ after: 1 }] });
    const totals = new Float64Array(4);
    recording.readTotals(1, recording.timeOf(2) + 500, totals);
    expect([...totals]).toEqual([1_000_300, 100, 10, 10]);
  });

  it('has a flow once, however often the kernel’s table is read anew while it lasts', () => {
    const known = (queue: string) => begin(1, { kind: 'flow.known', queue });
    const lines = record([1, begin(1)], [2, known('local')], [3, known('bulk')], [4, end(1, 7)], [5, known('local')]);
    expect(lines.slice(2)).toEqual([
      '["n",1000,"tcp","10.0.0.2:1001","192.0.2.1:443","local",0]',
      '["u",1000,0,0]',
      '["p","bulk",null]',
      '["u",1000,0,1]',
      '["e",1000,0,7,100,10,10]',
      '["n",1000,"tcp","10.0.0.2:1001","192.0.2.1:443","local",0,-1]',
    ]);
  });

  it('waits for the ends of so many flows, and of no more', () => {
    const recorder = new Recorder(32);
    const take = (event: MonitorEvent, seq: number) =>
      recorder.linesOf({ seq, time: new Date(START).toISOString(), monotonic: 5, ...event } as MonitorItem);
    for (let id = 0; id < 33; id++) take(begin(id), id);
    expect([0, 2, 3, 32].map((id) => take(end(id, 1), 0).length)).toEqual([0, 0, 1, 1]);
    expect(take(begin(0, { kind: 'flow.update' }), 0)).toEqual([]);
  });

  it('ends a run’s flows with it, and nothing happens until the next one begins', async () => {
    const first = record([1, begin(1)], [2, begin(2)]);
    const day = 86_400_000;
    const second = record([1, begin(1)], [2, end(1, 10)]).map((line) =>
      line.includes('"recording"')
        ? line.replace(new Date(START).toISOString(), new Date(START + day).toISOString())
        : line,
    );
    const recording = await read([...first, ...second]);
    expect([...Array(recording.events).keys()].map((i) => [recording.eventOf(i), recording.timeOf(i) - START])).toEqual(
      [
        [{ flow: 0, ends: false }, 1000],
        [{ flow: 1, ends: false }, 2000],
        [{ flow: 0, ends: true }, 2000],
        [{ flow: 1, ends: true }, 2000],
        [{ flow: 2, ends: false }, day + 1000],
        [{ flow: 2, ends: true }, day + 2000],
      ],
    );
    const aged = compare(recording, policyOf('rule old when age > 60s -> bulk'));
    expect([aged.moves, aged.rules]).toEqual([[], [{ rule: 'old', before: 0, after: 0 }]]);
  });

  it('is read whatever it holds', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.json(), fc.string(), fc.constantFrom(...record([1, begin(1)], [2, end(1, 10)])))),
        async (lines) => {
          const recording = await read([record()[0]!, ...lines]);
          compare(recording, policyOf('rule big when bytes.in > 1KB -> bulk'));
        },
      ),
    );
  });
});

describe('a replay', () => {
  it('decides as the service does, at the recording’s clock', async () => {
    const recording = await read(
      record(
        [1, begin(1)],
        [2, begin(2, { remote: '192.0.2.1:22' })],
        [2, begin(3)],
        [2, begin(4, { origin: 'remote', queue: 'seed' })],
        [11, end(1, 1_000_000)],
        [12, end(2, 10, { remote: '192.0.2.1:22' })],
        // No end: what it carries is not known, its age is.
        [200, { kind: 'warning', message: 'x' }],
        [300, end(4, 10, { origin: 'remote' })],
      ),
    );
    const policy = policyOf(`rule ssh when remote.port 22 -> local
rule old when origin local and age > 120s -> seed
rule big when bytes.in > 500KB -> bulk
rule night when time in 00:00-00:01 and unit "x.service" -> bulk`);
    const compared = compare(recording, policy);
    expect(compared.moves).toEqual([
      { from: 'local', to: 'bulk', flows: 1, yours: 1, bytes: 1_000_100 },
      { from: 'local', to: 'seed', flows: 1, yours: 1, bytes: 0 },
    ]);
    expect(compared.rules.map(({ rule, after }) => [rule, after])).toEqual([
      ['ssh', 1],
      ['old', 1],
      ['big', 1],
      ['night', 0],
    ]);
    expect(compared).toMatchObject({ flows: 4, changes: 2, unknown: ['unit'] });
    expect(JSON.stringify(compare(recording, policy))).toBe(JSON.stringify(compared));
    // Against another policy in place of what ran.
    expect(compare(recording, policy, policy).moves).toEqual([]);
    expect(compare(recording, policyOf(''), policy).moves.map(({ from, to }) => [from, to])).toEqual([
      ['bulk', 'local'],
      ['seed', 'local'],
    ]);
  });

  it('has time go on, and never back', async () => {
    const ping = { origin: 'remote', protocol: 'icmp', queue: 'seed' };
    const recording = await read(record([0, begin(1, ping)], [1.25, begin(2)], [1.26, end(2, 1_000_000)]));
    const policy = policyOf('rule small when tcp and bytes.in < 1KB -> bulk');
    expect(compare(recording, policy).rules).toEqual([{ rule: 'small', before: 0, after: 0 }]);
  });

  it('counts every rule by its name, however many there are', async () => {
    const ports = Array.from({ length: 1001 }, (_, i) => i + 1);
    const recording = await read(record(...ports.map((id) => [1, begin(id)] as const)));
    const rules = ports.map((port) => `rule r${port} when local.port ${1000 + port} -> bulk`).join('\n');
    expect(compare(recording, policyOf(rules)).rules.filter(({ after }) => after !== 1)).toEqual([]);
  });

  it('counts what goes on at the same time, and fills sets', async () => {
    const recording = await read(
      record(
        ...[1, 2, 3, 4].map(
          (id) => [id, begin(id, { local: '10.0.0.2:5000', remote: `192.0.2.${id}:1`, origin: 'remote' })] as const,
        ),
        [5, begin(5, { remote: '192.0.2.4:80' })],
      ),
    );
    const rules = `set seen = { }
rule swarm when origin remote and count(peers by local.port) > 3 -> bulk, add remote to seen for 1h
rule known when remote in seen -> seed`;
    expect(compare(recording, policyOf(rules)).rules.map(({ after }) => after)).toEqual([4, 1]);
  });

  it('comes to an end where more is put into a set than it holds', async () => {
    const recording = new Recording();
    const local = parseEnd('10.0.0.2:5000')!;
    for (let i = 0; i < 70_000; i++) {
      const remote = { address: Uint8Array.of(192, i >> 16, (i >> 8) & 255, i & 255), port: 443 };
      recording.add({ protocol: 6, local, remote, origin: 'local', zone: 0, time: START, began: START });
    }
    recording.add({ protocol: 17, local, remote: local, origin: 'local', zone: 0, time: START + 1300, began: START });
    const rules = `set seen = { }
rule old when tcp and age > 1s -> bulk, add remote to seen for 1h
rule known when remote in seen -> seed`;
    expect(compare(recording, policyOf(rules)).rules[0]!.after).toBeGreaterThan(60_000);
  });
});

describe('what conntrack prints', () => {
  const xml = (type: string, second: string, counters = '') =>
    `<flow type="${type}"><meta direction="original"><layer3 protonum="2" protoname="ipv4"><src>10.0.0.2</src><dst>192.0.2.2</dst></layer3><layer4 protonum="6" protoname="tcp"><sport>4000</sport><dport>443</dport></layer4>${counters}</meta><meta direction="reply"><layer3 protonum="2" protoname="ipv4"><src>192.0.2.2</src><dst>192.0.2.1</dst></layer3><layer4 protonum="6" protoname="tcp"><sport>443</sport><dport>4000</dport></layer4>${counters}</meta><meta direction="independent"><timeout>30</timeout><id>5</id><unreplied/></meta><when><hour>8</hour><min>07</min><sec>${second}</sec><wday>2</wday><day>23</day><month>11</month><year>2026</year></when></flow>`;
  const policy = policyOf('rule web when remote.port 443 and bytes > 90B -> bulk');

  it('as XML, event by event', async () => {
    const counters = '<counters><packets>1</packets><bytes>50</bytes></counters>';
    const lines = [
      '<?xml version="1.0" encoding="utf-8"?>',
      '<conntrack>',
      xml('new', '08'),
      xml('update', '08'),
      xml('destroy', '09', counters),
    ];
    const recording = await read([...lines, '<flow type="new">', '</conntrack>'], '10.0.0.0/8');
    expect(recording).toMatchObject({ flows: 1, events: 2, torn: 1 });
    expect([recording.originOf(0), recording.timeOf(1) - recording.timeOf(0), recording.bytesOf(0)]).toEqual([
      'local',
      1000,
      100,
    ]);
    const compared = compare(recording, policy);
    expect(compared.moves).toEqual([]);
    expect(compared.queues).toEqual([
      { queue: 'local', after: { flows: 0, bytes: 0 } },
      { queue: 'seed', after: { flows: 0, bytes: 0 } },
      { queue: 'bulk', after: { flows: 1, bytes: 100 } },
    ]);
  });

  it('says of which flows it was told no beginning, and what they carried', async () => {
    const counters = '<counters><packets>1</packets><bytes>50</bytes></counters>';
    const ended = await read([xml('destroy', '08', counters)], '10.0.0.0/8');
    expect(compare(ended, policy)).toMatchObject({
      ...{ flows: 1, unbegun: 1, uncounted: 0 },
      rules: [{ rule: 'web', after: 1 }],
    });
    const middle = await read([xml('update', '08'), xml('update', '09'), xml('destroy', '10')], '10.0.0.0/8');
    expect(compare(middle, policy)).toMatchObject({ flows: 1, unbegun: 1, uncounted: 1, rules: [{ after: 0 }] });
    expect(middle.beganOf(0)).toBeNaN();
    // Between hosts of this side, as ever.
    const inside = await read([xml('destroy', '08', counters)], '0.0.0.0/0');
    expect(inside).toMatchObject({ flows: 0, unbegun: 0 });
    // One of ours that ended with the service: what went on has no counts.
    const open = await read(record([1, begin(1)], [2, begin(2)], [3, end(1, 10)]));
    expect(compare(open, policy)).toMatchObject({ flows: 2, unbegun: 0, uncounted: 1 });
  });

  it('as a list, with or without counters, of both families', async () => {
    const recording = await read(
      [
        'tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=192.0.2.2 sport=4000 dport=443 packets=1 bytes=50 src=192.0.2.2 dst=192.0.2.1 sport=443 dport=4000 packets=1 bytes=50 [ASSURED] mark=0 use=1',
        'udp      17 29 src=192.0.2.9 dst=192.0.2.1 sport=45636 dport=51413 [UNREPLIED] src=10.0.0.2 dst=192.0.2.9 sport=51413 dport=45636 mark=0 use=1',
        'ipv6     10 icmpv6   58 29 src=fd00::2 dst=2001:db8::1 type=128 code=0 id=9272 src=2001:db8::1 dst=fd00::2 type=129 code=0 id=9272 mark=0 use=1',
        // Between hosts of this side: none of our business.
        'udp      17 29 src=10.0.0.2 dst=10.0.0.3 sport=1 dport=2 src=10.0.0.3 dst=10.0.0.2 sport=2 dport=1 mark=0 use=1',
        'nonsense',
      ],
      '10.0.0.0/8',
      'fd00::/8',
    );
    expect([0, 1, 2].map((i) => recording.originOf(i))).toEqual(['local', 'remote', 'local']);
    expect(recording).toMatchObject({ flows: 3, torn: 1, listed: true });
    expect(compare(recording, policy).queues.map(({ queue, after }) => [queue, after.flows])).toEqual([
      ['local', 1],
      ['seed', 1],
      ['bulk', 1],
    ]);
  });
});
