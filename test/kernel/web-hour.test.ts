// The page left open: what page and service hold after an hour of it, with its timers sixty times as fast. First 3,600 looks, and the
// events of 2 million flows a day, of made-up figures (web-storm.mjs: the same server and stream, but no kernel to look at, which takes its
// time); then fewer of them before a real service, with 1,000 new flows a second. Shown on the machine's own kernel (6.18) with
// Chromium of Debian 12.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Namespace, Program, packageFile } from '../../src/lab/index.ts';
import { newest, Watcher } from './browser.ts';
import { Gateway, memoryOf } from './gateway.ts';
import { PATIENCE } from './soon.ts';
import { tool } from './tools.ts';

const TIMES = 60;
/** Bytes by which page and service may have grown: V8 collects when it likes. */
const [PAGE_GROWTH, SERVICE_GROWTH] = [5e6, 15e6];

/** Whoever kept what it tells would not live through the hour; and what is left to V8 is little. */
const SMALL_HEAP = ['--max-old-space-size=64', '--max-semi-space-size=4'];

/** Makes the page's timers so many times as fast. */
const hasten = (times: number) => `for (const name of ['setTimeout', 'setInterval']) {
  const real = window[name];
  window[name] = (task, ms, ...rest) => real(task, ms / ${times}, ...rest);
}`;

/** Counts what the page asks. */
const COUNT = `window.asked = {};
{
  const real = fetch;
  window.fetch = (path, options) => {
    const what = path.split('?')[0];
    asked[what] = (asked[what] ?? 0) + 1;
    return real(path, options);
  };
}`;

/** Opens the page, and compares what there is after so many looks, when V8 and the table have what they want, with what there is after all. */
async function leaveOpen(ns: Namespace, url: string, pid: number, warm: number, looks: number): Promise<void> {
  const watcher = await Watcher.start(ns);
  try {
    const { page, complaints } = await watcher.open(url, { script: `${hasten(TIMES)}\n${COUNT}` });
    // A rate takes a second to read, which nothing can hasten.
    await page.selectOption('#sort', 'bytes');
    const asked = (): Promise<Record<string, number>> => page.evaluate('asked');
    const until = (count: number) =>
      vi.waitFor(async () => expect((await asked())['/status']).toBeGreaterThanOrEqual(count), {
        timeout: 240_000 * PATIENCE,
        interval: 250,
      });
    const held = async () => ({
      page: await watcher.heapOf(page),
      service: await memoryOf(pid),
      elements: await page.locator('*').count(),
    });
    const begun = performance.now();
    await until(warm);
    const [early, first] = [await held(), await newest(page)];
    await until(looks);
    const [late, last] = [await held(), await newest(page)];
    const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
    console.log(
      `page ${mb(early.page)} MB, then ${mb(late.page)}; service ${mb(early.service)} MB, then ${mb(late.service)}; asked ${JSON.stringify(await asked())}, ${last} events in ${((performance.now() - begun) / 1000).toFixed(0)} s`,
    );
    expect(late.page - early.page).toBeLessThan(PAGE_GROWTH);
    expect(late.service - early.service).toBeLessThan(SERVICE_GROWTH);
    expect(Math.abs(late.elements - early.elements)).toBeLessThan(100);
    // It has seen what it was left open for.
    expect(last - first).toBeGreaterThan(10_000);
    expect(await page.textContent('#connection')).toBe('live');
    expect(complaints).toEqual([]);
  } finally {
    await watcher.close();
  }
}

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
  await gateway.box.batch('link set lo up');
});
afterEach(() => gateway.close());

it(
  'a page holds no more after an hour than after ten minutes, and who serves it neither',
  async () => {
    const { box } = gateway;
    const [flows, events] = [500, Math.round((2e6 / 86_400) * 2 * TIMES)];
    const storm = Program.start(
      'storm',
      ['env', process.execPath, ...SMALL_HEAP, packageFile('test/kernel/web-storm.mjs'), String(flows), String(events)],
      { netns: box.name },
    );
    const url = await storm.line((line) => line.startsWith('http'), 20_000 * PATIENCE);
    await leaveOpen(box, url, storm.pid!, 600, 3600);
    await storm.stop();
  },
  600_000 * PATIENCE,
);

it(
  'nor does the service that looks at a kernel',
  async () => {
    const { box } = gateway;
    const file = join(gateway.folder, 'hour.gate');
    await writeFile(
      file,
      `link wan { device wan  download 50mbit  upload 50mbit }
queue mine { share 60% }  queue seed { share 10% }
rule later when udp and age > 100ms -> seed
default local -> mine  remote -> seed  new -> mine
`,
    );
    const program = await gateway.upIn([`NODE_OPTIONS=${SMALL_HEAP.join(' ')}`], file, '--web', '127.0.0.1:0');
    const flows = Program.start('flows', [tool('gen_flows'), '600000', '1000', '500'], { netns: box.name });
    await leaveOpen(box, (await gateway.headgate('web')).stdout.trim(), program.pid!, 150, 300);
    await flows.stop('SIGTERM');
    expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
  },
  600_000 * PATIENCE,
);
