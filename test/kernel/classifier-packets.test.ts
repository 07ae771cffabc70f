// What the classifier says of every kind of packet, one at a time, both ways; and that it changes none of them.
// Shown on Linux 6.1 and 6.18.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addFlows, cases } from './classifier-cases.ts';
import { bytesOf, ClassifierLab, until } from './classifier-lab.ts';
import { hex } from './packets.ts';

let lab: ClassifierLab;

beforeAll(async () => {
  lab = await ClassifierLab.build();
  await addFlows(lab);
});
afterAll(() => lab?.close());

describe.each(['in', 'out'] as const)('way %s', (way) => {
  test.each([...cases(way)])('$name', async ({ frame, count }) => {
    expect(await lab.counting(way, () => lab.inject(way, frame), count)).toEqual(count);
  });

  test('all come through unchanged', async () => {
    const sent = [...cases(way)];
    const names = new Map(sent.map(({ name, frame }) => [hex(bytesOf(frame)), name]));
    // What is left alone never sees the ifb.
    const expected = sent.filter(({ count }) => way === 'out' || !count.verdicts.left_alone);
    const capture = await lab.capture(way);
    const came = () => capture.frames().flatMap((frame) => names.get(frame) ?? []);
    await lab.inject(way, ...sent.map(({ frame }) => frame));
    await until(
      async () => came().length,
      (count) => count >= expected.length,
    );
    await capture.stop();
    expect(came().sort()).toEqual(expected.map(({ frame }) => names.get(hex(bytesOf(frame)))).sort());
  });
});
