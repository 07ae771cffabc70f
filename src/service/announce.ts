import { passedBy, type Scene } from '../apply/index.ts';
import type { Policy } from '../language/index.ts';
import { formatMark, type MarkField } from '../model/index.ts';
import type { MonitorEvent, QueueFigures } from '../monitor/index.ts';
import { classOf, type Datapath, type IfbShape, type LinkShape } from '../shape/index.ts';

/** The queues of a policy, as `ready` and `policy` tell them. */
export const figuresOf = (policy: Policy): QueueFigures[] =>
  policy.queues.map(({ name, share, ceiling }) => ({ name, number: classOf(policy, name), share, ceiling }));

/** Everything is in place. */
export function readyEvent(
  policy: Policy,
  shapes: readonly LinkShape[],
  datapath: Datapath,
  field: MarkField,
): MonitorEvent {
  return {
    kind: 'ready',
    datapath: datapath.name,
    marks: formatMark(field.mask),
    links: shapes.map(({ link, device, ifbs, upload, shares }) => ({
      name: link,
      device,
      download: shares === undefined ? rateOf(ifbs) : undefined,
      upload: upload?.rate,
      ...(shares !== undefined && { shares }),
    })),
    queues: figuresOf(policy),
  };
}

/** What a link's ifbs let through together, bit/s. */
const rateOf = (ifbs: readonly IfbShape[]): number | undefined =>
  ifbs.length === 0 ? undefined : ifbs.reduce((sum, { tree }) => sum + tree.rate, 0);

/** What the person should know of a policy that runs as it is. */
export const listAdvice = (shapes: readonly LinkShape[]): string[] =>
  shapes
    .filter((shape) => shape.ifbs.length === 0 && !shape.upload)
    .map(
      ({ link }) =>
        `link ${link} has no rate, so nothing is shaped (--download, --upload); headgate events shows its flows`,
    );

/** What of others no longer sees what arrives. */
export const listPassedBy = (shapes: readonly LinkShape[], scene: Scene, datapath: Datapath): string[] =>
  shapes.flatMap((shape) =>
    passedBy(shape, scene, datapath).map(
      (chain) =>
        `link ${shape.link}: what arrives on ${shape.device} passes by ${chain}, as bypass netdev-ingress allows`,
    ),
  );
