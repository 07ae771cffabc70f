// The place of the seed's scenarios: a box, and another machine on its `wan`. Ends that send and hear are one process each.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Program } from '../../../src/lab/index.ts';
import { Gateway, WAN, WORLD } from '../../kernel/gateway.ts';
import { Host } from '../../kernel/host.ts';
import { soon } from '../../kernel/soon.ts';

export const [WAN6, WORLD6] = ['2001:db8::1', '2001:db8::2'];
/** The box and the other machine, in both families. */
export const PAIRS = [
  { box: WAN, world: WORLD },
  { box: WAN6, world: WORLD6 },
] as const;

export const QUEUES = `queue known { share 50% }  queue unknown { share 10% }
default local -> known  remote -> known  new -> unknown
`;

export interface Place {
  readonly gateway: Gateway;
  readonly box: Host;
  readonly world: Host;
}

export async function build(): Promise<Place> {
  const gateway = await Gateway.build();
  try {
    await gateway.box.batch(`address add ${WAN6}/64 dev wan nodad`);
    await gateway.world.batch(`address add ${WORLD6}/64 dev up0 nodad`);
    const [box, world] = await Promise.all([Host.start(gateway.box), Host.start(gateway.world)]);
    // What waits for a neighbour to answer is bounded: of 200 datagrams some would be lost there.
    for (const pair of PAIRS) await soon(() => gateway.world.run('ping', '-c', '1', '-W', '1', pair.box));
    return { gateway, box, world };
  } catch (error) {
    await gateway.close();
    throw error;
  }
}

export async function up({ gateway }: Place, policy: string, ...args: readonly string[]): Promise<Program> {
  const file = join(gateway.folder, 'seed.gate');
  await writeFile(file, policy);
  return gateway.up(file, '--device', 'wan', ...args);
}

/** Packets in each queue of what arrives on the first link. */
export const queues = async ({ gateway }: Place): Promise<Record<string, number>> =>
  Object.fromEntries((await gateway.link()).download!.queues.map(({ name, packets }) => [name!, packets]));
