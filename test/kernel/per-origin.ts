import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import type { LinkStatus } from '../../src/service/index.ts';
import type { DatapathName } from '../../src/shape/index.ts';
import { Gateway, INSIDE, WAN, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { PATIENCE, soon } from './soon.ts';

const policyOf = ({ voice = 20, link = 'ifb per origin', asked = 60 } = {}) => `
link wan { device wan  download 50mbit  upload 20mbit  ${link} }
queue asked { share ${asked}%
  queue voice { share ${voice}% }
  queue local { share ${100 - voice}% }
}
queue remote { share ${90 - asked}% }
queue new    { share 10% }
rule voice when udp and origin local and remote.port 5001 -> voice
default local -> local  remote -> remote  new -> new
`;
/** `voice` is on another ifb. */
const MOVED = `
link wan { device wan  download 50mbit  upload 20mbit  ifb per origin }
queue local { share 70% }
queue theirs { share 20%
  queue remote { share 50% }
  queue voice { share 50% }
}
queue new    { share 10% }
rule voice when udp and origin local and remote.port 5001 -> voice
default local -> local  remote -> remote  new -> new
`;
const IFBS = ['hg-wan-local', 'hg-wan-remote', 'hg-wan-new'];
/** Where each queue stands. */
const PLACES = { voice: IFBS[0], local: IFBS[0], remote: IFBS[1], new: IFBS[2] };

/** `ifb per origin` on a datapath: one life, in two runs. */
export function perOrigin(datapath: DatapathName): void {
  describe(`an ifb for each origin, datapath ${datapath}`, () => {
    let gateway: Gateway;
    let before: string;
    let file: string;
    let program: Program;
    const up = async () => {
      await writeFile(file, policyOf());
      program = await gateway.up(file, '--device', 'wan', '--datapath', datapath);
    };
    beforeAll(async () => {
      gateway = await Gateway.build();
      // The ifbs' own router solicitations would be counted.
      await gateway.box.run('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
      before = await gateway.snapshot();
      file = join(gateway.folder, 'origins.gate');
      await up();
    });
    afterAll(() => gateway?.close());
    const packets = async (): Promise<Record<string, number>> =>
      Object.fromEntries((await gateway.link()).download!.queues.map((q) => [q.name!, q.packets]));
    const state = (wanted: string) =>
      program.line((line) => line.includes('"kind":"link"') && line.includes(`"state":"${wanted}"`), 10_000 * PATIENCE);
    const shown = async () =>
      (await gateway.snapshot())
        .replace(/^\d+: |link\/ether \S+|folder\S+|\/run\S+|(name|tag|id|jited) \S+/gm, '')
        // Flows that datapath map has put into its maps.
        .replace(/^\s*elements = \{[^}]*\}\n/gm, '');
    /** What a run made of the policy. */
    let byUp: string;
    const redirects = async () =>
      (await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress').catch(() => '')) +
      (await gateway.box.run('nft', 'list', 'ruleset')).replace(/^(?!.*hook ingress).*\n/gm, '');

    it('each has the queues of its origin at their share, and gets their packets', async () => {
      const [world, inside] = [await Host.start(gateway.world), await Host.start(gateway.inside)];
      await world.serve('udp', WORLD, 5000);
      await world.serve('udp', WORLD, 5001);
      await inside.serve('udp', INSIDE, 51413);
      const ask = { transport: 'udp', size: 200, times: 1, keep: true } as const;
      // A datapath may know a flow some time after its first packet.
      const reaches = (queue: string, one: () => Promise<void>) =>
        soon(async () => {
          const { [queue]: was } = await packets();
          await one();
          expect((await packets())[queue]).toBeGreaterThan(was!);
        });
      let port = 7000;
      await reaches('new', () => world.ask({ ...ask, address: WAN, port: 51413, from: port++ }));
      await reaches('remote', () => world.ask({ ...ask, address: WAN, port: 51413, from: 6000, keep: undefined }));
      await reaches('local', () => inside.ask({ ...ask, address: WORLD, port: 5000, from: 6000, keep: undefined }));
      await reaches('voice', () => inside.ask({ ...ask, address: WORLD, port: 5001, from: 6001, keep: undefined }));

      const { ifbs, download, state } = await gateway.link();
      expect(state).toBe('steering');
      expect(ifbs.map(({ name }) => name)).toEqual(IFBS);
      expect(Object.fromEntries(download!.queues.map((q) => [q.name, q.device]))).toEqual(PLACES);
      expect(download!.queues.map(({ rate, ceil }) => [rate, ceil])).toEqual([
        [6e6, 30e6],
        [24e6, 30e6],
        [15e6, 15e6],
        [5e6, 5e6],
      ]);
      for (const { name, redirected, rx, tx } of ifbs) {
        const sum = download!.queues.filter((q) => q.device === name).reduce((all, q) => all + q.packets, 0);
        expect([name, redirected.packets, rx.packets, tx.packets]).toEqual([name, sum, sum, sum]);
      }
      expect((await gateway.headgate('status')).stdout).toMatch(/^ +voice +hg-wan-local +7fe0:1 /m);
    });

    it('where one goes down or away the redirect to all goes first; up again it is back', async () => {
      const queued = async () => (await gateway.link()).download!.queues.reduce((sum, q) => sum + q.packets, 0);
      await gateway.box.run('ip', 'link', 'set', 'hg-wan-remote', 'down');
      await state('open');
      expect(await redirects()).toBe('');
      expect(await gateway.ping(5)).toBe(0);
      // Another that is told of meanwhile does not bring it back.
      await gateway.box.run('ip', 'link', 'set', 'hg-wan-new', 'mtu', '1400');
      await gateway.box.run('ip', 'link', 'set', 'hg-wan-remote', 'up');
      await state('steering');
      const was = await queued();
      expect(await gateway.ping(5)).toBe(0);
      expect(await queued()).toBe(was + 5);
      await gateway.box.run('ip', 'link', 'del', 'hg-wan-new');
      await soon(async () => expect(await redirects()).toBe(''));
      // With clsact gone and back: the kernel stops the device for that (qdisc_graft(), net/sched/sch_api.c).
      expect(await gateway.ping(5)).toBeLessThanOrEqual(1);
      expect((await program.stop('SIGTERM')).status).toBe(0);
      expect(await gateway.snapshot()).toBe(before);
    });

    it('changes in place to other shares, moves a queue, and goes to other ifbs and back; killed, down takes all of it away', async () => {
      await up();
      byUp = await shown();
      const reload = async (policy: string) => {
        await writeFile(file, policy);
        return gateway.headgate('reload');
      };
      const lost = gateway.ping(40);
      expect(await reload(policyOf({ voice: 40, asked: 70 }))).toMatchObject({ status: 0, stderr: '' });
      const rates = ({ download }: LinkStatus) => download!.queues.map(({ rate }) => rate);
      expect(rates(await gateway.link())).toEqual([14e6, 21e6, 10e6, 5e6]);
      expect(await reload(MOVED)).toMatchObject({ status: 0, stderr: '' });
      const { queues } = (await gateway.link()).download!;
      // Its queue has changed the place, so that the ifbs are others, beside those.
      expect(queues.map(({ name, device, rate }) => [name, device.replace('hg_', 'hg-'), rate])).toEqual([
        ['local', IFBS[0], 35e6],
        ['remote', IFBS[1], 5e6],
        ['voice', IFBS[1], 5e6],
        ['new', IFBS[2], 5e6],
      ]);
      expect(await reload(policyOf({ link: '' }))).toMatchObject({ status: 0, stderr: '' });
      expect((await gateway.link()).ifbs.map(({ name }) => name)).toEqual(['hg-wan']);
      expect(await reload(MOVED)).toMatchObject({ status: 0, stderr: '' });
      expect(await lost).toBe(0);
      expect((await gateway.link()).ifbs.map(({ name }) => name)).toEqual(IFBS);
      await program.stop('SIGKILL');
      expect(await gateway.ping(3)).toBe(0);
      expect(await gateway.status()).toMatchObject({
        links: [{ state: 'kept', ifbs: IFBS.map((name) => ({ name })) }],
      });
      expect((await gateway.headgate('down')).status).toBe(0);
      expect(await gateway.snapshot()).toBe(before);
    });

    it('a script that plan prints makes the same', async () => {
      const script = join(gateway.folder, 'origins.sh');
      await writeFile(file, policyOf());
      const { stdout } = await gateway.headgate('plan', file, '--script', '--datapath', datapath);
      await writeFile(script, stdout);
      await gateway.box.run('sh', script);
      expect(await shown()).toBe(byUp);
      expect(await gateway.ping(5)).toBe(0);
      expect((await gateway.link()).ifbs.reduce((sum, { redirected }) => sum + redirected.packets, 0)).toBe(5);
      await gateway.box.run('sh', script, 'down');
      expect(await gateway.snapshot()).toBe(before);
    });
  });
}
