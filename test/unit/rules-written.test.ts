// What `headgate init` makes of a box, without one: the plan, and the policy that is written for it.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canBeWritten, joinRanges, planBox } from '../../src/cli/box-plan.ts';
import { parseListener, type Survey, type SurveyedDevice } from '../../src/kernel/index.ts';
import { type BoxPlan, createDecide, formatPolicy, parsePolicy, writePolicy } from '../../src/language/index.ts';
import { formatPrefix, maskAddress, type Prefix, parseAddress, parsePrefix } from '../../src/model/index.ts';

const prefix = (text: string): Prefix => parsePrefix(text)!;
const device = (name: string, networks: string[] = [], more: Partial<SurveyedDevice> = {}): SurveyedDevice => ({
  name,
  up: true,
  addresses: networks.map((text) => ({ ...prefix(text), length: prefix(text).address.length * 8 })),
  networks: networks.map(prefix),
  ...more,
});
const box = (more: Partial<Survey>): Survey => ({
  uplinks: ['eth0'],
  devices: [],
  forwards: false,
  listeners: [],
  ...more,
});

describe('ss', () => {
  it.each([
    [
      'tcp   LISTEN 0      128          0.0.0.0:22        0.0.0.0:*    users:(("sshd",pid=1,fd=3))',
      { protocol: 'tcp', port: 22, process: 'sshd' },
    ],
    [
      'tcp LISTEN 0 128 [::]:51413 [::]:* users:(("transmission-da",pid=7,fd=3),("x",pid=8,fd=3))',
      { protocol: 'tcp', port: 51413, process: 'transmission-da' },
    ],
    ['udp UNCONN 0 0 192.0.2.1%eth0:68 0.0.0.0:*', { protocol: 'udp', port: 68, process: undefined }],
    ['udp UNCONN 0 0 *:6881 *:*', { protocol: 'udp', port: 6881, process: undefined }],
    ['tcp LISTEN 0 128 127.0.0.1:631 0.0.0.0:*', undefined],
    ['udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*', undefined],
    ['tcp LISTEN 0 128 [::1]:631 [::]:*', undefined],
    ['', undefined],
  ])('%s', (line, listener) => {
    expect(parseListener(line)).toEqual(listener);
  });

  it('reads any line', () => {
    fc.assert(fc.property(fc.string(), (line) => void parseListener(line)));
  });
});

describe('plan', () => {
  it('of a router: what lies behind it, each network once, and none of the link', () => {
    const plan = planBox(
      box({
        forwards: true,
        devices: [
          device('eth0', ['203.0.113.0/24'], { speed: 1e9 }),
          device('br0', ['192.168.0.0/16', '192.168.1.0/24', 'fd00::/64', 'fd00::/64', '10.0.0.9/32']),
          device('ifb0', ['10.9.0.0/16'], { kind: 'ifb' }),
          device('down0', ['10.8.0.0/16'], { up: false }),
        ],
      }),
      {},
    );
    expect(plan).toMatchObject({ device: 'eth0', download: 950e6, upload: 950e6, cardSpeed: 1e9 });
    expect(plan.lan.map(formatPrefix)).toEqual(['192.168.0.0/16', 'fd00::/64']);
  });

  it('of a host: no networks behind it, whatever devices it has', () => {
    expect(planBox(box({ devices: [device('docker0', ['172.17.0.0/16'])] }), {}).lan).toEqual([]);
  });

  it('finds torrent clients by name or by their usual ports, and none of their pages', () => {
    const listeners = [
      { protocol: 'tcp', port: 22, process: 'sshd' },
      { protocol: 'tcp', port: 2222, process: 'dropbear' },
      { protocol: 'tcp', port: 9091, process: 'transmission-da' },
      { protocol: 'tcp', port: 31337, process: 'transmission-da' },
      { protocol: 'udp', port: 31337, process: 'transmission-da' },
      { protocol: 'tcp', port: 6881 },
      { protocol: 'tcp', port: 443, process: 'nginx' },
      { protocol: 'udp', port: 5353, process: 'avahi-daemon' },
    ] as const;
    const plan = planBox(box({ listeners }), {});
    expect(plan.seedPorts).toEqual([
      { first: 6881, last: 6881 },
      { first: 31337, last: 31337 },
    ]);
    expect(plan.adminPorts).toEqual([22, 2222]);
    expect(plan.others).toEqual([{ protocol: 'tcp', port: 443, process: 'nginx' }]);
  });

  it('takes what is said before what is found', () => {
    const wishes = { device: 'ppp0', download: 5e6, lan: [], seedPorts: [], adminPorts: [] };
    const found = box({
      forwards: true,
      devices: [device('eth0'), device('ppp0', [], { speed: 1e8 }), device('br0', ['10.0.0.0/8'])],
      listeners: [{ protocol: 'tcp', port: 22 }],
    });
    expect(planBox(found, wishes)).toMatchObject({ ...wishes, upload: 95e6, otherUplinks: ['eth0'] });
  });

  it('joins ranges that touch', () => {
    expect(joinRanges([3, 1, 2, 7].map((port) => ({ first: port, last: port })))).toEqual([
      { first: 1, last: 3 },
      { first: 7, last: 7 },
    ]);
  });
});

describe('policy', () => {
  const port = fc.integer({ min: 1, max: 65535 });
  const address = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  const anyPrefix = fc.tuple(address, fc.nat(128)).map(([bytes, length]): Prefix => {
    const most = Math.min(length, bytes.length * 8);
    return { address: maskAddress(Uint8Array.from(bytes), most), length: most };
  });
  const rate = fc.option(fc.integer({ min: 8_000, max: 400_000_000_000 }), { nil: undefined });
  const name = fc.stringMatching(/^[!#-.0-9;-~]{1,15}$/);
  const listener = fc.record({
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
    port,
    process: fc.option(fc.string({ maxLength: 15 }), { nil: undefined }),
  });
  const survey = fc.record({
    uplinks: fc.uniqueArray(name, { maxLength: 3 }),
    devices: fc.array(
      fc.record({
        name,
        up: fc.boolean(),
        speed: fc.constantFrom(undefined, 1e7, 1e9),
        addresses: fc.array(
          address.map((bytes) => ({ address: Uint8Array.from(bytes), length: bytes.length * 8 })),
          { maxLength: 2 },
        ),
        networks: fc.array(anyPrefix, { maxLength: 3 }),
      }),
      { maxLength: 4 },
    ),
    forwards: fc.boolean(),
    listeners: fc.array(listener, { maxLength: 20 }),
  });
  const wishes = fc.record(
    {
      device: name.filter(canBeWritten),
      download: rate,
      upload: rate,
      lan: fc.array(anyPrefix, { maxLength: 4 }),
      seedPorts: fc.array(
        port.map((first) => ({ first, last: Math.min(65535, first + 20) })),
        { maxLength: 5 },
      ),
      adminPorts: fc.array(port, { maxLength: 3 }),
    },
    { requiredKeys: [] },
  );

  it('has no finding, whatever the box and the wishes, and is laid out alike every time', () => {
    fc.assert(
      fc.property(survey, wishes, (found, wanted) => {
        const text = formatPolicy(writePolicy(planBox(found, wanted)), 'init.gate').text!;
        expect(formatPolicy(text, 'init.gate').text).toBe(text);
        const { policy, diagnostics } = parsePolicy(text, 'init.gate');
        expect(diagnostics).toEqual([]);
        const decide = createDecide(policy!);
        for (const { facts, queue } of policy!.expects) expect(decide(facts).queue).toBe(queue);
      }),
      { numRuns: 300 },
    );
  });

  const plan: BoxPlan = {
    device: 'eth0',
    otherUplinks: [],
    download: 95e6,
    upload: 19_500_000,
    lan: [prefix('192.168.1.0/24'), prefix('fd00::/64')],
    address: parseAddress('203.0.113.9')!,
    adminPorts: [22],
    seedPorts: [{ first: 6881, last: 6889 }],
    others: [{ protocol: 'tcp', port: 443, process: 'ng\u001binx' }],
  };

  it('reads so', () => {
    expect(formatPolicy(writePolicy(plan), 'init.gate').text).toMatchSnapshot();
  });

  it('says what is not known', () => {
    const text = writePolicy({
      ...plan,
      device: undefined,
      download: undefined,
      upload: undefined,
      lan: [],
      others: [],
    });
    expect(text).toContain('There is no default route here');
    expect(text).toContain('left out: download and upload');
    expect(text).toContain('link wan { }');
  });
});
