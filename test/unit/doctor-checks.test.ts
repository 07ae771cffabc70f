// Each judgement by itself; test/kernel/doctor-checks.test.ts provokes them.

import { describe, expect, it } from 'vitest';
import type { Scene } from '../../src/apply/index.ts';
import { listConcerns } from '../../src/cli/doctor-checks.ts';
import type { Evidence } from '../../src/cli/doctor-evidence.ts';
import type { Filter } from '../../src/kernel/index.ts';
import { add, readFlowtables } from '../../src/kernel/reading-offload.ts';
import type { DeviceReading, Readings } from '../../src/kernel/readings.ts';

const OFFLOAD = { flowtables: [], offloaded: 0, hardware: 0, looked: 40, bytes: 0, offloadedBytes: 0, counted: 0 };
const QUIET: Readings = {
  offload: OFFLOAD,
  devices: [{ name: 'wan', txqueuelen: 1000, speed: 1e9, features: new Set() }],
  conntrack: { count: 40, max: 1000 },
  bridge: { families: [], bridges: [] },
  receiveBuffer: { asked: 8 << 20, given: 8 << 20 },
  clock: true,
};
const SCENE: Scene = {
  devices: [],
  qdiscs: [{ device: 'wan', kind: 'fq_codel', handle: '0:', root: true }],
  hooks: new Map(),
  chains: [],
  nat: [],
  ifbs: [],
  table: 'none',
  field: undefined,
  arrivals: 'none',
  formerRoots: [],
  mirrors: new Map(),
  taps: [],
};
const WANTS: Evidence['wants'] = { links: [{ device: 'wan', download: 90e6, upload: 18e6 }], clock: false };

const concerns = (
  readings: Partial<Readings>,
  wants: Partial<Evidence['wants']> = {},
  scene: Partial<Scene> = {},
  hung?: number,
) =>
  listConcerns({
    hung,
    readings: { ...QUIET, ...readings },
    wants: { ...WANTS, ...wants },
    scene: { ...SCENE, ...scene },
  });
const briefly = (...of: Parameters<typeof concerns>) =>
  concerns(...of).map(({ check, severity }) => `${severity} ${check}`);
const device = (more: Partial<DeviceReading>): Partial<Readings> => ({ devices: [{ ...QUIET.devices[0]!, ...more }] });

it('nothing where nothing is, and where nothing could be read', () => {
  expect(concerns({})).toEqual([]);
  expect(
    concerns({ devices: [{ name: 'wan' }], conntrack: {}, clock: undefined, receiveBuffer: { asked: 1 } }),
  ).toEqual([]);
  expect(concerns({}, { links: [] })).toEqual([]);
});

it('a service that hangs', () => {
  expect(briefly({}, {}, {}, 4711)).toEqual(['problem service-hangs']);
  expect(concerns({}, {}, {}, 4711)[0]!.what).toContain('pid 4711');
});

it('each says what to do, and problems come first', () => {
  const found = concerns(
    { ...device({ speed: 50e6, txqueuelen: 0 }), clock: false, conntrack: { count: 999, max: 1000 } },
    { clock: true },
  );
  expect(found.map(({ severity }) => severity)).toEqual(['problem', 'problem', 'warning', 'warning']);
  for (const { advice } of found) expect(advice.length).toBeGreaterThan(10);
});

describe('flowtables', () => {
  const table = { name: 'inet fw f', devices: ['wan', 'lan'], hardware: false, counter: true };

  it.each([
    ['on a device of the policy', { flowtables: [table] }, ['problem flowtable']],
    ['on others', { flowtables: [{ ...table, devices: ['lan'] }] }, []],
    ['flows in the card', { hardware: 3, offloaded: 3 }, ['problem hardware-offload']],
  ])('%s', (_, offload, expected) => expect(briefly({ offload: { ...OFFLOAD, ...offload } })).toEqual(expected));

  it('are told with the part of the traffic that they take', () => {
    const offload = { ...OFFLOAD, flowtables: [table], offloaded: 12, bytes: 1000, offloadedBytes: 830, counted: 30 };
    expect(concerns({ offload })[0]!.what).toContain(
      '12 of 40 flows at the moment, 83 % of the bytes of the 30 that are counted',
    );
    const readings = { offload: { ...offload, counted: 40 }, conntrack: { count: 40, max: 1000 } };
    expect(concerns(readings)[0]!.what).toContain('12 of 40 flows at the moment, 83 % of the bytes of all');
    expect(concerns({ ...readings, conntrack: { count: 90_000, max: 100_000 } })[0]!.what).toContain(
      '83 % of the bytes of the 40 that were looked at',
    );
    expect(concerns({ offload: { ...offload, bytes: 0 } })[0]!.what).toMatch(/12 of 40 flows at the moment$/);
    const silent = { ...offload, flowtables: [{ ...table, counter: false }] };
    expect(concerns({ offload: silent })[0]!.what).toContain(
      '12 of 40 flows at the moment; how many bytes is not known',
    );
  });

  it('are counted by the status of conntrack’s entries', () => {
    const total = { ...OFFLOAD, looked: 0 };
    add(total, 0x1 << 14, 100);
    add(total, (1 << 14) | (1 << 15), undefined);
    add(total, 0x8e, 50);
    expect(total).toMatchObject({ looked: 3, offloaded: 2, hardware: 1, bytes: 150, offloadedBytes: 100, counted: 2 });
  });

  it('are read as nft lists them', () => {
    // As nft 1.0.6 prints them (src/rule.c, flowtable_print_declaration()).
    const text = `table inet fw {
	flowtable f {
		hook ingress priority filter
		devices = { lan, wan }
		flags offload
		counter
	}
}
table ip other {
	flowtable g {
		hook ingress priority filter
		devices = { "odd name" }
	}
}
`;
    expect(readFlowtables(text)).toEqual([
      { name: 'inet fw f', devices: ['lan', 'wan'], hardware: true, counter: true },
      { name: 'ip other g', devices: ['odd name'], hardware: false, counter: false },
    ]);
    expect(readFlowtables('')).toEqual([]);
  });
});

describe('others on the device', () => {
  const root = { device: 'wan', kind: 'cake', handle: '8001:', root: true };
  const filter: Filter = { chain: 0, pref: 49152, protocol: 'all', kind: 'matchall' };
  const redirect = {
    ...filter,
    kind: 'u32',
    filter: { ...filter, match: { kind: 'u32', keys: [] }, actions: [{ kind: 'redirect', device: 'ifb4wan' }] },
  } as const;
  const hook = (...ingress: Filter[]): Partial<Scene> => ({
    hooks: new Map([
      [
        'wan',
        {
          ingress: ingress as Scene['hooks'] extends ReadonlyMap<string, infer H> ? H['ingress' & keyof H] : never,
          egress: [],
          ours: false,
        },
      ],
    ]),
  });

  it.each<[string, Partial<Scene>, string[]]>([
    ['a root qdisc', { qdiscs: [root] }, ['problem other-shaper']],
    ['a root qdisc of another device', { qdiscs: [{ ...root, device: 'lan' }] }, []],
    ['our root qdisc', { qdiscs: [{ ...root, kind: 'htb', handle: '7fe1:' }] }, []],
    ['a redirect', hook(redirect), ['problem other-shaper']],
    ['a filter', hook(filter), ['problem ingress-filters']],
    ['our filter', hook({ ...filter, kind: 'bpf', pref: 0x7fe0, bpfName: 'ingress-1a.bpf.o:[ingress]' }), []],
    ['a netdev chain', { chains: [{ device: 'wan', name: 'table netdev fw chain in' }] }, ['problem netdev-ingress']],
    [
      'our netdev chain',
      { arrivals: 'ours', chains: [{ device: 'wan', name: 'table netdev headgate chain arrive-wan' }] },
      [],
    ],
  ])('%s', (_, scene, expected) => expect(briefly({}, {}, scene)).toEqual(expected));

  it('the redirect is told with where it leads', () =>
    expect(concerns({}, {}, hook(redirect))[0]!.what).toContain('redirected to ifb4wan by somebody else'));
});

it.each([
  [799, []],
  [800, ['warning conntrack-full']],
  [950, ['problem conntrack-full']],
])('conntrack with %i of 1000 entries', (count, expected) =>
  expect(briefly({ conntrack: { count, max: 1000 } })).toEqual(expected),
);

it.each<[string, Readings['bridge'], string[]]>([
  ['off', { families: [], bridges: ['br0'] }, []],
  ['on, without bridges', { families: ['IPv4'], bridges: [] }, []],
  ['on, beside the link', { families: ['IPv4', 'IPv6'], bridges: ['br0'] }, ['note bridge-netfilter']],
  ['on, and the link is a bridge', { families: ['IPv6'], bridges: ['wan'] }, ['warning bridge-netfilter']],
])('br_netfilter %s', (_, bridge, expected) => expect(briefly({ bridge })).toEqual(expected));

describe('the device', () => {
  it.each<[string, Partial<DeviceReading>, Partial<Evidence['wants']>, string[]]>([
    ['is slower than the download', { speed: 50e6 }, {}, ['problem rate-above-link']],
    ['is slower than both', { speed: 10e6 }, {}, ['problem rate-above-link', 'problem rate-above-link']],
    ['is as fast', { speed: 90e6 }, {}, []],
    ['has a tiny queue', { txqueuelen: 32 }, {}, ['note txqueuelen']],
    ['has no queue', { txqueuelen: 0 }, {}, ['warning txqueuelen']],
    ['joins packets by LRO', { features: new Set(['large-receive-offload']) }, {}, ['warning lro']],
    ['joins packets on a fast line', { features: new Set(['generic-receive-offload']) }, {}, []],
    [
      'joins packets on a slow line',
      { features: new Set(['generic-receive-offload', 'generic-segmentation-offload', 'tcp-segmentation-offload']) },
      { links: [{ device: 'wan', download: 10e6, upload: 2e6 }] },
      ['warning gro', 'warning gso', 'warning tso'],
    ],
    [
      'joins packets, and nobody says at which rate',
      { features: new Set(['generic-receive-offload']) },
      { links: [{ device: 'wan' }] },
      [],
    ],
  ])('%s', (_, reading, wants, expected) => expect(briefly(device(reading), wants)).toEqual(expected));

  it('is told how long one packet takes', () =>
    expect(
      concerns(device({ features: new Set(['generic-receive-offload']) }), {
        links: [{ device: 'wan', download: 10e6 }],
      })[0]!.what,
    ).toContain('hold up a line of 10mbit download for 52 ms'));
});

it('a small receive buffer', () => {
  expect(briefly({ receiveBuffer: { asked: 8 << 20, given: 212_992 } })).toEqual(['warning receive-buffer']);
  expect(concerns({ receiveBuffer: { asked: 8 << 20, given: 212_992 } })[0]!.what).toContain(
    '208 KiB to wait in, of 8192',
  );
});

it('a clock that nobody keeps right matters to rules with a time', () => {
  expect(briefly({ clock: false })).toEqual([]);
  expect(briefly({ clock: false }, { clock: true })).toEqual(['warning clock']);
  expect(briefly({ clock: true }, { clock: true })).toEqual([]);
});
