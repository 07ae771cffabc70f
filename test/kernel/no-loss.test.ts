// Reloads in place and with an ifb beside the other, under 20,000 numbered packets a second: every one arrives, once, and
// in its class. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo, tbf).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Gateway, WAN, WORLD } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';
import { type StreamResult, streamWhile, type Way } from './stream.ts';

vi.setConfig({ testTimeout: 240_000 * PATIENCE });

/** Both ways together; of more than is promised, since a busy machine sends less. */
const RATE = 24_000;
const PROMISED = 20_000;
const PORT = 6000;
/** Where the machine itself had no time for packets, it says nothing of ours: then once more. */
const ATTEMPTS = 3;

const queues = (fast: string) => `queue mine { share 60% }
queue theirs { share 30%
  queue seed { share 40% }
  queue fast { share 40% ${fast} }
}
queue new { share 10% }
rule fast when origin remote and udp and local.port in ${PORT}-${PORT + 1} -> fast
default local -> mine  remote -> seed  new -> new
`;
const link = (more = '') => `link wan { device wan  download 10gbit  upload 10gbit ${more} }\n`;
const BASE = link() + queues('');
/** What a reload changes to, and whether that takes another ifb. */
const CHANGES: readonly [name: string, policy: string, beside: boolean][] = [
  ['rates', `${link().replaceAll('10gbit', '9gbit')}${queues('ceiling 50%')}`, false],
  ['overhead', link('overhead docsis') + queues(''), false],
  ['a table of sizes', link('overhead -4 mpu 64') + queues(''), false],
  ['transmit queues', link('numtxqueues 2') + queues(''), true],
  ['an ifb per origin', link('ifb per origin') + queues(''), true],
  ['another link', `link lan { device lan  share tree with wan }\n${BASE}`, false],
  ['another kind of leaf', link() + queues('leaf tbf'), true],
];

let gateway: Gateway;
let file: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
});
afterEach(() => gateway.close());

const reload = async (policy: string): Promise<void> => {
  await writeFile(file, policy);
  expect(await gateway.headgate('reload')).toMatchObject({ status: 0, stderr: '' });
};

/** Packets by queue that the link's ifbs have let through; an ifb begins with none. */
const counted = async (): Promise<Record<string, number>> =>
  Object.fromEntries((await gateway.link()).download!.queues.map(({ name, packets }) => [name, packets]));

/** What the machine itself had no time for: packets that a veth's end had no room for (net.core.netdev_max_backlog). */
async function overflow(): Promise<number> {
  const { box, world, inside } = gateway;
  const counts = [box, world, inside].map(async (ns) => {
    const links = JSON.parse(await ns.run('ip', '-json', '-statistics', 'link', 'show')) as {
      ifname: string;
      stats64: { rx: { dropped: number } };
    }[];
    return links.filter(({ ifname }) => /^(wan|lan|up0|eth0)$/.test(ifname)).map(({ stats64 }) => stats64.rx.dropped);
  });
  return (await Promise.all(counts)).flat().reduce((sum, dropped) => sum + dropped, 0);
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, number) => all + number, 0);

it('loses none, sends none twice, and leaves every flow in its class', async ({ annotate }) => {
  const { box, world, inside } = gateway;
  await writeFile(file, BASE);
  const program = await gateway.up(file);
  const way = { port: PORT, rate: RATE / 2 };
  const ways: Way[] = [
    { ...way, from: world, to: box, address: WAN, flows: 4 },
    { ...way, from: inside, to: world, address: WORLD, flows: 3 },
  ];
  const ifbs = async () => (await gateway.link()).ifbs.map(({ name }) => name).join();

  const measured: Record<string, StreamResult[]> = {};
  for (const [name, policy, beside] of CHANGES) {
    for (let attempt = 1; ; attempt++) {
      const before = await overflow();
      const results = await streamWhile(ways, async () => {
        await soon(async () => expect((await counted()).fast).toBeGreaterThan(RATE / 20));
        const was = await ifbs();
        await reload(policy);
        expect([name, (await ifbs()) !== was]).toEqual([name, beside]);
        const { fast, seed, ...others } = await counted();
        // On a new ifb all that was counted came since: nothing of these flows went anywhere else.
        if (beside) expect([name, others.new, fast! > 0, seed! > 0]).toEqual([name, 0, true, true]);
        await reload(BASE);
      });
      measured[name] = results;
      const missed = (await overflow()) - before + sum(results.map(({ overrun }) => overrun));
      // A machine that has no time for its own queues says nothing of ours.
      if (missed > 0 && attempt < ATTEMPTS) continue;
      const [lost, twice] = [results.map((r) => sum(r.lost)), results.map((r) => sum(r.twice))];
      expect({ name, missed, lost, twice }).toEqual({ name, missed: 0, lost: [0, 0], twice: [0, 0] });
      break;
    }
  }
  const rates = Object.values(measured).map((ways) => sum(ways.map(({ rate }) => rate)));
  const packets = sum(
    Object.values(measured)
      .flat()
      .flatMap(({ sent }) => sent),
  );
  const least = Math.round(Math.min(...rates));
  // A shortfall of the sender is the machine's; it is said, and is no loss.
  await annotate(
    `${packets} packets, at ${least} a second at least${least < PROMISED ? ': the machine had no time for more' : ''}`,
  );
  await program.stop('SIGTERM');
});
