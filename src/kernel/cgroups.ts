import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Cgroups that are looked at in one walk, at most: some 2 GiB of kernel memory; a box of many services has hundreds. */
export const MOST_CGROUPS = 100_000;
/** Least time between two walks, ms: ids that are found nowhere cost no more. */
export const WALK_PAUSE = 250;

/** Where cgroup2 is mounted (proc(5)); undefined: nowhere, or that cannot be read. */
export async function getCgroupRoot(): Promise<string | undefined> {
  const mounts = await readFile('/proc/self/mounts', 'utf8').catch(() => '');
  return /^\S+ (\S+) cgroup2 /m.exec(mounts)?.[1];
}

/**
 * Paths of cgroups by their ids. An id is the inode of the cgroup's folder (kernfs_node.id), which anybody may see, where
 * name_to_handle_at(2) would take a right; so the tree is walked when an id is not known, and paths are kept: an id is not used again.
 */
export class CgroupPaths {
  readonly #root: Promise<string | undefined>;
  readonly #wait: (ms: number) => Promise<unknown>;
  #paths = new Map<bigint, string>();
  #walk: Promise<void> | undefined;
  #next = 0;

  constructor(
    root: Promise<string | undefined> = getCgroupRoot(),
    wait = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms)),
  ) {
    this.#root = root;
    this.#wait = wait;
  }

  /** The path below the root, beginning with `/`; undefined where there is none of that id, or no cgroup2. */
  async pathOf(id: bigint): Promise<string | undefined> {
    const known = this.#paths.get(id);
    if (known !== undefined) return known;
    // One that has begun may have passed the place where it is now.
    await this.#walk;
    if (!this.#paths.has(id)) await this.#walkAgain();
    return this.#paths.get(id);
  }

  /** Processes of a cgroup; none where it is gone. */
  async processesOf(path: string): Promise<readonly number[]> {
    const root = await this.#root;
    const text = root === undefined ? '' : await readFile(join(root, path, 'cgroup.procs'), 'utf8').catch(() => '');
    return text.split('\n').flatMap((line) => (/^[1-9]\d*$/.test(line) ? [Number(line)] : []));
  }

  #walkAgain(): Promise<void> {
    this.#walk ??= this.#walkAll().finally(() => {
      this.#walk = undefined;
    });
    return this.#walk;
  }

  async #walkAll(): Promise<void> {
    const root = await this.#root;
    if (root === undefined) return;
    const pause = this.#next - performance.now();
    if (pause > 0) await this.#wait(pause);
    const paths = new Map<bigint, string>();
    const queue = ['/'];
    for (let path = queue.pop(); path !== undefined && paths.size < MOST_CGROUPS; path = queue.pop()) {
      try {
        const folder = join(root, path);
        paths.set((await stat(folder, { bigint: true })).ino, path);
        for (const entry of await readdir(folder, { withFileTypes: true }))
          if (entry.isDirectory()) queue.push(join(path, entry.name));
      } catch {
        // It has gone meanwhile.
      }
    }
    this.#paths = paths;
    this.#next = performance.now() + WALK_PAUSE;
  }
}
