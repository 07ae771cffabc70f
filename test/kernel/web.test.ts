// The page of `headgate up --web` in Chromium, with real traffic behind it: its figures move, a flow is found and told, it can be
// used by keys alone, on a narrow screen, in the dark; and it says so when the service goes. Shown on the machine's own
// kernel (6.18) with Chromium of Debian 12. Its pictures are in .ci/artefacts.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PICTURES, Watcher } from './browser.ts';
import { Gateway, INSIDE, WAN, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { soon } from './soon.ts';
import { streamWhile } from './stream.ts';

const AT = '127.0.0.1:8053';

let gateway: Gateway;
let watcher: Watcher;
beforeEach(async () => {
  await mkdir(PICTURES, { recursive: true });
  gateway = await Gateway.build();
  await gateway.box.batch('link set lo up');
  watcher = await Watcher.start(gateway.box);
});
afterEach(async () => {
  await watcher?.close();
  await gateway.close();
});

const POLICY = `# What the test runs by.
link wan { device wan  download 50mbit  upload 1mbit }

queue mine { share 50% }
queue others { share 30%
  queue web { share 50% }
  queue seed { share 50%  ceiling 60% }
}

rule seeders when udp and origin remote and local.port in 51413 -> seed
rule talks when udp and origin local and remote.port 5001 -> web

default local -> mine  remote -> seed  new -> mine
`;

/** Controls in sight that have no name for those who hear the page (as far as this page makes names). */
const NAMELESS = `[...document.querySelectorAll('a, button, input, select, canvas, section, table, dialog, [tabindex="0"]')]
  .filter((one) => one.checkVisibility())
  .filter((one) => {
    const by = (one.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join('');
    const label = one.labels?.[0]?.textContent ?? one.caption?.textContent ?? '';
    const own = ['A', 'BUTTON'].includes(one.tagName) ? one.textContent : '';
    return !(one.getAttribute('aria-label') ?? '').trim() && !by.trim() && !label.trim() && !own.trim() && one.className !== 'panel';
  })
  .map((one) => one.outerHTML.slice(0, 100))`;

const rateOf = async (page: Page, way: string, queue: string): Promise<string> =>
  (await page.locator(`[data-way=${way}] tbody tr:has(th:text-is("${queue}")) td`).first().textContent())!;

it('shows what goes on, and why', async () => {
  const { box, world, inside } = gateway;
  const file = join(gateway.folder, 'page.gate');
  await writeFile(file, POLICY);
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1');
  await gateway.serve(inside, 'udp', INSIDE, 51413);
  const program = await gateway.up(file, '--web', AT);
  const url = (await gateway.headgate('web')).stdout.trim();
  const { page, complaints } = await watcher.open(url);
  // The key is not left where others look.
  expect(page.url()).toBe(`http://${AT}/`);
  await soon(async () => expect(await page.textContent('#connection')).toBe('live'));

  await streamWhile([{ from: inside, to: world, address: WORLD, port: 5001, flows: 2, rate: 400 }], async () => {
    await gateway.ask(world, 'udp', WAN, 51413, 200, 7000);
    await soon(async () => expect(await rateOf(page, 'upload', 'web')).toMatch(/[kmg]bit$/));
    // A parent has what its children have.
    expect(await rateOf(page, 'upload', 'others')).toMatch(/[kmg]bit$/);
    const first = await page.getAttribute('[data-way=upload] canvas', 'aria-label');
    expect(first).toMatch(/^upload of wan over time: now .* of 1mbit\. .*web [\d.]+[kmg]bit/);
    await soon(async () => expect(await page.getAttribute('[data-way=upload] canvas', 'aria-label')).not.toBe(first));
    // It is painted, in more colours than those of the axis.
    const colours = await page.evaluate<number>(`(() => {
      const canvas = document.querySelector('[data-way=upload] canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const seen = new Map();
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) { const key = data.slice(i, i + 3).join(); seen.set(key, (seen.get(key) ?? 0) + 1); }
      return [...seen].filter(([, count]) => count > 50 * devicePixelRatio).length;
    })()`);
    expect(colours).toBeGreaterThan(2);

    // A condition of the policy language finds a flow; a mistake is said.
    await page.fill('#where', 'origin remote and');
    await page.keyboard.press('Enter');
    await soon(async () => expect(await page.textContent('#where-problem')).toMatch(/origin remote and/));
    expect(await page.getAttribute('#where', 'aria-invalid')).toBe('true');
    await page.fill('#where', 'origin remote and local.port 51413');
    await page.keyboard.press('Enter');
    await soon(async () => expect(await page.textContent('#flows-summary')).toMatch(/^1 of \d+ flows$/));
    expect(await page.textContent('#where-problem')).toBe('');
    const flow = page.getByRole('button', { name: `udp ${INSIDE}:51413 ${WORLD}:7000, opened by remote: its story` });
    expect(await flow.count()).toBe(1);
    await page.focus('#flows-scroller table');
    for (const key of ['ArrowDown', 'Enter']) await page.keyboard.press(key);
    await soon(async () => {
      expect(await page.textContent('#story-now')).toMatch(/It is in seed, by rule seeders\. Class 7fe0:\d+ arriving/);
      expect(await page.textContent('#story-rules tr[data-verdict=decides]')).toMatch(/local\.port in 51413/);
      expect(await page.textContent('#story-filters')).toMatch(/wan ingress filter/);
      expect(await page.textContent('#story-events')).toMatch(/flow\.new .*because .*51413/s);
    });
    await page.click('summary');
    await page.screenshot({ path: join(PICTURES, 'story.png') });
    await page.keyboard.press('Escape');
    expect(await page.locator('#story').isVisible()).toBe(false);
    // Who came by keys is where he was.
    expect(await page.textContent('#flows tr.active')).toContain(`${WORLD}:7000`);
    expect(await page.getAttribute('#flows table', 'aria-activedescendant')).toBe(
      await page.getAttribute('#flows tr.active', 'id'),
    );
    await page.keyboard.press('Escape');
    await soon(async () => expect(await page.locator('tr.active').count()).toBe(0));

    await page.selectOption('[name=origin]', 'remote');
    await soon(async () => {
      const rows = await page.locator('#events tbody tr[data-kind^=flow]').allTextContents();
      expect(rows.join('\n')).toContain('flow.new');
      expect(rows.every((row) => row.includes('origin remote') || row.includes('flows.'))).toBe(true);
    });
    await page.fill('#address', 'nonsense');
    await page.keyboard.press('Enter');
    await soon(async () => expect(await page.textContent('#events-problem')).toMatch(/address=nonsense/));
    await page.fill('#address', '');
    await page.selectOption('[name=origin]', '');
    await soon(async () => expect(await page.textContent('#events-problem')).toBe(''));

    const hits = page.locator('#policy tr:has(code:text("rule talks")) td').first();
    await soon(async () => expect(await hits.textContent()).toBe('1'));
    expect(await page.textContent('#policy')).toContain('# What the test runs by.');
    await page.fill('#where', '');
    await page.keyboard.press('Enter');
    await soon(async () => expect(await page.locator('#flows tbody tr:not(.space)').count()).toBeGreaterThan(2));
    await page.screenshot({ path: join(PICTURES, 'light.png'), fullPage: true });

    await page.selectOption('#measure', 'origins');
    await soon(async () => expect(await page.textContent('[data-way=upload] .key')).toMatch(/local/));

    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(20, 24, 28)');
    await page.screenshot({ path: join(PICTURES, 'dark.png'), fullPage: true });
    await page.setViewportSize({ width: 320, height: 700 });
    const wide = await page.evaluate<string[]>(`document.documentElement.scrollWidth <= 320 ? [] :
      [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > 320).map((one) => one.outerHTML.slice(0, 80))`);
    expect(wide).toEqual([]);
    await page.screenshot({ path: join(PICTURES, 'narrow.png'), fullPage: true });
    await page.setViewportSize({ width: 1280, height: 1000 });
    await page.emulateMedia({ colorScheme: 'light' });
  });

  expect(await page.evaluate(NAMELESS)).toEqual([]);
  // By Tab alone everything that can be used is reached, and it is seen where one is.
  await page.reload();
  await soon(async () => expect(await page.locator('#policy table').count()).toBe(1));
  const reached: string[] = [];
  for (let i = 0; i < 80; i++) {
    await page.keyboard.press('Tab');
    const [what, seen] = await page.evaluate<[string, boolean]>(`(() => {
      const one = document.activeElement;
      const style = getComputedStyle(one);
      return [one === document.body ? 'body' : one.id || one.name || one.getAttribute('aria-label')?.split(/[;,]/)[0] || one.textContent.slice(0, 30), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
    })()`);
    if (what === 'body') break;
    expect([what, seen]).toEqual([what, true]);
    reached.push(what);
  }
  const wanted = ['where', 'sort', 'flows-pause', 'Flows', 'kind', 'origin', 'queue', 'rule', 'address'];
  expect(reached[0]).toBe('Skip to the queues');
  expect(reached.length).toBeLessThan(30);
  expect(reached).toEqual(expect.arrayContaining([...wanted, 'events-pause', 'Events', 'policy']));
  expect(complaints).toEqual(complaints.filter((one) => one.includes('409')));

  await writeFile(file, `${POLICY}rule added when tcp -> web\n`);
  expect(await gateway.headgate('reload')).toMatchObject({ status: 0 });
  await soon(async () => {
    expect(await page.textContent('#policy')).toContain('rule added');
    expect(await page.locator('#rule option').allTextContents()).toContain('added');
  });
  // Another tab is in front: nobody is told of flows then.
  const readers = async () => /^headgate_stream_readers (\d+)/m.exec((await gateway.headgate('metrics')).stdout)?.[1];
  for (const hidden of [true, false]) {
    await page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'))`);
    await soon(async () => expect(await readers()).toBe(hidden ? '0' : '1'));
  }
  // What the browser is told to forbid, it forbids.
  await expect(page.evaluate("document.body.innerHTML = '<b>x</b>'")).rejects.toThrow(/TrustedHTML/);
  await expect(page.evaluate(`fetch('http://${WORLD}/')`)).rejects.toThrow(/Failed to fetch/);

  // It goes; another comes in its place, with another key.
  const place = page.locator('#connection');
  await program.stop('SIGTERM');
  await soon(async () => expect(await place.textContent()).toMatch(/does not answer .*asked again every two seconds/));
  await page.screenshot({ path: join(PICTURES, 'gone.png') });
  await gateway.up(file, '--web', AT);
  await soon(async () => expect(await place.textContent()).toMatch(/has no key .*headgate web/));
  await page.goto((await gateway.headgate('web')).stdout.trim());
  await soon(async () => expect(await place.textContent()).toBe('live'));
  await soon(async () => expect(await page.textContent('#events tbody')).toMatch(/ready/));
}, 240_000);

it('tells the story of a flow as it goes on, whatever events are asked for, and asks nothing until it is seen', async () => {
  const { box, world, inside } = gateway;
  const file = join(gateway.folder, 'page.gate');
  await writeFile(file, POLICY.replace('default', 'rule big when bytes > 50KB -> web\n\ndefault'));
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1', 'net.netfilter.nf_conntrack_udp_timeout=600');
  const program = await gateway.up(file, '--web', AT);
  const script = "Object.defineProperty(document, 'hidden', { value: true, configurable: true })";
  const { page, complaints } = await watcher.open((await gateway.headgate('web')).stdout.trim(), { script });
  const readers = async () => /^headgate_stream_readers (\d+)/m.exec((await gateway.headgate('metrics')).stdout)?.[1];
  await page.waitForTimeout(1000);
  expect([await readers(), await page.textContent('#connection')]).toEqual(['0', 'connecting …']);
  await page.evaluate(`Object.defineProperty(document, 'hidden', { value: false, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'))`);
  await soon(async () => expect([await readers(), await page.textContent('#connection')]).toEqual(['1', 'live']));

  const [asking, serving] = [await Host.start(inside), await Host.start(world)];
  await serving.sink(WORLD, 5000);
  await asking.tell(WORLD, 5000, 1, { from: 7777, size: 1000 });
  await page.selectOption('[name=origin]', 'remote');
  await page.fill('#where', 'local.port 7777');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: `udp ${INSIDE}:7777 ${WORLD}:5000, opened by local: its story` }).click();
  const shown = (id: string) => page.textContent(`#story-${id}`);
  await soon(async () =>
    expect(await shown('now')).toMatch(/^It is in mine, by the default of its origin \(local\)\./),
  );
  expect(await shown('events')).toMatch(/flow\.(new|known) /);
  // Nothing happens, and time goes by.
  const age = await shown('age');
  await soon(async () => expect(await shown('age')).not.toBe(age));
  await asking.tell(WORLD, 5000, 100, { from: 7777, size: 1000 });
  await soon(async () => {
    expect(await shown('now')).toMatch(/^It is in web, by rule big\./);
    expect(await shown('events')).toMatch(/flow\.new .*flow\.update .*rule big/s);
  });
  expect((await shown('events'))!.match(/flow\.update/g)).toHaveLength(1);
  await box.run('conntrack', '-D', '-p', 'udp', '--orig-port-src', '7777');
  await soon(async () => {
    expect(await shown('now')).toMatch(/^It is there no more: /);
    expect(await shown('events')).toMatch(/flow\.end /);
  });
  expect(complaints).toEqual(complaints.filter((one) => one.includes('409')));
  expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
}, 240_000);
