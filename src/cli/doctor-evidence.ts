import type { Scene } from '../apply/index.ts';
import type { Readings } from '../kernel/readings.ts';
import type { Policy } from '../language/index.ts';
import type { Rate } from '../model/index.ts';

/** What the checks judge by. */
export interface Evidence {
  readonly readings: Readings;
  readonly scene: Scene;
  readonly wants: Wants;
  /** Process that has the place of the service, and does not answer. */
  readonly hung?: number | undefined;
}

/** What somebody wants of the box, for the checks to judge by. */
export interface Wants {
  readonly links: readonly WantedLink[];
  /** Rules ask for the time of day or the day. */
  readonly clock: boolean;
}

export interface WantedLink {
  readonly device: string;
  /** Absent: not known. */
  readonly download?: Rate | undefined;
  readonly upload?: Rate | undefined;
}

export const wantsOf = ({ links, needs }: Policy): Wants => ({
  links: links.flatMap(({ device, download, upload }) => (device === undefined ? [] : [{ device, download, upload }])),
  clock: needs.clock,
});
