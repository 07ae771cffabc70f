// Frames of chance, both ways: whatever comes, it is counted once, traffic goes on, and the classifier reads nothing
// that is not there. HEADGATE_SEED=N replays a run. Shown on Linux 6.1 and 6.18.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { addFlows, cases } from './classifier-cases.ts';
import { BOX, bytesOf, ClassifierLab, outcomes, until, type Way, WORLD } from './classifier-lab.ts';
import { type Bytes, ETHERTYPE, ethernet } from './packets.ts';

const FRAMES = 4000;
const SEED = Number(process.env.HEADGATE_SEED ?? Date.now() % 2 ** 32);

/** Marsaglia's xorshift32: numbers in 0..below-1. */
function random(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Random bytes behind each ethertype, and good frames with bytes changed, cut or made longer. */
function* frames(way: Way, next: (below: number) => number): Generator<Bytes> {
  const good = [...cases(way)].map(({ frame }) => bytesOf(frame).subarray(0, 1400));
  const ethertypes = [...Object.values(ETHERTYPE), 0x8863, 0x9100, 0x0000, 0xffff];
  const noise = (length: number) => Uint8Array.from({ length }, () => next(256));
  const [source, destination] = way === 'in' ? [WORLD.mac, BOX.mac] : [BOX.mac, WORLD.mac];
  for (;;) {
    if (next(2) === 0) {
      const payload = noise(next(200));
      // A right version, often: else nearly all of them would end there.
      if (payload.length > 0 && next(4) > 0) payload[0] = [0x45, 0x4f, 0x60, 0x11][next(4)]!;
      yield ethernet({ source, destination }, ethertypes[next(ethertypes.length)]!, payload);
      continue;
    }
    const frame = Uint8Array.from(good[next(good.length)]!);
    for (let flips = next(4); flips > 0; flips--) frame[14 + next(frame.length - 13)] = next(256);
    const cut = next(3) === 0 ? 14 + next(frame.length - 13) : frame.length;
    yield Uint8Array.from([...frame.subarray(0, cut), ...noise(next(3) === 0 ? next(64) : 0)]);
  }
}

/** The kernel itself drops a frame that ends within its first tag, before tc (skb_vlan_untag()). */
const isSeen = (frame: Bytes): boolean =>
  frame.length >= 20 || ![ETHERTYPE.vlan, ETHERTYPE.qinq].includes((frame[12]! << 8) | frame[13]!);

let lab: ClassifierLab;
beforeAll(async () => {
  lab = await ClassifierLab.build();
  await addFlows(lab);
  await lab.serve(lab.world, 'tcp', WORLD.v4, 7000);
});
afterAll(() => lab?.close());

test.each(['in', 'out'] as const)(`${FRAMES} frames of chance, way %s, seed ${SEED}`, async (way) => {
  console.log(`HEADGATE_SEED=${SEED}`);
  const source = frames(way, random(SEED));
  const all: Bytes[] = [];
  while (all.length < FRAMES) {
    const frame = source.next().value as Bytes;
    if (isSeen(frame)) all.push(frame);
  }

  const before = await lab.passed(way);
  const reading = await lab.reader(way);
  const pinging = lab.box.run('ping', '-q', '-i', '0.002', '-c', '500', '-W', '5', WORLD.v4);
  await lab.inject(way, ...all);
  expect(await pinging).toContain(' 0% packet loss');
  await lab.ask(lab.box, 'tcp', WORLD.v4, 7000, 100_000);

  // Each packet that the device has carried was seen once, and has one outcome.
  const { seen, carried } = await until(
    async () => ({ seen: outcomes(await reading()), carried: (await lab.passed(way)) - before }),
    (both) => both.seen === both.carried,
  );
  expect(seen).toBe(carried);
  expect(seen).toBeGreaterThan(FRAMES + 500);
  const { verdicts, classes } = await reading();
  const shaped = ['local', 'remote', 'new', 'marked'] as const;
  for (const name of [...shaped, 'left_alone', 'icmp_error', 'vlan', 'pppoe', 'unsupported', 'malformed'] as const)
    expect(verdicts[name], name).toBeGreaterThan(0);
  expect(Object.values(classes).reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(
    shaped.reduce((sum, name) => sum + verdicts[name]!, 0),
  );
});
