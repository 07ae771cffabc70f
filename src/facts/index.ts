import { CgroupPaths } from '../kernel/index.ts';
import { linkEvents, packetPayloads, packetSamples } from '../kernel/sources.ts';
import type { Sides } from '../pipeline/index.ts';
import { NAMES_GROUP, OPENING_GROUP } from '../shape/index.ts';
import { nameSource } from './names.ts';
import { openingSource } from './opening.ts';
import type { KnownSource } from './source.ts';
import { swarmSource } from './swarms.ts';
import { processSource, whoSource } from './who.ts';

export type { KnownSource } from './source.ts';

/** Whatever finds out facts of flows, in this network namespace. None is open until a rule asks for one of its facts. */
export function factSources(sides: Pick<Sides, 'isOwn'>): readonly KnownSource[] {
  const isOwn = sides.isOwn.bind(sides);
  const cgroups = new CgroupPaths();
  return [
    nameSource(packetPayloads({ group: NAMES_GROUP })),
    whoSource({ isOwn, cgroups }),
    processSource({ isOwn, cgroups }),
    swarmSource(),
    openingSource({ samples: packetSamples({ group: OPENING_GROUP }), links: linkEvents() }),
  ];
}
