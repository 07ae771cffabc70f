// What docs/monitoring.md shows: a line that is slow because something sends more than its queue may have, each command that stands
// there between `<!-- run: … -->` and `<!-- end -->`, the recipes of jq, and the pictures of the page. Without HEADGATE_WRITE it compares what
// is printed with what stands there, but for numbers; HEADGATE_WRITE=1 writes it, and the pictures of docs/pictures. Shown on the
// machine's own kernel (6.18).

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Namespace, Program, packageFile } from '../../src/lab/index.ts';
import { PICTURES, Watcher } from './browser.ts';
import { type Exit, exitOf, Gateway, HEADGATE, INSIDE, WAN, WORLD } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';
import { streamWhile } from './stream.ts';

const GUIDE = packageFile('docs/monitoring.md');
const WRITE = process.env.HEADGATE_WRITE === '1';
/** Ms of traffic that the pictures of the guide show; those of a check need none. */
const SHOWN_MS = WRITE ? 75_000 : 0;

const POLICY = `link wan { device wan  download 20mbit  upload 1mbit }

queue mine { share 60% }
queue bulk { share 20%  ceiling 60% }
queue seed { share 10%  ceiling 60% }

rule seeders when udp and origin remote and local.port in 51413 -> seed
rule backup  when udp and origin local and remote.port 5001     -> bulk

default local -> mine  remote -> seed  new -> mine
`;

/** A block of the guide: what is run, and what it printed. */
const BLOCKS = /<!-- run: (.+) -->\n```text\n([\s\S]*?)```\n<!-- end -->/g;

/** What does not change from run to run: the words of each line, and no line's place. */
const wordsOf = (text: string): string[] =>
  text
    .split('\n')
    .map((line) =>
      line
        .split(/[\s█▏▎▍▌▋▊▉│·]+/)
        .filter((word) => word !== '' && !/\d/.test(word))
        .join(' '),
    )
    .toSorted();

let gateway: Gateway;
let watcher: Watcher;
beforeEach(async () => {
  gateway = await Gateway.build();
  await gateway.box.batch('link set lo up');
  watcher = await Watcher.start(gateway.box);
});
afterEach(async () => {
  await watcher?.close();
  await gateway.close();
});

/** Runs a line of the guide in a shell, in the test's folder, with `headgate` for the one of this package. */
const shell = (line: string): Promise<Exit> => {
  const script = `cd "$0" && headgate() { ${HEADGATE.join(' ')} "$@"; } && ${line}`;
  return exitOf(gateway.box.name, 'sh', '-c', script, gateway.folder);
};

/** What `headgate top` shows in a terminal of 80 by 24, once that says so. */
async function screen(shows: RegExp): Promise<string> {
  const { box, folder } = gateway;
  const tmux = (...args: string[]) => box.run('env', 'LC_ALL=C.UTF-8', 'tmux', '-S', `${folder}/tmux`, ...args);
  await tmux('-f', '/dev/null', 'new-session', '-d', '-s', 't', '-x', '80', '-y', '24', ...HEADGATE, 'top');
  try {
    return await soon(async () => {
      const text = (await tmux('capture-pane', '-p', '-t', 't')).replace(/ +$/gm, '').trimEnd();
      expect(text).toMatch(shows);
      return `${text}\n`;
    });
  } finally {
    await tmux('kill-server');
  }
}

it(
  'is as the program is',
  async () => {
    const { box, world, inside, folder } = gateway;
    await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1', 'net.netfilter.nf_conntrack_timestamp=1');
    await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
    const file = join(folder, 'my.gate');
    await writeFile(file, POLICY);
    await writeFile(join(folder, 'new.gate'), POLICY.replace('remote.port 5001 ', 'remote.port 5003 '));
    await gateway.serve(inside, 'udp', INSIDE, 51413);
    await gateway.serve(world, 'udp', WORLD, 5002);
    const program = await gateway.up(file, '--web', '127.0.0.1:8053');
    const recorder = Program.start('record', ['env', ...HEADGATE, 'record', `${folder}/today.hgr`], {
      netns: box.name,
    });
    const recorded = (text: string) =>
      soon(async () => expect(await readFile(`${folder}/today.hgr`, 'utf8').catch(() => '')).toContain(text));
    await recorded('"recording"');
    const { page } = await watcher.open((await gateway.headgate('web')).stdout.trim(), { width: 1400, height: 760 });
    const way = (from: Namespace, port: number, rate: number) => ({
      ...{ from, to: world, address: WORLD, port, flows: 1, rate },
    });
    let guide = await readFile(GUIDE, 'utf8');

    await streamWhile([way(inside, 5001, 1000), way(box, 5003, 150)], async () => {
      await gateway.ask(world, 'udp', WAN, 51413, 200, 7000);
      await gateway.ask(inside, 'udp', WORLD, 5002, 200, 6000);
      await box.run('conntrack', '-D', '-p', 'udp', '--orig-port-dst', '5002');
      await recorded('["e",');
      await soon(async () => {
        const row = page.locator('[data-way=upload] tbody tr:has(th:text-is("bulk"))');
        expect(await row.textContent()).toMatch(/[1-9]\d*(\.\d)? (ms|s)$/);
        expect(await page.locator('#flows tbody tr:not(.space)').count()).toBe(3);
      });
      await sleep(SHOWN_MS);
      const pictures = WRITE ? packageFile('docs/pictures') : join(PICTURES, 'guide');
      await mkdir(pictures, { recursive: true });
      for (const scheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme: scheme });
        await page.screenshot({ path: join(pictures, `page-${scheme}.png`) });
      }
      await page.emulateMedia({ colorScheme: 'light' });
      await page.locator('#flows button.flow', { hasText: `${INSIDE}:51413` }).click();
      await soon(async () => expect(await page.textContent('#story-events')).toMatch(/flow\.new/));
      await page.locator('#story').screenshot({ path: join(pictures, 'story.png') });

      // So the recording has what goes on, too.
      expect(await recorder.stop('SIGINT')).toEqual({ status: 0, signal: null });
      const blocks = [...guide.matchAll(BLOCKS)];
      expect(blocks.length).toBeGreaterThan(3);
      for (const [whole, line = '', shown = ''] of blocks) {
        const [first, ...rest] = shown.split('\n');
        expect([`$ ${line}`, `$ sudo ${line}`]).toContain(first);
        const { status, stdout, stderr } =
          line === 'headgate top'
            ? {
                status: 0,
                stdout: await screen(/^wan upload[\s\S]*^bulk +█.*[\d.]+[km]bit +600kbit[\s\S]*^udp .*bulk/m),
                stderr: '',
              }
            : await shell(line);
        expect(status, stderr).toBe(0);
        const text = stdout.replaceAll(folder, '/etc/headgate');
        if (WRITE) guide = guide.replace(whole, () => whole.replace(shown, () => `${first}\n${text}`));
        else expect(wordsOf(text), line).toEqual(wordsOf(rest.join('\n')));
      }
      const recipes = [...guide.matchAll(/^ {4}sudo (headgate events .*\| jq .*)$/gm)];
      expect(recipes.length).toBeGreaterThan(1);
      for (const [, recipe = ''] of recipes) {
        const { status, stdout, stderr } = await shell(recipe);
        expect([recipe, status, stderr]).toEqual([recipe, 0, '']);
        if (recipe.includes('flow.end')) expect(JSON.parse(stdout)).toEqual({ default: 2 * 228 });
      }
    });
    if (WRITE) await writeFile(GUIDE, guide);
    expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
  },
  (120_000 + SHOWN_MS) * PATIENCE,
);
