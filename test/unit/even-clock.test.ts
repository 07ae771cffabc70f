import { describe, expect, it } from 'vitest';
import { EvenClock } from '../../src/pipeline/even-clock.ts';
import { endOf } from '../../src/pipeline/flow-event.ts';

const HOUR = 3_600_000;
const START = 1_700_000_000_000;

function bench() {
  const time = { even: START, ahead: 0 };
  const clock = new EvenClock(
    () => time.even,
    () => time.even + time.ahead,
  );
  /** Time goes by; then somebody sets the clock of the wall, by so much. */
  const pass = (ms: number, set = 0) => {
    time.even += ms;
    time.ahead += set;
    return clock.look();
  };
  return { clock, pass };
}

describe('time that goes on evenly', () => {
  it('is that of the wall, while nobody sets it', () => {
    const { clock, pass } = bench();
    expect(pass(5000)).toEqual({ even: START + 5000, wall: START + 5000 });
    expect([clock.evenOf(START + 1000, START), clock.wallOf(START + 1000)]).toEqual([START + 1000, START + 1000]);
  });

  it('goes on when somebody does, either way, and knows what the kernel’s times were then', () => {
    const { clock, pass } = bench();
    pass(1000);
    expect(pass(1000, -HOUR)).toEqual({ even: START + 2000, wall: START + 2000 - HOUR });
    expect(clock.wallOf(START + 500)).toBe(START + 500 - HOUR);
    expect(clock.evenOf(START + 900, START + 1000)).toBe(START + 900);
    expect(clock.evenOf(START + 2500 - HOUR, START + 2600)).toBe(START + 2500);
    pass(1000, 24 * HOUR);
    expect(clock.evenOf(START + 3500 + 23 * HOUR, START + 3600)).toBe(START + 3500);
    expect(clock.evenOf(START + 2500 - HOUR, START + 2600)).toBe(START + 2500);
  });

  it('remembers few steps of a clock that is set without end', () => {
    const { clock, pass } = bench();
    for (let i = 0; i < 1000; i++) pass(1000, HOUR);
    expect(clock.evenOf(START + 1_000_500 + 1000 * HOUR, START + 1_000_500)).toBe(START + 1_000_500);
    expect(clock.evenOf(0, 0)).toBeLessThan(0);
  });

  it('knows when a flow began that is found long after, whatever was set in between', () => {
    const { clock, pass } = bench();
    pass(60_000, 50 * 365 * 24 * HOUR);
    pass(60_000);
    pass(60_000, -HOUR);
    const now = START + 300_000;
    const [on, back] = [50 * 365 * 24 * HOUR, 50 * 365 * 24 * HOUR - HOUR];
    // The second and the third within the moment in which a step is not seen yet.
    const walls = [
      START + 30_000,
      START + 59_900 + on,
      START + 179_900 + back,
      START + 100_000 + on,
      now - 1000 + back,
    ];
    const began = walls.map((wall) => clock.startOf(wall, now) - START);
    expect(began).toEqual([30_000, 59_900, 179_900, 100_000, 299_000]);
    // At its end it is still the same.
    for (const [i, start] of walls.entries())
      expect(endOf('local', START + began[i]!, now, clock, { start })).toMatchObject({ began: START + began[i]! });
  });

  it('says how long a flow has lived across a step', () => {
    const { clock, pass } = bench();
    pass(1000);
    // The kernel took its beginning 20 ms before it was heard of, and its end an hour and 5 s later by the wall.
    const heard = START + 1000;
    pass(4000, HOUR);
    const { even } = pass(1000);
    const end = { start: START + 980, stop: START + 5980 + HOUR };
    expect(endOf('local', heard, even, clock, end)).toMatchObject({ began: START + 980, duration: 5000, unknown: 20 });
    // A dump told of the beginning: it is the same now.
    expect(endOf('local', heard, even, clock, { ...end, start: heard }).unknown).toBeUndefined();
  });
});
