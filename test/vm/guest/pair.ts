// A box and the world at the other end of its link, with hosts that serve and ask; no NAT, no forwarding.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getTcStats, listDevices } from '../../../src/kernel/index.ts';
import { addVeth, Namespace, Program } from '../../../src/lab/index.ts';
import { type Exit, exitOf, HEADGATE } from '../../kernel/gateway.ts';
import { Host } from '../../kernel/host.ts';
import { PATIENCE } from '../../kernel/soon.ts';

export const BOX = { v4: '192.0.2.1', v6: '2001:db8::1' };
export const WORLD = { v4: '192.0.2.2', v6: '2001:db8::2' };

export class Pair {
  readonly box: Namespace;
  readonly world: Namespace;
  readonly atBox: Host;
  readonly atWorld: Host;
  readonly folder: string;
  program: Program | undefined;

  private constructor(box: Namespace, world: Namespace, atBox: Host, atWorld: Host, folder: string) {
    this.box = box;
    this.world = world;
    this.atBox = atBox;
    this.atWorld = atWorld;
    this.folder = folder;
  }

  /** Both ends echo on 7000, by UDP and TCP. */
  static async build(): Promise<Pair> {
    const [box, world] = [await Namespace.add('box'), await Namespace.add('world')];
    try {
      await addVeth(box, 'wan', world, 'wan');
      for (const [ns, end] of [
        [box, BOX],
        [world, WORLD],
      ] as const) {
        await ns.run('ip', 'address', 'add', `${end.v4}/24`, 'dev', 'wan');
        await ns.run('ip', 'address', 'add', `${end.v6}/64`, 'dev', 'wan', 'nodad');
      }
      await box.run('sysctl', '-qw', 'net.ipv4.icmp_ratelimit=0');
      const folder = await mkdtemp(join(tmpdir(), 'hg-pair-'));
      const pair = new Pair(box, world, await Host.start(box), await Host.start(world), folder);
      for (const v of ['v4', 'v6'] as const)
        for (const transport of ['udp', 'tcp'] as const) {
          await pair.atBox.serve(transport, BOX[v], 7000);
          await pair.atWorld.serve(transport, WORLD[v], 7000);
        }
      return pair;
    } catch (error) {
      await Promise.all([box, world].map((ns) => ns.del()));
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.down();
    await Promise.all([this.box, this.world].map((ns) => ns.del()));
    await rm(this.folder, { recursive: true, force: true });
  }

  headgate(...args: string[]): Promise<Exit> {
    return exitOf(this.box.name, ...HEADGATE, ...args);
  }

  /** Writes a policy's file, and returns its path. */
  async write(policy: string): Promise<string> {
    const file = join(this.folder, 'test.gate');
    await writeFile(file, policy);
    return file;
  }

  /** Starts `headgate up`; returns the datapath that it took, when it steers. */
  async up(...args: string[]): Promise<string> {
    this.program = Program.start('headgate up', ['env', ...HEADGATE, 'up', '--json', ...args], {
      netns: this.box.name,
    });
    const ready = await this.program.line((line) => line.includes('"kind":"ready"'), 30_000 * PATIENCE);
    return (JSON.parse(ready) as { datapath: string }).datapath;
  }

  async down(): Promise<void> {
    await this.program?.stop('SIGTERM');
    this.program = undefined;
  }

  /** Packets that each of the classes from 1 to `count` of hg-wan has let pass. */
  async classes(count: number): Promise<number[]> {
    const ifb = (await listDevices({ netns: this.box.name })).find(({ name }) => name === 'hg-wan')!;
    const stats = getTcStats(this.box.path, ifb.index);
    return Array.from(
      { length: count },
      (_, i) => stats.find((s) => s.isClass && s.handle === ((0x7fe0 << 16) | (i + 1)) >>> 0)?.packets ?? 0,
    );
  }
}
