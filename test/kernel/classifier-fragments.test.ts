// Fragments: the first decides for those behind it, of its own datagram only, and not for long. Shown on Linux 6.1 and 6.18.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BOX, ClassifierLab, type Count, until, type Way, WORLD } from './classifier-lab.ts';
import { type Bytes, ETHERTYPE, ethernet, fragmentHeader, ipv4, ipv6, PROTOCOL, udp } from './packets.ts';

type Family = 4 | 6;

interface Fragment {
  readonly id: number;
  /** In bytes; 0: the first. */
  readonly offset: number;
  readonly more: boolean;
  readonly protocol?: number;
}

/** Ports of the world's and the box's ends. */
const LOCAL = { world: 2000, box: 1000 };
const REMOTE = { world: 3000, box: 4000 };

let lab: ClassifierLab;

beforeAll(async () => {
  lab = await ClassifierLab.build();
  for (const v of ['v4', 'v6'] as const) {
    const add = (from: string, to: string, sport: number, dport: number) =>
      lab.box.run(
        'conntrack',
        '-I',
        '-s',
        from,
        '-d',
        to,
        '-p',
        'udp',
        '--sport',
        `${sport}`,
        '--dport',
        `${dport}`,
        '-t',
        '600',
      );
    await add(BOX[v], WORLD[v], LOCAL.box, LOCAL.world);
    await add(WORLD[v], BOX[v], REMOTE.world, REMOTE.box);
  }
});
afterAll(() => lab?.close());

function fragment(
  way: Way,
  family: Family,
  { id, offset, more, protocol = PROTOCOL.udp }: Fragment,
  flow = LOCAL,
): Bytes {
  const [source, destination] = way === 'in' ? [WORLD, BOX] : [BOX, WORLD];
  const [sourcePort, destinationPort] = way === 'in' ? [flow.world, flow.box] : [flow.box, flow.world];
  const payload = offset === 0 ? udp({ sourcePort, destinationPort }, 56) : new Uint8Array(64);
  const link = { source: source.mac, destination: destination.mac };
  if (family === 4) {
    const ip = { source: source.v4, destination: destination.v4, protocol, id, offset, more };
    return ethernet(link, ETHERTYPE.ipv4, ipv4(ip, payload));
  }
  const ip = { source: source.v6, destination: destination.v6, protocol: PROTOCOL.fragment };
  return ethernet(link, ETHERTYPE.ipv6, ipv6(ip, fragmentHeader(protocol, { id, offset, more }, payload)));
}

const FIRST = { offset: 0, more: true };
const MIDDLE = { offset: 64, more: true };
const LAST = { offset: 128, more: false };

describe.each([
  ['in', 4],
  ['in', 6],
  ['out', 4],
  ['out', 6],
] as const)('way %s, IPv%i', (way, family) => {
  const send = (count: Count, ...frames: Bytes[]) =>
    expect(lab.counting(way, () => lab.inject(way, ...frames), count)).resolves.toEqual(count);
  const of = (fragment_: Fragment, flow = LOCAL) => fragment(way, family, fragment_, flow);

  test('the first decides for those behind it', () =>
    send(
      { verdicts: { local: 3, fragment_hit: 2 }, classes: { 1: 3 } },
      of({ id: 1, ...FIRST }),
      of({ id: 1, ...MIDDLE }),
      of({ id: 1, ...LAST }),
    ));

  test('one whose first was not seen is new', () =>
    send({ verdicts: { new: 1, fragment_miss: 1 }, classes: { 3: 1 } }, of({ id: 2, ...MIDDLE })));

  test('a new first fragment of the same id replaces the old verdict', () =>
    send(
      { verdicts: { local: 2, remote: 2, fragment_hit: 2 }, classes: { 1: 2, 2: 2 } },
      of({ id: 3, ...FIRST }),
      of({ id: 3, ...LAST }),
      of({ id: 3, ...FIRST }, REMOTE),
      of({ id: 3, ...LAST }),
    ));

  test('a whole datagram with a fragment header speaks for itself alone', async () => {
    if (family === 4) return send({ verdicts: { local: 1 }, classes: { 1: 1 } }, of({ id: 4, offset: 0, more: false }));
    await send(
      { verdicts: { local: 1, new: 1, fragment_miss: 1 }, classes: { 1: 1, 3: 1 } },
      of({ id: 4, offset: 0, more: false }),
      of({ id: 4, ...LAST }),
    );
  });

  test('the protocol tells IPv4 datagrams apart; IPv6 goes by addresses and id', () =>
    send(
      family === 4
        ? { verdicts: { local: 1, new: 1, fragment_miss: 1 }, classes: { 1: 1, 3: 1 } }
        : { verdicts: { local: 2, fragment_hit: 1 }, classes: { 1: 2 } },
      of({ id: 5, ...FIRST }),
      of({ id: 5, ...LAST, protocol: PROTOCOL.tcp }),
    ));

  test('what is left alone is left alone to its last fragment', () =>
    send(
      { verdicts: { left_alone: 2, fragment_hit: 1 }, classes: {} },
      of({ id: 6, ...FIRST }, family === 4 ? { world: 67, box: 67 } : { world: 547, box: 547 }),
      of({ id: 6, ...LAST }),
    ));
});

test('the first does not speak for long', async () => {
  const ways = ['in', 'out'] as const;
  const both = (at: { offset: number; more: boolean }, way: Way) =>
    ([4, 6] as const).map((family) => fragment(way, family, { id: 7, ...at }));
  const readings = [await lab.reader('in'), await lab.reader('out')];
  const start = performance.now();
  for (const way of ways) await lab.inject(way, ...both(FIRST, way));
  const counts = await until(
    async () => {
      for (const way of ways) await lab.inject(way, ...both(LAST, way));
      return Promise.all(readings.map((reading) => reading()));
    },
    (all) => all.every(({ verdicts }) => (verdicts.fragment_miss ?? 0) >= 2),
    10_000,
  );
  const seconds = (performance.now() - start) / 1000;
  for (const { verdicts } of counts) {
    expect(verdicts.fragment_hit).toBeGreaterThan(2);
    expect(verdicts.fragment_miss).toBeGreaterThanOrEqual(2);
  }
  expect(seconds).toBeGreaterThan(4.9);
  expect(seconds).toBeLessThan(7);
});
