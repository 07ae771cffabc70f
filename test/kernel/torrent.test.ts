// A torrent client behind Headgate, a dozen on the other side, and a download beside them: the client is found by what it
// does (ports are random, encryption is enforced), and the download has the link. transmission of Debian, in namespaces.
// Shown on the machine's own kernel (6.18).

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { run } from '../../src/kernel/index.ts';
import {
  ACCESS_LINK,
  ADDRESSES,
  Lab,
  type Namespace,
  Program,
  packageFile,
  receivedMbit,
  Transfer,
  WAN,
} from '../../src/lab/index.ts';
import { exitOf, HEADGATE } from './gateway.ts';
import { Looker } from './looker.ts';
import { PATIENCE } from './soon.ts';

const POLICY = `link wan { device ${WAN}  download 18mbit  upload 18mbit }
queue mine { share 70% }  queue theirs { share 10% }  queue seed { share 5% }
rule swarm when p2p -> seed
default local -> mine  remote -> theirs  new -> theirs
`;
const TRACKER = 6969;
/** Those that are there before the client, so that it goes to them, and those that come after. */
const EARLY = 7;
const LATE = 7;
const SECONDS = 6;

let folder: string;
let lab: Lab;
let tracker: Program;
let looker: Looker;
const programs: Program[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hg-torrent-'));
  lab = await Lab.build({ ...ACCESS_LINK, nat: false });
  const peers = Array.from({ length: EARLY + LATE }, (_, i) => `address add ${peerAddress(i)}/32 dev ${WAN}`);
  await lab.world.batch(...peers);
  await writeFile(join(folder, 'test.gate'), POLICY);
  await mkdir(join(folder, 'seed'));
  // More than the link carries while it lasts.
  await run(['dd', 'if=/dev/urandom', `of=${join(folder, 'seed/film')}`, 'bs=1M', 'count=160', 'status=none']);
  const announce = `http://${ADDRESSES.world.v4}:${TRACKER}/announce`;
  await run(['transmission-create', '-o', join(folder, 'film.torrent'), '-t', announce, join(folder, 'seed/film')]);
  const argv = [process.execPath, packageFile('test/kernel/tracker.mjs'), ADDRESSES.world.v4, `${TRACKER}`] as const;
  tracker = start('tracker', lab.world, argv);
  await tracker.line((line) => line === 'ready', 20_000 * PATIENCE);
  const up = start('headgate up', lab.box, ['env', ...HEADGATE, 'up', '--json', join(folder, 'test.gate')]);
  await up.line((line) => line.includes('"kind":"ready"'), 20_000 * PATIENCE);
  looker = new Looker(lab.box);
});
afterAll(async () => {
  for (const program of programs.reverse()) await program.stop('SIGTERM');
  await lab?.close();
  await rm(folder, { recursive: true, force: true });
});

function start(name: string, where: Namespace, argv: readonly [string, ...string[]]): Program {
  const program = Program.start(name, argv, { netns: where.name });
  programs.push(program);
  return program;
}

const peerAddress = (i: number): string => `198.51.100.${11 + i}`;

/** A client on a port of its own choice; resolves when the tracker has heard of it. */
async function client(where: Namespace, address: string, data: string, ...limits: string[]): Promise<number> {
  const config = join(folder, `config-${address}`);
  await mkdir(config);
  const port = 10_000 + Math.floor(Math.random() * 50_000);
  // What it has no option for.
  const settings = { 'bind-address-ipv4': address, 'lpd-enabled': false, 'dht-enabled': true, 'utp-enabled': true };
  await writeFile(join(config, 'settings.json'), JSON.stringify(settings));
  await mkdir(join(folder, data), { recursive: true });
  const argv = ['transmission-cli', '-er', '-M', '-p', `${port}`, '-g', config, '-w', join(folder, data), ...limits];
  const heard = tracker.line((line) => line === `${address}:${port}`, 60_000 * PATIENCE).then(() => true);
  for (;;) {
    const program = start(`client ${address}`, where, ['env', ...argv, join(folder, 'film.torrent')]);
    // It ends where it looks at its torrent before that has begun (main() of its cli.c), on a busy machine.
    if (await Promise.race([heard, program.ended.then(() => false)])) return port;
  }
}

/** They take what they get from the one behind Headgate, and keep it to themselves: else they would share this machine's speed. */
const leech = (i: number) => client(lab.world, peerAddress(i), `leech-${i}`, '-u', '5');

const seedBytes = async (): Promise<number> =>
  (await looker.status()).links[0]!.upload!.queues.find(({ name }) => name === 'seed')!.bytes;

it('is found, and leaves the link to a download beside it, and goes on', { timeout: 150_000 * PATIENCE }, async () => {
  await Promise.all(Array.from({ length: EARLY }, (_, i) => leech(i)));
  const port = await client(lab.lan, ADDRESSES.lan.v4, 'seed');
  await Promise.all(Array.from({ length: LATE }, (_, i) => leech(EARLY + i)));
  await vi.waitFor(
    async () => {
      const { facts } = (await looker.status()).service!;
      expect(facts).toMatchObject([{ word: 'p2p', counts: { swarms: 1 } }]);
      // The swarm moves.
      expect(await seedBytes()).toBeGreaterThan(2e6);
    },
    { timeout: 60_000 * PATIENCE, interval: 500 },
  );

  const server = await Transfer.serve(lab.world, ADDRESSES.world.v4, 8080);
  const download = await Transfer.open(lab.lan, 'fetch', ADDRESSES.world.v4, 8080, 2);
  try {
    // Past the slow start.
    const first = await download.sample();
    await vi.waitFor(
      async () => expect(receivedMbit(first, await download.sample())).toBeGreaterThan(0.7 * ACCESS_LINK.rateMbit),
      { timeout: 30_000 * PATIENCE },
    );
    const [before, bytes] = [await download.sample(), await seedBytes()];
    let after = await download.sample();
    while (after.at - before.at < SECONDS * 1000) after = await download.sample();
    const given = (await seedBytes()) - bytes;
    const mbit = receivedMbit(before, after);
    console.log(`download ${mbit.toFixed(1)} mbit of ${ACCESS_LINK.rateMbit}; the swarm got ${given} bytes meanwhile`);
    expect(mbit).toBeGreaterThan(0.7 * ACCESS_LINK.rateMbit);
    expect(given).toBeGreaterThan(100_000);
  } finally {
    await download.stop();
    await server.stop();
  }

  const flows = await Promise.all(
    ['tcp', 'udp'].map(async (protocol) => {
      const { stdout } = await exitOf(
        lab.box.name,
        ...[...HEADGATE, 'explain', '--live', `${protocol} ${ADDRESSES.lan.v4}:${port} -> ${peerAddress(EARLY)}`],
      );
      return stdout;
    }),
  );
  expect(flows.join()).toContain(`peers opened flows to port ${port} first (of at least 6)`);
  expect(flows.join()).toContain('queue seed, by rule swarm');
});
