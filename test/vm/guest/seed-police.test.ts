// What ifb.txt, the text that Headgate began with, does by hand with a policer, from a policy, with real packets, read from
// the kernel's counters. Shown on Linux 6.1 (Debian 12) and 6.18.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Program } from '../../../src/lab/index.ts';
import type { Status } from '../../../src/service/index.ts';
import { HEADGATE, WAN, WORLD } from '../../kernel/gateway.ts';
import { PATIENCE, soon } from '../../kernel/soon.ts';
import { readCapture } from './capture.ts';
import { build, PAIRS, type Place, QUEUES, up, WORLD6 } from './seed.ts';

/** Without a rate for the link nothing else drops. Rates of their own, so that the families do not share one. */
const ALIAS = `link wan { device wan }
${QUEUES}rule alias4 when remote in ${WORLD} -> police 100kbit, mirror to spy
rule alias6 when remote in ${WORLD6} -> police 100kbit, mirror to spy
`;
const SENT = 200;
/** Of a datagram with 1000 bytes, in each family, as netfilter counts it. */
const LENGTHS = { alias4: 1028, alias6: 1048 };

let place: Place;
let headgate: Program;
let capture: string;
/** Numbers of the datagrams that passed, by family. */
let heard: readonly (readonly number[])[];
let status: Status;

/** Starts a `headgate tap`, and resolves when it captures. */
async function startTap(...argv: readonly [string, ...string[]]): Promise<Program> {
  const tap = Program.start('headgate tap', argv, { netns: place.gateway.box.name });
  await tap.line((line) => line.includes('listening on spy'), 10_000 * PATIENCE);
  return tap;
}

beforeAll(async () => {
  place = await build();
  const { gateway, box, world } = place;
  headgate = await up(place, ALIAS);
  capture = join(gateway.folder, 'spy.pcap');
  const tap = await startTap('sh', '-c', 'exec "$@" 2>&1 >"$0"', capture, ...HEADGATE, 'tap', 'spy', 'udp');
  for (const { box: address } of PAIRS) {
    await box.sink(address, 17001);
    await world.tell(address, 17001, SENT, { from: 17000, size: 1000 });
  }
  // All have gone one of two ways.
  await soon(async () => {
    const { policers } = await gateway.status();
    heard = await Promise.all(PAIRS.map(({ box: address }) => box.heard(address, 17001)));
    const dropped = policers.filter(({ way }) => way === 'in').map((policer) => policer.dropped.packets);
    expect(heard.map(({ length }, i) => length + dropped[i]!)).toEqual([SENT, SENT]);
  });
  await soon(async () =>
    expect(readCapture(await readFile(capture)).length).toBeGreaterThanOrEqual(heard.flat().length),
  );
  expect((await tap.stop('SIGTERM')).status).toBe(0);
  status = JSON.parse((await gateway.headgate('status', '--json')).stdout) as Status;
});
afterAll(() => place?.gateway.close());

describe('(a) an address is policed to 100 kbit', () => {
  test('what is over it is dropped, and status says how much of each rule', () => {
    const arrived = status.policers.filter(({ way }) => way === 'in');
    expect(arrived.map(({ rule }) => rule)).toEqual(['alias4', 'alias6']);
    for (const [i, { rule, passed, dropped }] of arrived.entries()) {
      const length = LENGTHS[rule as keyof typeof LENGTHS];
      const count = (packets: number) => ({ packets, bytes: packets * length });
      expect({ passed, dropped }).toEqual({ passed: count(heard[i]!.length), dropped: count(SENT - heard[i]!.length) });
      // A GRO packet's 64 KB and a second's worth pass at once (docs/limits.md).
      expect(passed.packets).toBeGreaterThan(60);
      expect(passed.packets).toBeLessThan(150);
    }
  });

  test('in its text, too', async () => {
    const text = (await place.gateway.headgate('status')).stdout;
    for (const [i, numbers] of heard.entries()) {
      const [rule, length] = Object.entries(LENGTHS)[i]!;
      const columns = [numbers.length, SENT - numbers.length].flatMap((packets) => [packets * length, packets]);
      expect(text.replace(/ +/g, ' ')).toContain(`${rule} in ${columns.join(' ')}\n`);
    }
  });
});

describe('(b) what passes the policer is mirrored to a tap', () => {
  test('a capture there has exactly those packets', async () => {
    expect(readCapture(await readFile(capture))).toEqual(heard.flat());
  });

  test('what is no tap of ours is not read', async () => {
    await place.gateway.box.batch('link add ifb9 type ifb');
    const exits = ['ifb9', 'none'].map(async (name) => {
      const { status: exit, stderr } = await place.gateway.headgate('tap', name);
      expect([exit, stderr]).toEqual([3, expect.stringContaining(`no tap of ours named ${name}`)]);
      expect(stderr).toContain('Taps here: spy.');
    });
    await Promise.all(exits);
  });

  test('on a terminal they are lines, and end with the tap', async () => {
    const tap = await startTap('script', '-qec', [...HEADGATE, 'tap', 'spy', 'udp'].join(' '), '/dev/null');
    await place.world.tell(WAN, 17001, 1, { from: 17000, size: 1000 });
    await tap.line((line) => line.includes(`IP ${WORLD}.17000 > ${WAN}.17001: UDP, length 1000`), 10_000 * PATIENCE);
    await headgate.stop('SIGTERM');
    expect(await tap.ended).toEqual({ status: 0, signal: null });
  });
});
