// Debian's kernels, fetched once into a cache outside of the clone. Nothing is installed on this machine.

import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';

const run = promisify(execFile);

export interface DebianKernel {
  /** The beginning of its version, as people say it. */
  readonly name: string;
  readonly debian: number;
  readonly suite: string;
  /** Its part of test/vm/guest. */
  readonly files: readonly string[];
}

/** Every test file of test/vm/guest, without its ending. */
export const GUEST_FILES: readonly string[] = readdirSync(new URL('guest', import.meta.url)).flatMap(
  (file) => /^(.*)\.test\.ts$/.exec(file)?.[1] ?? [],
);

/** What differs from kernel to kernel, and what takes so long that each kernel has a part of it (guest/turn.ts). */
const ON_EACH = ['kernel', 'conformance', 'datapath-lifecycle', 'per-origin', 'trees', 'reload-trees'];

export const KERNELS: readonly DebianKernel[] = [
  {
    name: '6.1',
    debian: 12,
    suite: 'bookworm',
    files: [...ON_EACH, 'accounting', 'create', 'doctor', 'seed-ifb'],
  },
  {
    name: '6.12',
    debian: 13,
    suite: 'trixie',
    files: [...ON_EACH, 'faults', 'flowtable', 'seed-police'],
  },
];

/** What qemu boots. */
export interface Bootable {
  readonly release: string;
  readonly image: string;
  readonly initramfs: string;
  /** What the guest has as /lib/modules. */
  readonly modules: string;
}

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'headgate/kernels');
const INIT = new URL('init.sh', import.meta.url);

/** The guest's way to its root. */
const ROOT_MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'];

/** Returns what to boot; without the network where the cache holds it. Delete the cache's folder to have a newer one. */
export async function ensureKernel(kernel: DebianKernel): Promise<Bootable> {
  const home = join(CACHE, kernel.suite);
  if (!existsSync(home)) {
    const draft = join(CACHE, `.${kernel.suite}-${randomUUID()}`);
    await mkdir(draft, { recursive: true });
    try {
      await unpack(await fetch(kernel, draft), draft);
      await rename(draft, home).catch((error) => {
        // Another run was faster.
        if (!existsSync(home)) throw error;
      });
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }
  const modules = join(home, 'lib/modules');
  const [release] = await readdir(modules);
  if (!release) throw new Error(`no kernel in ${home}: delete that folder, and it will be fetched again`);
  return {
    release,
    image: join(home, `boot/vmlinuz-${release}`),
    initramfs: await ensureInitramfs(home, release),
    modules,
  };
}

/**
 * Downloads the kernel's package with an apt configuration of its own, since the suite need not be this machine's. The
 * archive is the one that this machine gets its own packages from.
 */
async function fetch(kernel: DebianKernel, folder: string): Promise<string> {
  const targets = await run('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI) $(RELEASE) $(COMPONENT)',
    'Created-By: Packages',
  ]);
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1];
  const archive = targets.stdout.split('\n').find((line) => line.endsWith(` ${codename} main`));
  if (!archive) throw new Error(`apt knows no archive that has ${codename} main`);
  process.stderr.write(`vm: fetching Linux ${kernel.name} of Debian ${kernel.debian} into ${CACHE}\n`);

  const cwd = join(folder, 'apt');
  await mkdir(join(cwd, 'lists/partial'), { recursive: true });
  const source = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${archive.split(' ')[0]} ${kernel.suite} main\n`;
  await writeFile(join(cwd, 'sources.list'), source);
  const options = [
    `Dir::Etc::SourceList=${cwd}/sources.list`,
    'Dir::Etc::SourceParts=/dev/null',
    'Dir::Etc::PreferencesParts=/dev/null',
    `Dir::State::Lists=${cwd}/lists`,
    'Dir::Cache::pkgcache=',
    'Dir::Cache::srcpkgcache=',
    'APT::Sandbox::User=root',
    // Else it warns, goes on, and knows no kernel.
    'APT::Update::Error-Mode=any',
    'APT::Default-Release=',
    'Acquire::Languages=none',
    'Acquire::Retries=3',
  ].flatMap((option) => ['-o', option]);
  const apt = (tool: string, ...args: string[]) =>
    run(tool, [...options, ...args], { cwd }).catch((error) => {
      throw new Error(`Linux ${kernel.name} could not be fetched: ${error.stderr || error.message}`, { cause: error });
    });
  await apt('apt-get', '-qq', 'update');
  const { stdout } = await apt('apt-cache', 'depends', 'linux-image-amd64');
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (!name) throw new Error(`Debian ${kernel.debian} names no kernel for linux-image-amd64`);
  await apt('apt-get', '-qq', 'download', name);
  const file = (await readdir(cwd)).find((entry) => entry.endsWith('.deb'));
  return join(cwd, file!);
}

async function unpack(deb: string, folder: string): Promise<void> {
  await run('dpkg-deb', ['--extract', deb, folder]);
  await rm(join(folder, 'apt'), { recursive: true });
  // From Debian 13 on, the modules are in usr/lib/modules.
  if (!existsSync(join(folder, 'lib'))) await symlink('usr/lib', join(folder, 'lib'));
  const [release] = await readdir(join(folder, 'lib/modules'));
  await run('depmod', ['-b', folder, release!]);
}

/** Packs busybox, the modules that lead to the root, and init.sh; kept until init.sh changes. */
async function ensureInitramfs(home: string, release: string): Promise<string> {
  const hash = createHash('sha256')
    .update(await readFile(INIT))
    .digest('hex');
  const file = join(home, `initramfs-${hash.slice(0, 12)}.gz`);
  if (existsSync(file)) return file;
  const draft = join(home, `.initramfs-${randomUUID()}`);
  try {
    for (const folder of ['bin', 'modules', 'proc', 'host', 'changes', 'root', 'dev'])
      await mkdir(join(draft, folder), { recursive: true });
    await copyFile('/bin/busybox', join(draft, 'bin/busybox'));
    await copyFile(INIT, join(draft, 'init'));
    await chmod(join(draft, 'init'), 0o755);
    const { stdout } = await run('modprobe', ['-d', home, '-S', release, '-a', '--show-depends', ...ROOT_MODULES]);
    const modules = [...new Set(stdout.split('\n').flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []))];
    for (const [i, module] of modules.entries()) {
      const { stdout: object } = module.endsWith('.xz')
        ? await run('busybox', ['xzcat', module], { encoding: 'buffer', maxBuffer: 2 ** 26 })
        : { stdout: await readFile(module) };
      await writeFile(join(draft, 'modules', `${String(i).padStart(2, '0')}.ko`), object);
    }
    const names = (await readdir(draft, { recursive: true })).join('\n');
    const packed = run('busybox', ['cpio', '-o', '-H', 'newc'], { cwd: draft, encoding: 'buffer', maxBuffer: 2 ** 26 });
    packed.child.stdin!.end(`${names}\n`);
    const written = join(home, `.initramfs-${randomUUID()}.gz`);
    await writeFile(written, gzipSync((await packed).stdout));
    await rename(written, file);
    return file;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}
