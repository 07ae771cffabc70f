// Debian's Chromium in a namespace of the lab, without a window. What it says wrong of the page (a breach of its
// content policy, an error, a request that failed) is kept.

import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { type Namespace, packageFile } from '../../src/lab/index.ts';

/** Pictures for whoever looks at them, where a CI keeps what a run has made; not in git. */
export const PICTURES = packageFile('.ci/artefacts');

export interface Look {
  readonly page: Page;
  /** What the browser complained of. */
  readonly complaints: readonly string[];
}

export class Watcher {
  readonly #browser: Browser;
  readonly #folder: string;

  private constructor(browser: Browser, folder: string) {
    this.#browser = browser;
    this.#folder = folder;
  }

  static async start(ns: Namespace): Promise<Watcher> {
    const folder = await mkdtemp(join(tmpdir(), 'hg-browser-'));
    const executablePath = join(folder, 'chromium');
    await writeFile(executablePath, `#!/bin/sh\nexec ip netns exec ${ns.name} /usr/bin/chromium "$@"\n`);
    await chmod(executablePath, 0o755);
    const browser = await chromium.launch({
      executablePath,
      args: [
        ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
        // It would ask for names of its own, and those would be flows.
        '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
      ],
      timeout: 60_000,
    });
    return new Watcher(browser, folder);
  }

  /** Opens a page, as wide as that, in light or dark; with `script` run before its own, where one is given. */
  async open(url: string, { width = 1280, dark = false, height = 1000, script = '' } = {}): Promise<Look> {
    const context = await this.#browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? 'dark' : 'light',
      reducedMotion: 'reduce',
    });
    if (script !== '') await context.addInitScript(script);
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
    });
    await page.goto(url);
    return { page, complaints };
  }

  /** Bytes of JavaScript that a page holds. */
  async heapOf(page: Page): Promise<number> {
    const session = await page.context().newCDPSession(page);
    await session.send('HeapProfiler.collectGarbage');
    const { usedSize } = await session.send('Runtime.getHeapUsage');
    await session.detach();
    return usedSize;
  }

  async close(): Promise<void> {
    await this.#browser.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** The number of the item at the top of the list of events. */
export const newest = async (page: Page): Promise<number> =>
  Number(await page.locator('#events tbody tr:not(.space) td').first().textContent());
