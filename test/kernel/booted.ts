import { readFileSync } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { vi } from 'vitest';
import { run } from '../../src/kernel/index.ts';
import { type Namespace, Program, packageFile } from '../../src/lab/index.ts';
import { type Exit, exitOf } from './gateway.ts';
import { PATIENCE } from './soon.ts';

const SCRIPT = packageFile('test/kernel/booted.sh');
const UNITS = '/lib/systemd/system';
const JOURNAL = ['systemd-journald.service', 'systemd-journald.socket', 'systemd-journald-dev-log.socket'];
const TARGETS = ['basic', 'local-fs', 'network', 'multi-user', 'shutdown'];

/**
 * systemd itself, which runs here as process 1 of namespaces that end with it: booted.sh. It has the journal and our units,
 * as docs/systemd has them, for the clone and the node of the test.
 */
export class Booted {
  readonly #folder: string;
  readonly #program: Program;
  #pid = 0;

  private constructor(folder: string, program: Program) {
    this.#folder = folder;
    this.#program = program;
  }

  /** @param folder an empty one, with a name of its own @param etc files by their paths below /etc @param unit what is changed in the units */
  static async boot(
    box: Namespace,
    folder: string,
    etc: Readonly<Record<string, string>>,
    unit: (text: string) => string,
  ): Promise<Booted> {
    await mkdir(join(folder, 'units'), { recursive: true });
    const write = (name: string, text: string) => writeFile(join(folder, 'units', name), text);
    const docs = (name: string) => readFile(packageFile(`docs/systemd/${name}`), 'utf8');
    for (const name of JOURNAL) await copyFile(join(UNITS, name), join(folder, 'units', name));
    for (const name of TARGETS) await write(`${name}.target`, '[Unit]\nDefaultDependencies=no\n');
    await write('sysinit.target', `[Unit]\nDefaultDependencies=no\nWants=${JOURNAL.join(' ')}\n`);
    for (const name of ['headgate.service', 'headgate-down.service'])
      await write(name, unit((await docs(name)).replaceAll('/usr/bin/node', '/opt/node')));
    for (const [path, text] of Object.entries({
      ...etc,
      'sysusers.d/headgate.conf': await docs('headgate.sysusers'),
    })) {
      await mkdir(join(folder, 'etc', path, '..'), { recursive: true });
      await writeFile(join(folder, 'etc', path), text);
    }
    const argv = ['sh', SCRIPT, 'boot', folder, packageFile('.'), process.execPath] as const;
    const booted = new Booted(folder, Program.start('systemd', argv, { netns: box.name }));
    try {
      await vi.waitFor(
        async () => {
          const pid = booted.#program.pid!;
          booted.#pid = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
          if ((await booted.run('systemctl', 'is-active', 'multi-user.target')).status !== 0)
            throw new Error('not booted');
        },
        { timeout: 60_000 * PATIENCE, interval: 200 },
      );
    } catch (error) {
      await booted.close();
      throw error;
    }
    return booted;
  }

  /** Runs a command inside to its end. */
  run(...argv: readonly string[]): Promise<Exit> {
    return exitOf(undefined, 'nsenter', `--target=${this.#pid}`, '--mount', '--pid', '--net', '--cgroup', ...argv);
  }

  /** A property of our unit: systemctl(1), show. */
  async property(name: string): Promise<string> {
    return (await this.run('systemctl', 'show', '--value', '--property', name, 'headgate')).stdout.trim();
  }

  /** What our unit has written to the journal: message and priority. */
  async journal(): Promise<readonly { readonly MESSAGE: string; readonly PRIORITY: string }[]> {
    const { stdout } = await this.run('journalctl', '--unit=headgate', '--output=json', '--no-pager');
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  }

  /** Ends it with all that runs inside; its cgroup goes, too. */
  async close(): Promise<void> {
    await run(['sh', SCRIPT, 'clear', this.#folder]);
    await this.#program.ended;
  }
}
