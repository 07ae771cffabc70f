// The way down where a tool hangs or the kernel refuses: within a bound, traffic first, and never a redirect to an ifb that
// has gone. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo).

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DOOR_MS } from '../../src/kernel/index.ts';
import type { Ending, Program } from '../../src/lab/index.ts';
import { Faults, REFUSAL, standIn } from './faults.ts';
import { Gateway } from './gateway.ts';
import { PATIENCE } from './soon.ts';

vi.setConfig({ testTimeout: 180_000 * PATIENCE });

let gateway: Gateway;
let faults: Faults;
let nothing: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  faults = await Faults.build(gateway.folder);
  nothing = await gateway.snapshot();
});
afterEach(() => gateway.close());

const up = (path: string, ...options: string[]): Promise<Program> =>
  gateway.upIn([path], '--device', 'wan', '--download', '50mbit', '--upload', '20mbit', ...options);

/** Sends SIGTERM and waits, longer than the lab would; ms that it took. */
async function end(program: Program): Promise<Ending & { readonly ms: number }> {
  const since = performance.now();
  process.kill(program.pid!, 'SIGTERM');
  return { ...(await program.ended), ms: performance.now() - since };
}

describe('SIGTERM', () => {
  it.each([
    ['tc, that is to take the redirect away', 'tc -force -batch'],
    ['a look at filters', 'tc -statistics -json filter show'],
    ['a look at tables', 'nft --terse list table inet headgate'],
  ])('while %s hangs', async (_, words) => {
    const program = await up(faults.path);
    await faults.set('hangs', 1, words);
    const { status, ms } = await end(program);
    expect(await faults.hit()).toContain(words);
    expect(status).toBe(0);
    expect(ms).toBeGreaterThan(DOOR_MS * 0.9);
    // TimeoutStopSec= of the unit.
    expect(ms).toBeLessThan(30_000 * PATIENCE);
    expect(await gateway.snapshot()).toBe(nothing);
  });
});

describe('refused', () => {
  it.each([
    [
      'bpf',
      /^tc -force -batch[\s\S]*^tc qdisc del dev wan root[\s\S]*^tc qdisc del dev wan clsact[\s\S]*^ip link del hg-wan[\s\S]*^nft /m,
    ],
    [
      'map',
      /^nft delete table netdev[\s\S]*^tc qdisc del dev wan root[\s\S]*^ip link del hg-wan[\s\S]*^nft delete table inet/m,
    ],
  ])('at any one step of %s: nothing is left, and packets never stop', async (datapath, each) => {
    const refused: string[] = [];
    for (let step = 1, through = false; !through; step++) {
      const program = await up(faults.path, '--datapath', datapath);
      const lost = gateway.ping(20);
      await faults.set('fails', step);
      expect((await end(program)).status).toBe(0);
      // One may be lost with the tree of what leaves, and one with the ifb.
      expect(await lost).toBeLessThanOrEqual(2);
      expect(await gateway.snapshot()).toBe(nothing);
      through = (await faults.hit()) === undefined;
      if (!through) refused.push((await faults.hit())!);
      await faults.clear();
      expect(step).toBeLessThan(12);
    }
    // Redirect, tree, clsact (of bpf), ifb, table: each was refused once.
    expect(refused.join('\n')).toMatch(each);
  });

  it('to take the redirect away: its ifb stays, packets go on, and down does it when it can', async () => {
    const folder = join(gateway.folder, 'refusing');
    const script = `#!/bin/sh
case "$* " in *batch*|*clsact*) [ -e ${folder}/on ] && { cat >/dev/null; echo "RTNETLINK answers: ${REFUSAL}" >&2; exit 2; } ;; esac
exec /usr/sbin/tc "$@"
`;
    const program = await up(await standIn(folder, 'tc', script));
    await writeFile(join(folder, 'on'), '');
    expect((await end(program)).status).toBe(5);
    expect(await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).toContain('to device hg-wan');
    expect(await gateway.box.run('ip', 'link', 'show', 'hg-wan')).toContain(',UP');
    expect(await gateway.ping(5)).toBe(0);
    await rm(join(folder, 'on'));
    expect((await gateway.headgate('down')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(nothing);
  });
});
