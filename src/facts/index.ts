import { CgroupPaths } from '../kernel/index.ts';
import { packetPayloads } from '../kernel/sources.ts';
import type { Sides } from '../pipeline/index.ts';
import { NAMES_GROUP } from '../shape/index.ts';
import { nameSource } from './names.ts';
import type { KnownSource } from './source.ts';
import { swarmSource } from './swarms.ts';
import { processSource, whoSource } from './who.ts';

export { nameSource } from './names.ts';
export type { Finder } from './sockets.ts';
export type { KnownSource } from './source.ts';
export { PEER_LIFE, THRESHOLDS } from './swarm-port.ts';
export { swarmSource } from './swarms.ts';
export { processSource, whoSource } from './who.ts';

/** Whatever finds out facts of flows, in this network namespace. None is open until a rule asks for one of its facts. */
export function factSources(sides: Pick<Sides, 'isOwn'>): readonly KnownSource[] {
  const isOwn = sides.isOwn.bind(sides);
  const cgroups = new CgroupPaths();
  return [
    nameSource(packetPayloads({ group: NAMES_GROUP })),
    whoSource({ isOwn, cgroups }),
    processSource({ isOwn, cgroups }),
    swarmSource(),
  ];
}
