// Somebody sets the clock while `headgate up` runs, back by an hour and then on by a day: the stream says both times, live rules go
// on by the time that passes, and a recording has it all. Shown on the machine's own kernel (6.18).

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Program, packageFile } from '../../src/lab/index.ts';
import type { MonitorItem } from '../../src/monitor/index.ts';
import { exitOf, Gateway, HEADGATE, INSIDE, WORLD } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

const HOUR = 3_600_000;

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

it(
  'a clock that is set changes times of the wall, and nothing else',
  async () => {
    const { box, world, inside, folder } = gateway;
    await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
    const [file, ahead, recording] = ['steps.gate', 'ahead', 'steps.hgr'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    await writeFile(
      file,
      `link wan { device wan  download 50mbit  upload 50mbit }
queue mine { share 60% }  queue later { share 10% }  queue old { share 10% }
rule old when udp and age > 30m -> old
rule later when udp and age > 1s -> later
default local -> mine  remote -> mine  new -> mine
`,
    );
    await gateway.serve(world, 'udp', WORLD, 5000);
    const program = await gateway.upIn(
      [`NODE_OPTIONS=--import=${pathToFileURL(packageFile('test/kernel/step-clock.mjs'))}`, `HEADGATE_AHEAD=${ahead}`],
      file,
    );
    const items: MonitorItem[] = [];
    const reader = gateway.events();
    reader.onLine((line) => items.push(JSON.parse(line) as MonitorItem));
    const recorder = Program.start('record', ['env', ...HEADGATE, 'record', recording], { netns: box.name });
    await soon(async () => {
      expect(items.length).toBeGreaterThan(0);
      expect(await readFile(recording, 'utf8').catch(() => '')).toContain('"recording"');
    });
    const told = (kind: string, port: number) =>
      items.find((item) => item.kind === kind && 'local' in item && item.local === `${INSIDE}:${port}`);
    const begin = async (port: number) => {
      await gateway.ask(inside, 'udp', WORLD, 5000, 200, port);
      return soon(() => {
        const item = told('flow.new', port);
        expect(item).toBeDefined();
        return item!;
      });
    };
    /** Sets the clock; resolves when the service has it. */
    const set = async (ms: number) => {
      await writeFile(ahead, String(ms));
      process.kill(program.pid!, 'SIGUSR2');
      await soon(async () => {
        expect((await gateway.headgate('reload')).status).toBe(0);
        expect(Math.abs(Date.parse(items.at(-1)!.time) - Date.now() - ms)).toBeLessThan(HOUR / 4);
      });
    };

    const first = await begin(6000);
    await set(-HOUR);
    const second = await begin(6001);
    for (const port of [6000, 6001])
      await soon(() => expect(told('flow.update', port)).toMatchObject({ queue: 'later', rule: 'later' }));
    await set(24 * HOUR);
    const third = await begin(6002);
    await soon(() => expect(told('flow.update', 6002)).toMatchObject({ rule: 'later' }));
    await box.run('conntrack', '-D', '-p', 'udp');
    for (const port of [6000, 6001, 6002])
      await soon(() => {
        const end = told('flow.end', port) as { duration: number; time: string; began: string } | undefined;
        expect(end).toMatchObject({ queue: 'later' });
        expect(end!.duration).toBeGreaterThan(1000);
        expect(end!.duration).toBeLessThan(HOUR / 4);
        // By the clock as it stands at the time.
        expect(Date.parse(end!.time) - Date.parse(end!.began)).toBeLessThan(HOUR / 4);
      });

    const [a, b, c] = [first, second, third].map(({ time }) => Date.parse(time)) as [number, number, number];
    expect(b - a).toBeLessThan(-HOUR / 2);
    expect(c - b).toBeGreaterThan(24 * HOUR);
    const after = items.slice(1);
    expect(after.map(({ seq }) => seq)).toEqual(after.map((_, i) => after[0]!.seq + i));
    for (const [i, { monotonic }] of after.entries())
      if (i > 0) expect(monotonic).toBeGreaterThanOrEqual(after[i - 1]!.monotonic);
    expect(after.some(({ kind }) => kind === 'gap' || kind === 'warning')).toBe(false);

    expect(await recorder.stop('SIGINT')).toEqual({ status: 0, signal: null });
    const replayed = await exitOf(undefined, ...HEADGATE, 'replay', recording, '--policy', file, '--json');
    expect(JSON.parse(replayed.stdout)).toMatchObject({
      ...{ flows: 3, torn: 0, losses: 0, moves: [] },
      rules: expect.arrayContaining([{ rule: 'later', before: 3, after: 3 }]),
    });
    await reader.stop('SIGTERM');
    expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
  },
  120_000 * PATIENCE,
);
