import type { Rate } from '../model/index.ts';
import type { LinkStatus, QueueStatus, Status } from '../service/index.ts';

/** What one queue of a link did, one way, between two looks at the kernel. */
export interface QueueFigure {
  readonly link: string;
  readonly way: 'download' | 'upload';
  readonly name: string;
  /** Bit/s that it sent; undefined after one look. */
  readonly rate: Rate | undefined;
  /** What it is guaranteed, and most; undefined where the tree knows no such thing. */
  readonly share: Rate | undefined;
  readonly ceil: Rate | undefined;
  /** Packets a second. */
  readonly dropRate: number | undefined;
  readonly drops: number;
  readonly backlogBytes: number;
}

export interface Figures {
  readonly status: Status;
  readonly queues: readonly QueueFigure[];
}

/** A look at the kernel, and when that was, ms of any clock that goes on. */
export interface Look {
  readonly status: Status;
  readonly at: number;
}

/** What the second look says, and what changed since the first. A queue of a tree that was made anew has no rate yet. */
export function figuresOf(look: Look, before?: Look): Figures {
  const seconds = before ? (look.at - before.at) / 1000 : 0;
  const queues = look.status.links.flatMap((link) => {
    const was = before?.status.links.find(({ device }) => device === link.device);
    return (['download', 'upload'] as const).flatMap((way) =>
      // A link that shares another's tree shows nothing of its own.
      way === 'download' && link.shares !== undefined
        ? []
        : (link[way]?.queues ?? []).map((queue) => figureOf(link, way, queue, find(was, way, queue), seconds)),
    );
  });
  return { status: look.status, queues };
}

const find = (link: LinkStatus | undefined, way: 'download' | 'upload', { device, classid }: QueueStatus) =>
  link?.[way]?.queues.find((queue) => queue.device === device && queue.classid === classid);

function figureOf(
  { name: link }: LinkStatus,
  way: QueueFigure['way'],
  queue: QueueStatus,
  was: QueueStatus | undefined,
  seconds: number,
): QueueFigure {
  const grown = (now: number, before: number | undefined) =>
    before === undefined || now < before || seconds <= 0 ? undefined : (now - before) / seconds;
  const bytes = grown(queue.bytes, was?.bytes);
  return {
    ...{ link, way, name: queue.name ?? queue.classid, share: queue.rate, ceil: queue.ceil },
    rate: bytes === undefined ? undefined : bytes * 8,
    dropRate: grown(queue.drops, was?.drops),
    drops: queue.drops,
    backlogBytes: queue.backlogBytes,
  };
}
