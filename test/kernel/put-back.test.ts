// What others take away under a running `headgate up` comes back by itself, and is said; what they put in its place is
// left alone; and nobody fights for ever. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo, nft netdev).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import { Gateway, WORLD } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

const POLICY = `link wan { device wan  download 50mbit  upload 20mbit }
queue mine { share 60% }
queue theirs { share 30%
  queue new { share 20% }
  queue seed { share 50%  leaf tbf }
}
rule look when udp and remote.port 7 -> mine, mirror to spy
default local -> mine  remote -> seed  new -> new
`;

let gateway: Gateway;
let file: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
  await writeFile(file, POLICY);
});
afterEach(() => gateway.close());

const there = (): Promise<string> => gateway.built();
const box = (...argv: readonly [string, ...string[]]) => gateway.box.run(...argv);
const tc = (command: string) => box('tc', ...command.split(' '));
/** From the box, for `nft flush ruleset` takes the masquerading of the gateway along. */
const ping = () => box('ping', '-q', '-i', '0.02', '-c', '5', '-W', '1', WORLD);
const said = (program: Program, ...texts: string[]) =>
  program.line((line) => texts.every((text) => line.includes(text)), 10_000 * PATIENCE);

describe('put back', () => {
  it('each part by itself, with what stands beside it untouched', async () => {
    const before = await gateway.snapshot();
    const program = await gateway.up(file);
    const whole = await there();
    const index = await box('ip', '-o', 'link', 'show', 'hg-wan');
    /** Waits for all to be as it was. No more than what is put back in a minute before it counts as a fight. */
    const backAfter = async (take: () => Promise<unknown>) => {
      await take();
      expect(await there()).not.toBe(whole);
      await soon(async () => expect(await there()).toBe(whole));
      await ping();
    };
    await backAfter(() => tc('filter del dev wan ingress'));
    await backAfter(() => tc('qdisc del dev wan clsact'));
    const counted = async () =>
      Number(/class htb 7fe0:1 .*\n Sent (\d+)/.exec(await tc('-s class show dev hg-wan'))![1]);
    const bytes = await counted();
    expect(bytes).toBeGreaterThan(0);
    await backAfter(() => tc('class del dev hg-wan classid 7fe0:3'));
    expect(await counted()).toBeGreaterThanOrEqual(bytes);
    await backAfter(() => tc('qdisc del dev wan parent 7fe1:1'));
    // The ifb is the one that it was.
    expect((await box('ip', '-o', 'link', 'show', 'hg-wan')).split(' ')[0]).toBe(index.split(' ')[0]);
    await said(program, '"state":"steering"', 'put back what is missing of the tree on wan');
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });

  it('whole trees, the ifb, and all of nft at once', async () => {
    const program = await gateway.up(file);
    const whole = await there();
    await tc('qdisc del dev wan root');
    await said(program, '"state":"steering"', 'add the tree on wan');
    await tc('qdisc del dev hg-wan root');
    await said(program, '"state":"steering"', 'tree on hg-wan');
    await box('ip', 'link', 'del', 'hg-wan');
    await said(program, '"state":"open"', 'hg-wan was deleted');
    await said(program, '"state":"steering"', 'add ifb hg-wan');
    await box('nft', 'flush', 'ruleset');
    await said(program, '"kind":"table"', '"state":"restored"', 'table inet headgate, table ip headgate');
    await box('ip', 'link', 'del', 'spy');
    await said(program, '"kind":"table"', '"state":"restored"', 'tap spy');
    expect(await there()).toBe(whole);
    expect(await gateway.status()).toMatchObject({ tracking: true, links: [{ state: 'steering', uploadLost: false }] });
    await ping();
    // A reload finds all of it in its place.
    await writeFile(file, POLICY.replace('50mbit', '40mbit'));
    expect((await gateway.headgate('reload')).status).toBe(0);
  });

  it('of the datapath map: the maps with the flows that were in them', async () => {
    const program = await gateway.up(file, '--datapath', 'map');
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await gateway.ask(gateway.box, 'udp', WORLD, 5000);
    const flows = () => box('nft', 'list', 'map', 'netdev', 'headgate', 'flows4');
    await soon(async () => expect(await flows()).toContain(`${WORLD} . `));
    const whole = await there();
    await box('nft', 'flush', 'ruleset');
    await said(program, '"kind":"table"', '"state":"restored"', 'the map of flows');
    await soon(async () => {
      expect(await there()).toBe(whole);
      expect(await flows()).toContain(`${WORLD} . `);
    });
    await ping();
  });

  it('not what somebody else has put in its place, until that has gone', async () => {
    const program = await gateway.up(file);
    const whole = await there();
    await tc('qdisc replace dev wan root handle 1: pfifo');
    await said(program, '"kind":"link"', 'wan has a root qdisc that is not ours');
    expect(await tc('qdisc show dev wan')).toContain('pfifo 1: root');
    expect(await gateway.link()).toMatchObject({ state: 'steering', uploadLost: true });
    await ping();
    await tc('qdisc del dev wan root');
    await said(program, '"state":"steering"', 'add the tree on wan');
    expect(await there()).toBe(whole);
  });
});

describe('a fight', () => {
  it('ends with what arrives let pass, and a reload begins anew', async () => {
    const program = await gateway.up(file);
    const redirected = async () => (await tc('filter show dev wan ingress')) !== '';
    const left = said(program, '"state":"open"', 'left alone until headgate reload');
    let rounds = 0;
    for (let over = false; !over; ) {
      over = await Promise.race([
        left.then(() => true),
        soon(async () => expect(await redirected()).toBe(true)).then(() => false),
      ]);
      if (over) break;
      rounds++;
      await tc('filter del dev wan ingress').catch(() => {});
    }
    // One that is taken away while it is being put back is not counted as put back.
    expect(rounds).toBeGreaterThanOrEqual(6);
    expect(rounds).toBeLessThan(12);
    expect(await redirected()).toBe(false);
    await ping();
    // It says that it is in force when that is so.
    expect(await gateway.headgate('reload')).toMatchObject({ status: 0, stderr: '' });
    expect(await redirected()).toBe(true);
    await ping();
  });
});
