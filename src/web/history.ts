import type { DirectionStatus, QueueStatus, Status } from '../service/index.ts';

/** Points of time that the chart shows: two minutes and a half at one a second. */
export const MOST_POINTS = 150;
/** Ms between two readings after which what was in between is not known: a gap. */
export const GAP_MS = 5000;

export const WAYS = ['download', 'upload'] as const;
export type Way = (typeof WAYS)[number];

/** A queue over the time from one reading to the next. */
export interface QueueRate {
  readonly name: string;
  /** bit/s. */
  readonly rate: number;
  /** Packets a second. */
  readonly drops: number;
  readonly backlog: number;
  /** Ms that what waits will take at this rate; undefined: something waits, and nothing goes. */
  readonly delay: number | undefined;
}

export interface Point {
  /** Ms of this browser's clock. */
  readonly time: number;
  /** None: there was nothing to compare with, or the counters began anew. */
  readonly queues: readonly QueueRate[] | undefined;
  /** Packets a second by what the classifier found. */
  readonly verdicts: Readonly<Record<string, number>>;
}

/** What goes one way over one link, over time. */
export interface Track {
  readonly link: string;
  readonly way: Way;
  readonly points: readonly Point[];
}

interface Reading {
  readonly time: number;
  readonly direction: DirectionStatus;
}

/** Makes rates of counters that are read again and again. */
export class Rates {
  readonly #last = new Map<string, Reading>();
  readonly #tracks = new Map<string, Track & { readonly points: Point[] }>();

  /** Takes what was read at this time; links and directions that are there no more are forgotten. */
  add({ links }: Pick<Status, 'links'>, time: number): readonly Track[] {
    const seen = new Set<string>();
    for (const link of links)
      for (const way of WAYS) {
        const direction = link[way];
        // The tree of another link is shown there.
        if (!direction || (way === 'download' && link.shares !== undefined)) continue;
        const key = `${way} ${link.name}`;
        seen.add(key);
        const track = this.#tracks.get(key) ?? { link: link.name, way, points: [] };
        track.points.push(pointOf(this.#last.get(key), { time, direction }));
        if (track.points.length > MOST_POINTS) track.points.shift();
        this.#tracks.set(key, track);
        this.#last.set(key, { time, direction });
      }
    for (const key of this.#tracks.keys())
      if (!seen.has(key)) {
        this.#tracks.delete(key);
        this.#last.delete(key);
      }
    return [...this.#tracks.values()];
  }
}

function pointOf(before: Reading | undefined, { time, direction }: Reading): Point {
  const passed = before ? time - before.time : 0;
  if (!before || passed <= 0 || passed > GAP_MS) return { time, queues: undefined, verdicts: {} };
  const old = byQueue(before.direction.queues);
  const now = byQueue(direction.queues);
  const perSecond = (after: number, earlier = 0) => ((after - earlier) * 1000) / passed;
  const restarted = [...now].some(([name, { bytes }]) => bytes < (old.get(name)?.bytes ?? 0));
  if (restarted) return { time, queues: undefined, verdicts: {} };
  return {
    time,
    queues: [...now].map(([name, { bytes, drops, backlog }]) => {
      const rate = perSecond(bytes * 8, (old.get(name)?.bytes ?? bytes) * 8);
      const delay = backlog === 0 ? 0 : rate > 0 ? (backlog * 8000) / rate : undefined;
      return { name, rate, drops: Math.max(0, perSecond(drops, old.get(name)?.drops ?? drops)), backlog, delay };
    }),
    verdicts: Object.fromEntries(
      Object.entries(direction.packets).map(([verdict, count]) => [
        verdict,
        Math.max(0, perSecond(count, before.direction.packets[verdict])),
      ]),
    ),
  };
}

/** A queue stands on each ifb of a link: together they are one. */
function byQueue(queues: readonly QueueStatus[]) {
  const found = new Map<string, { bytes: number; drops: number; backlog: number }>();
  for (const { name, classid, bytes, drops, backlogBytes } of queues) {
    const key = name ?? classid;
    const sum = found.get(key) ?? { bytes: 0, drops: 0, backlog: 0 };
    found.set(key, { bytes: sum.bytes + bytes, drops: sum.drops + drops, backlog: sum.backlog + backlogBytes });
  }
  return found;
}
