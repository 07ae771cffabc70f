// Devices that come, go and change under a running `headgate up`, with traffic that must not stop. Shown on the
// machine's own kernel (6.18).

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Program, packageFile } from '../../src/lab/index.ts';
import { Gateway } from './gateway.ts';

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

/** Packets, twenty a second, that are lost until the redirect is gone: none, but on a machine that is busy with other things. */
const FEW = 5;

describe('devices that change under it', () => {
  /** Traffic that must not stop while `change` happens: at most `most` of its packets may be lost. */
  async function undisturbed(change: () => Promise<unknown>, most: number): Promise<void> {
    const lost = gateway.ping(60);
    await change();
    expect(await lost).toBeLessThanOrEqual(most);
  }
  const state = (program: Program, wanted: string, reason = '') =>
    program.line((line) => [`"kind":"link"`, `"state":"${wanted}"`, reason].every((part) => line.includes(part)));

  it('an ifb taken down: the filter goes, traffic passes unshaped; up again: it is steered again', async () => {
    const program = await gateway.up();
    await undisturbed(async () => {
      await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'down');
      await state(program, 'open');
    }, FEW);
    expect(await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).toBe('');
    await undisturbed(async () => {
      await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'up');
      await state(program, 'steering');
    }, 1);
    expect(await gateway.link()).toMatchObject({ state: 'steering' });
  });

  it.each([
    ['down after the look', true, ['open: hg-wan was set down; arriving packets pass unshaped']],
    [
      'gone before the look, told after it',
      false,
      [
        'open: hg-wan was deleted; arriving packets pass unshaped',
        expect.stringMatching(/^steering: .*put back: add ifb hg-wan, .*redirect what arrives on wan to hg-wan$/),
      ],
    ],
  ])('an ifb that is %s', async (order, open, said) => {
    const script = packageFile('test/kernel/keeper-orders.mjs');
    const out = await gateway.box.run(process.execPath, script, order);
    expect(JSON.parse(out)).toEqual({ said, open, openInTheEnd: open });
  });

  it('an ifb deleted: the filter goes, traffic passes unshaped, until the ifb is put back', async () => {
    const before = await gateway.snapshot();
    const program = await gateway.up();
    await undisturbed(async () => {
      await gateway.box.run('ip', 'link', 'del', 'hg-wan');
      await state(program, 'open');
      await state(program, 'steering');
      // 200 ms, TCP's least retransmission timeout: a busy machine takes its time to tell.
    }, 4);
    expect(await gateway.link()).toMatchObject({ state: 'steering', uploadLost: false });
    await program.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('the device deleted: its ifb goes; the device back: it is steered again', async () => {
    const program = await gateway.up();
    await gateway.box.run('ip', 'link', 'del', 'wan');
    await state(program, 'absent');
    expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-wan');
    await gateway.layWan();
    await state(program, 'steering', 'wan is back');
    expect(await gateway.ping(5)).toBe(0);
    expect((await gateway.link()).download!.packets.local).toBeGreaterThanOrEqual(5);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-wan');
    expect(await gateway.box.run('nft', 'list', 'tables')).not.toContain('headgate');
  });

  it('the device renamed: nothing is left on it; a device of the old name: it is steered', async () => {
    const before = await gateway.box.run('tc', 'qdisc', 'show', 'dev', 'wan');
    const program = await gateway.up();
    await undisturbed(async () => {
      await gateway.box.run('ip', 'link', 'set', 'wan', 'name', 'wan9');
      await state(program, 'absent');
    }, 1);
    expect(await gateway.box.run('tc', 'qdisc', 'show', 'dev', 'wan9')).toBe(before.replace('wan', 'wan9'));
    expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-wan');
    await gateway.box.run('ip', 'link', 'set', 'wan9', 'name', 'wan');
    await state(program, 'steering', 'wan is back');
    expect(await gateway.ping(5)).toBe(0);
    expect((await gateway.link()).download!.packets.local).toBeGreaterThanOrEqual(5);
  });

  it('the ifb renamed, set down and up: traffic goes on, and it is steered again', async () => {
    const program = await gateway.up();
    await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'name', 'other');
    await undisturbed(async () => {
      await gateway.box.run('ip', 'link', 'set', 'other', 'down');
      await state(program, 'open');
      await gateway.box.run('ip', 'link', 'set', 'other', 'up');
      await state(program, 'steering');
    }, 3);
    expect(await gateway.ping(3)).toBe(0);
  });

  it('a device that flaps is steered in the end', async () => {
    const program = await gateway.up();
    for (let round = 0; round < 6; round++) {
      await gateway.box.run('ip', 'link', 'del', 'wan');
      await gateway.layWan();
    }
    await expect.poll(async () => (await gateway.link()).state, { timeout: 10_000 }).toBe('steering');
    expect(await gateway.ping(5)).toBe(0);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-wan');
  });

  it('an ifb of our name that is somebody else’s stays when the device goes', async () => {
    await gateway.box.run('ip', 'link', 'add', 'hg-wan', 'type', 'ifb');
    const program = await gateway.up('--device', 'wan', '--upload', '20mbit');
    await gateway.box.run('ip', 'link', 'del', 'wan');
    await state(program, 'absent');
    await program.stop('SIGTERM');
    expect(await gateway.box.run('ip', 'link', 'show')).toContain('hg-wan');
  });

  it('containers that come and go meanwhile disturb nothing', async () => {
    const program = await gateway.up();
    let churning = true;
    const churn = (async () => {
      while (churning) {
        await gateway.box.run('ip', 'link', 'add', 'c0', 'type', 'veth', 'peer', 'name', 'c1');
        await gateway.box.run('tc', 'qdisc', 'add', 'dev', 'c0', 'clsact');
        await gateway.box.run('ip', 'link', 'del', 'c0');
      }
    })();
    try {
      for (let i = 0; i < 8; i++) expect((await gateway.headgate('status', '--json')).status).toBe(0);
      await gateway.box.run('ip', 'link', 'del', 'hg-wan');
      await state(program, 'open');
      await state(program, 'steering');
    } finally {
      churning = false;
      await churn;
    }
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.box.run('tc', 'qdisc', 'show', 'dev', 'wan')).not.toContain('clsact');
  });
});
