// What `headgate plan` says is what up and reload then do. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Plan } from '../../src/service/index.ts';
import { Gateway } from './gateway.ts';

// Each plan makes what is wanted twice, in namespaces of its own.
vi.setConfig({ testTimeout: 240_000 });

const FIRST = `link wan { device wan  download 50mbit  upload 20mbit }
queue mine { share 70% }  queue seed { share 5% }
rule web when tcp and remote.port 443 -> mine
default local -> mine  remote -> seed  new -> seed
`;

let gateway: Gateway;
let file: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
  await writeFile(file, FIRST);
});
afterEach(() => gateway.close());

/** Makes the plan twice, which must be the same, and must change nothing. */
async function plan(status: 0 | 2, ...args: string[]): Promise<Plan> {
  const before = await gateway.snapshot();
  const first = await gateway.headgate('plan', file, '--json', ...args);
  expect(first).toMatchObject({ status, stderr: '' });
  expect((await gateway.headgate('plan', file, '--json', ...args)).stdout).toBe(first.stdout);
  expect(await gateway.snapshot()).toBe(before);
  return JSON.parse(first.stdout) as Plan;
}
const told = ({ changes }: Plan): string[] => changes.map(({ action, about }) => `${action}: ${about}`);

describe('plan', () => {
  it('of a box without headgate is what up makes, and then there is nothing to do', async () => {
    expect(told(await plan(2))).toEqual([
      'add: add nft table inet headgate',
      'add: add the tree on wan',
      'add: classify what leaves wan',
      'add: add ifb hg-wan',
      'add: add the tree on hg-wan',
      'add: set hg-wan up',
      'add: add clsact to wan',
      'add: redirect what arrives on wan to hg-wan',
    ]);
    const program = await gateway.up(file);
    expect((await plan(0)).changes).toEqual([]);
    const { stdout } = await gateway.headgate('plan', file);
    expect(stdout).toMatch(/^nothing to do: /);
    await program.stop('SIGTERM');
  });

  it('of another policy names what changes in place, and what traffic that touches', async () => {
    const program = await gateway.up(file);
    await writeFile(file, FIRST.replace('share 5%', 'share 8%  leaf tbf'));
    const leaves = await plan(2);
    expect(told(leaves)).toEqual([
      'add: add ifb hg_wan',
      'add: add the tree on hg_wan',
      'add: set hg_wan up',
      'change: change the tree on wan',
      'replace: redirect what arrives on wan to hg_wan',
      'remove: remove ifb hg-wan',
    ]);
    expect(leaves.changes.map(({ touches }) => touches)).toEqual([
      'none',
      'none',
      'none',
      expect.stringMatching(/another leaf/),
      expect.stringMatching(/none is lost/),
      expect.stringMatching(/goes out first/),
    ]);
    expect((await gateway.headgate('reload')).status).toBe(0);
    expect((await plan(0)).changes).toEqual([]);
    await writeFile(file, FIRST.replace('share 5%', 'share 8%  leaf tbf').replace('50mbit', '40mbit  overhead docsis'));
    const rates = await plan(2);
    expect(told(rates)).toEqual(['change: change the tree on hg_wan', 'change: change the tree on wan']);
    expect(rates.changes.map(({ touches }) => touches)).toEqual(['none', 'none']);
    expect((await gateway.headgate('reload')).status).toBe(0);
    expect((await plan(0)).changes).toEqual([]);
    await writeFile(file, FIRST);
    expect(told(await plan(2))).toContain('replace: redirect what arrives on wan to hg-wan');
    expect((await gateway.headgate('reload')).status).toBe(0);
    expect((await plan(0)).changes).toEqual([]);

    await writeFile(file, FIRST.replace('443', '80').replace('-> mine\n', '-> mine, mirror to spy\n'));
    const tables = await plan(2);
    expect(told(tables)).toEqual(['add: add tap spy', 'change: replace the nft tables']);
    expect(tables.changes.map(({ touches }) => touches)).toEqual(['none', 'none']);
    expect((await gateway.headgate('reload')).status).toBe(0);
    expect((await plan(0)).changes).toEqual([]);
    await program.stop('SIGTERM');
  });

  it('names links and directions that come and go, and what packets that costs', async () => {
    const program = await gateway.up(file);
    await writeFile(file, `${FIRST.replace('upload 20mbit', '')}link lan { device lan  download 9mbit }\n`);
    const other = await plan(2);
    expect(other.anew).toBeUndefined();
    expect(told(other)).toEqual([
      'change: replace the nft tables',
      'add: add ifb hg-lan',
      'add: add the tree on hg-lan',
      'add: set hg-lan up',
      'add: add clsact to lan',
      'add: redirect what arrives on lan to hg-lan',
      'remove: remove the tree on wan',
    ]);
    expect(other.changes.at(-1)!.touches).toMatch(/for milliseconds what leaves/);
    expect((await gateway.headgate('reload')).status).toBe(0);
    expect((await plan(0)).changes).toEqual([]);
    await writeFile(file, FIRST);
    expect(told(await plan(2))).toEqual([
      'change: replace the nft tables',
      'add: add the tree on wan',
      'add: classify what leaves wan',
      'remove: stop redirecting what arrives on lan',
      'remove: remove clsact from lan',
      'remove: remove ifb hg-lan',
    ]);
    expect((await gateway.headgate('reload')).status).toBe(0);
    expect((await plan(0)).changes).toEqual([]);
    await program.stop('SIGTERM');
  });

  it('of what somebody has changed puts it back, value by value; without the service it is made anew', async () => {
    const program = await gateway.up(file, '--keep');
    const change = ['class', 'change', 'dev', 'hg-wan', 'classid', '7fe0:1', 'parent', '7fe0:100', 'htb'];
    await gateway.box.run('tc', ...change, 'rate', '1mbit', 'ceil', '50mbit', 'burst', '50kb', 'cburst', '50kb');
    const odd = await plan(2);
    expect(odd.differences).toEqual([{ object: 'tree on hg-wan', there: true, wanted: true }]);
    expect(odd.anew).toBeUndefined();
    expect(odd.changes).toMatchObject([
      {
        action: 'change',
        about: 'put back what somebody has changed of the tree on hg-wan',
        touches: 'none',
        details: [
          { object: 'class 7fe0:1', values: expect.arrayContaining([{ name: 'rate', from: '1Mbit', to: '35Mbit' }]) },
        ],
      },
    ]);
    await program.stop('SIGTERM');
    expect((await plan(2)).anew).toBe('tree on hg-wan is not as it was made');
  });

  it('takes the datapath of the service, says values before and after, what a number that moves costs, and what waits', async () => {
    const program = await gateway.up(file, '--datapath', 'map');
    expect(await plan(0)).toMatchObject({ datapath: 'map', changes: [] });
    await writeFile(
      file,
      FIRST.replace('50mbit', '40mbit')
        .replace('queue mine', 'queue first { share 10% }  queue mine')
        .replace('443 -> mine', '443 -> first'),
    );
    const other = await plan(2);
    const tree = other.changes.find(({ about }) => about === 'change the tree on hg-wan')!;
    expect(tree.details).toEqual([
      { object: 'all queues, class 7fe0:100', values: [{ name: 'rate', from: '50mbit', to: '40mbit' }] },
      {
        object: 'queue first, class 7fe0:1',
        values: expect.arrayContaining([
          { name: 'queue', from: 'mine', to: 'first' },
          { name: 'rate', from: '35mbit', to: '4mbit' },
          { name: 'ceil', from: '50mbit', to: '40mbit' },
          { name: 'leaf', from: 'bfifo limit 312500', to: 'bfifo limit 250000' },
        ]),
      },
      expect.objectContaining({ object: 'queue mine, class 7fe0:2' }),
      { object: 'queue seed, class 7fe0:3', values: expect.arrayContaining([{ name: 'rate', to: '2mbit' }]) },
    ]);
    expect(other.changes.at(-1)).toMatchObject({
      about: 'mark the flows of mine, seed anew',
      touches: expect.stringMatching(
        /stay in their queues.*what waits as mine goes out as first.*what waits as seed goes out as mine/,
      ),
    });
    const { stdout } = await gateway.headgate('plan', file);
    expect(stdout).toMatch(/^ {4}all queues, class 7fe0:100: rate 50mbit -> 40mbit$/m);
    expect(stdout).toMatch(/^ {4}queue seed: class 2 -> 3$/m);

    // Another ifb is in force, and the first stands beside until it is confirmed.
    const waiting = FIRST.replace('50mbit', '50mbit  numtxqueues 2').replace('share 5%', 'share 6%');
    await writeFile(file, waiting);
    expect((await gateway.headgate('reload', '--confirm', '1h')).status).toBe(0);
    expect(await plan(0)).toMatchObject({ changes: [], differences: [], confirm: { what: 'reload' } });
    await writeFile(file, waiting.replace('share 6%', 'share 7%'));
    expect(told(await plan(2))).toEqual(['change: change the tree on hg_wan', 'change: change the tree on wan']);
    expect((await gateway.headgate('plan', file)).stdout).toMatch(/^A reload waits to be confirmed, until \d/);
    expect((await gateway.headgate('confirm')).status).toBe(0);
    expect(told(await plan(2))).toEqual(['change: change the tree on hg_wan', 'change: change the tree on wan']);
    expect((await gateway.headgate('reload')).status).toBe(0);
    expect((await plan(0)).confirm).toBeUndefined();
    await program.stop('SIGTERM');
  });

  it('says of datapath map, too, that what arrives is unshaped from then on', async () => {
    const program = await gateway.up(file, '--datapath', 'map', '--keep');
    await program.stop('SIGTERM');
    await gateway.box.run('tc', 'qdisc', 'del', 'dev', 'wan', 'root');
    const [first] = (await plan(2, '--datapath', 'map')).changes;
    expect(first).toEqual({
      action: 'remove',
      about: 'remove nft table netdev headgate, which redirects',
      touches: 'what arrives passes unshaped from then on',
    });
  });

  it('is either a script or JSON', async () => {
    const { status, stderr } = await gateway.headgate('plan', file, '--script', '--json');
    expect([status, stderr]).toEqual([2, expect.stringContaining('cannot be used with')]);
  });
});
