import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import type { DatapathName } from '../../src/shape/index.ts';
import { Gateway, WORLD } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

const PARTS = ['devices', 'kept', 'guarded', 'hung', 'foreign', 'again', 'renamed', 'reload'] as const;
export type LifePart = (typeof PARTS)[number];

/** What up.test.ts and up-devices.test.ts say of `bpf`, of other datapaths: they come and go whole, whatever happens to devices. */
export function lifecycle(datapath: DatapathName, parts: readonly LifePart[] = PARTS): void {
  describe(`datapath ${datapath}`, () => {
    let gateway: Gateway;
    let program: Program | undefined;
    beforeEach(async () => {
      gateway = await Gateway.build();
    });
    afterEach(() => gateway.close());
    const part = (name: LifePart, ...test: [string, () => Promise<void>]) => {
      if (parts.includes(name)) it(...test);
    };
    const up = async (...args: string[]) => {
      program = await gateway.up('--datapath', datapath, ...args);
      return program;
    };
    const state = (wanted: string) =>
      program!.line(
        (line) => line.includes('"kind":"link"') && line.includes(`"state":"${wanted}"`),
        10_000 * PATIENCE,
      );
    /** Answers to pings take a class of ours. */
    const steered = async () => {
      const packets = async () => (await gateway.link()).download!.queues.reduce((sum, q) => sum + q.packets, 0);
      const before = await packets();
      expect(await gateway.ping(5)).toBe(0);
      expect(await packets()).toBeGreaterThanOrEqual(before + 5);
    };
    const isBack = () =>
      soon(async () => expect(await gateway.link()).toMatchObject({ state: 'steering', download: expect.anything() }));
    /** What stands between the device and the ifb: filters of tc, chains of nft. */
    const redirects = async (device: string) =>
      (await gateway.box.run('tc', 'filter', 'show', 'dev', device, 'ingress').catch(() => '')) +
      (await gateway.box.run('nft', 'list', 'ruleset')).replace(/^(?!.*hook ingress).*\n/gm, '');

    part(
      'devices',
      'flows that a rule names have its class both ways; an ifb taken down: the redirect goes; up again: it is back; deleted: it goes; no trace at the end',
      async () => {
        const before = await gateway.snapshot();
        const file = join(gateway.folder, 'test.gate');
        await writeFile(
          file,
          `link wan { device wan  download 50mbit  upload 50mbit }
queue mine { share 60% }  queue special { share 10% }
rule five when udp and remote.port 5000 -> special
default local -> mine  remote -> mine  new -> mine
`,
        );
        await up(file);
        expect(await gateway.status()).toMatchObject({ service: { datapath } });
        await gateway.serve(gateway.world, 'udp', WORLD, 5000);
        await soon(async () => {
          await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6000);
          const { download, upload } = await gateway.link();
          const special = (queues: typeof download) => queues!.queues.find(({ name }) => name === 'special')!.packets;
          expect(special(download)).toBeGreaterThan(0);
          expect(special(upload)).toBeGreaterThan(0);
        });

        await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'down');
        await state('open');
        expect(await redirects('wan')).toBe('');
        expect(await gateway.ping(5)).toBe(0);
        await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'up');
        await state('steering');
        await steered();

        await gateway.box.run('ip', 'link', 'del', 'hg-wan');
        await soon(async () => expect(await redirects('wan')).toBe(''));
        expect(await gateway.ping(5)).toBe(0);
        expect((await program!.stop('SIGTERM')).status).toBe(0);
        expect(await gateway.snapshot()).toBe(before);
      },
    );

    part('kept', 'kept or killed it goes on, until the next one or down takes it away', async () => {
      const before = await gateway.snapshot();
      await (await up('--keep')).stop('SIGTERM');
      await steered();
      expect(await gateway.status()).toMatchObject({ running: false, links: [{ state: 'kept' }] });
      await (await up()).stop('SIGKILL');
      await steered();
      await gateway.headgate('down');
      expect(await gateway.snapshot()).toBe(before);
    });

    part('guarded', 'killed, and its ifb set down or deleted: what arrives passes', async () => {
      for (const command of ['link set hg-wan down', 'link del hg-wan']) {
        await (await up()).stop('SIGKILL');
        await steered();
        await gateway.box.batch(command);
        // Of chains the others stay: nothing enters there any more.
        await soon(async () => expect(await redirects('wan')).not.toMatch(/ chain 0 |hook ingress/));
        expect(await gateway.ping(5)).toBe(0);
      }
      expect((await gateway.headgate('down')).status).toBe(0);
      expect(await redirects('wan')).toBe('');
    });

    part(
      'hung',
      'its ifb set down while the service hangs: what arrives passes; it goes on, and steers again',
      async () => {
        const before = await gateway.snapshot();
        await up();
        process.kill(program!.pid!, 'SIGSTOP');
        await gateway.box.batch('link set hg-wan down');
        const begin = Date.now();
        // The guard waits for ten seconds.
        await vi.waitFor(async () => expect(await redirects('wan')).not.toMatch(/ chain 0 |hook ingress/), {
          timeout: 10_000 + 10_000 * PATIENCE,
          interval: 50 * PATIENCE,
        });
        expect(Date.now() - begin).toBeGreaterThan(4000);
        expect(await gateway.ping(5)).toBe(0);
        process.kill(program!.pid!, 'SIGCONT');
        await state('open');
        await gateway.box.batch('link set hg-wan up');
        await state('steering');
        await steered();
        expect((await program!.stop('SIGTERM')).status).toBe(0);
        expect(await gateway.snapshot()).toBe(before);
      },
    );

    // What `map` makes stands elsewhere.
    if (datapath !== 'map')
      part('foreign', 'a filter of somebody else where ours lets packets in: up refuses; down leaves it', async () => {
        const put = () =>
          gateway.box.run(
            'tc',
            ...'filter add dev wan ingress protocol all pref 32736 u32 match u32 0 0xffffffff at 0 flowid :7'.split(
              ' ',
            ),
          );
        const theirs = async () => (await redirects('wan')).split('\n').filter((line) => line.includes(':7 '));
        await gateway.box.run('tc', 'qdisc', 'add', 'dev', 'wan', 'clsact');
        await put();
        const exit = await gateway.headgate('up', '--datapath', datapath, '--device', 'wan', '--download', '50mbit');
        expect(exit).toMatchObject({ status: 4, stderr: expect.stringContaining('not ours: pref 32736 u32.') });
        expect(await theirs()).toHaveLength(1);
        await gateway.box.run('tc', 'qdisc', 'del', 'dev', 'wan', 'clsact');
        await up();
        await put();
        expect((await program!.stop('SIGTERM')).status).toBe(0);
        expect(await theirs()).toHaveLength(1);
        expect(await redirects('wan')).not.toContain('goto');
      });

    part('again', 'killed and started again it goes on in place, and knows the flows that are there', async () => {
      const before = await gateway.snapshot();
      const index = async () => JSON.parse(await gateway.box.run('ip', '-json', 'link', 'show', 'hg-wan'))[0].ifindex;
      await up();
      await gateway.serve(gateway.world, 'udp', WORLD, 5000);
      const ask = () => gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6000);
      await ask();
      const first = await index();
      for (let start = 0; start < 2; start++) {
        await program!.stop('SIGKILL');
        await steered();
        await up();
        expect(program!.output.filter((line) => line.includes('built anew'))).toEqual([]);
        expect(await index()).toBe(first);
        const local = async () => (await gateway.link()).download!.queues[0]!.packets;
        const answers = await local();
        await soon(async () => {
          await ask();
          expect(await local()).toBeGreaterThan(answers);
        });
      }
      // Somebody has been at it: it is made anew.
      await program!.stop('SIGKILL');
      await gateway.box.run(
        'tc',
        'class',
        'change',
        'dev',
        'hg-wan',
        'parent',
        '7fe0:100',
        'classid',
        '7fe0:1',
        'htb',
        'rate',
        '1mbit',
      );
      await up();
      expect(await index()).not.toBe(first);
      expect((await program!.stop('SIGTERM')).status).toBe(0);
      expect(await gateway.snapshot()).toBe(before);
    });

    /** Older kernels (6.1) rename no device that is up. */
    const rename = (from: string, to: string) =>
      gateway.box.run('ip', 'link', 'set', from, 'name', to).catch(async () => {
        await gateway.box.run('ip', 'link', 'set', from, 'down');
        await gateway.box.run('ip', 'link', 'set', from, 'name', to);
        return gateway.box.run('ip', 'link', 'set', to, 'up');
      });

    part(
      'renamed',
      'the device renamed: nothing is left on it; of the old name again, or deleted and back: it is steered',
      async () => {
        await up();
        await rename('wan', 'wan9');
        await state('absent');
        expect(await redirects('wan9')).toBe('');
        expect(await gateway.ping(3)).toBe(0);
        await rename('wan9', 'wan');
        await isBack();
        await steered();

        await gateway.box.run('ip', 'link', 'del', 'wan');
        await soon(async () => expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-wan'));
        await gateway.layWan();
        await isBack();
        await steered();
        expect((await program!.stop('SIGTERM')).status).toBe(0);
        expect(await gateway.box.run('nft', 'list', 'tables')).not.toContain('headgate');
      },
    );

    part(
      'reload',
      'a reload to other classes and back loses no packet, and leaves what starting anew would',
      async () => {
        const file = join(gateway.folder, 'test.gate');
        const link = 'link wan { device wan  download 50mbit  upload 20mbit }\n';
        const rest = 'default local -> mine  remote -> seed  new -> new\n';
        const policies = [
          `${link}queue mine { share 70% }  queue new { share 10% }  queue seed { share 5% }\n${rest}`,
          `${link}queue voice { share 20% }  queue new { share 10% }  queue seed { share 5% }  queue mine { share 50% }\nrule voice when udp and remote.port 5000 -> voice\n${rest}`,
        ];
        const shown: string[][] = [];
        for (const policy of policies) {
          await writeFile(file, policy);
          await (await up(file)).line((line) => line.includes('"kind":"resync"'));
          shown.push(numberless(await gateway.snapshot()));
          await program!.stop('SIGTERM');
        }
        await writeFile(file, policies[0]!);
        await up(file);
        const lost = gateway.ping(60);
        for (const i of [1, 0, 1]) {
          await writeFile(file, policies[i]!);
          const exit = await gateway.headgate('reload');
          expect({ status: exit.status, stderr: exit.stderr }).toMatchObject({ status: 0 });
          expect(numberless(await gateway.snapshot())).toEqual(shown[i]);
          await steered();
        }
        expect(await lost).toBe(0);
      },
    );
  });
}

/**
 * Which of their two sets of numbers the filters have is of no meaning, nor in which order tables and filters were made, nor
 * which flows are in a map.
 */
const numberless = (snapshot: string): string[] =>
  snapshot
    .replace(/\b(pref|chain|fh|ht|index|order) [0-9a-f:]+/g, '$1 N')
    .replace(/^\d+: |link\/ether [0-9a-f:]+/gm, '')
    .replace(/^\s*elements = \{[^}]*\}\n/gm, '')
    // Of fq_codel, the flows that wait in it just now.
    .replace(/^class fq_codel .*\n/gm, '')
    .split(/^(?=table |filter |qdisc |class |\S+: )/m)
    .sort();
