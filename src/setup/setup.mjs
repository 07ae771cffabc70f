// Makes a bare machine ready, then runs what was asked for:
//
//   node src/setup/setup.mjs demo [ARG ...]   what running needs, then `headgate demo ARG ...`
//   node src/setup/setup.mjs test [ARG ...]   that and what the tests need, then `vitest run ARG ...`
//   node src/setup/setup.mjs test:vm [--kernel 6.1] [--every] [ARG ...]   the same for the VM lane alone; ARG goes to its vitest
//   node src/setup/setup.mjs bench [ARG ...]  that, and what it is measured against; then the benchmarks, and docs/performance.md
//   node src/setup/setup.mjs build            what running needs, and nothing more
//
// Plain JavaScript that imports nothing from npm: it runs before anything is installed. It says what it installs
// before it does, asks nothing, does nothing that is done already, and writes to standard error alone.

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const packages = JSON.parse(readFileSync(join(root, 'src/setup/packages.json'), 'utf8'));
const LEAST_NODE = [20, 19];
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const isRoot = process.geteuid?.() === 0;

const [task = 'build', ...rest] = process.argv.slice(2);
if (!['demo', 'test', 'test:vm', 'bench', 'build'].includes(task))
  fail(`there is no task "${task}": demo, test, test:vm, bench or build.`);

ensureNode();
ensurePrivilege();
ensureDebianPackages([
  ...packages.run,
  ...(task.startsWith('test') || task === 'bench' ? packages.test : []),
  ...(task === 'bench' ? packages.bench : []),
]);
ensureNodeModules();
build();
linkCommand();

if (task === 'demo') runAsRoot([process.execPath, join(root, 'dist/cli/headgate.js'), 'demo', ...rest]);
if (task === 'test') runAsRoot([process.execPath, vitest, 'run', ...rest]);
if (task === 'bench')
  runAsRoot([process.execPath, vitest, 'run', '--config', join(root, 'test/bench/vitest.config.ts'), ...rest]);
if (task === 'test:vm') runAsRoot(vmLane(rest));

function ensureNode() {
  if (process.platform !== 'linux') fail(`Headgate runs on Linux, and this is ${process.platform}.`);
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < LEAST_NODE[0] || (major === LEAST_NODE[0] && minor < LEAST_NODE[1]))
    fail(`Node ${LEAST_NODE.join('.')} or later is needed, and this is ${process.versions.node}.`);
}

/** Namespaces, tc and nft need root, and so does apt: better said at once than in the middle. */
function ensurePrivilege() {
  if (isRoot || task === 'build') return;
  if (spawnSync('sudo', ['--version'], { stdio: 'ignore' }).status !== 0)
    fail('this needs root, and there is no sudo: run it as root.');
  say('root is needed (network namespaces, tc, nft): sudo may ask for your password.');
  if (spawnSync('sudo', ['-v'], { stdio: 'inherit' }).status !== 0) fail('sudo refused: run it as root.');
}

function ensureDebianPackages(wanted) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own format language
  const query = spawnSync('dpkg-query', ['-W', '-f=${Package} ${db:Status-Status}\n', ...wanted], { encoding: 'utf8' });
  if (query.error) fail(`this is no Debian system; install what corresponds to: ${wanted.join(' ')}`);
  const installed = new Set(
    query.stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  const missing = wanted.filter((name) => !installed.has(name));
  if (missing.length === 0) return;
  say(`installing Debian packages: ${missing.join(' ')}`);
  const apt = (...args) =>
    spawnSync(
      ...elevated([
        'env',
        'DEBIAN_FRONTEND=noninteractive',
        'apt-get',
        '-qq',
        '-o',
        'DPkg::Lock::Timeout=120',
        ...args,
      ]),
      {
        stdio: ['ignore', 'ignore', 'pipe'],
        encoding: 'utf8',
      },
    );
  const update = apt('update');
  const install = apt('install', '-y', '--no-install-recommends', ...missing);
  if (install.status !== 0) {
    const reason = [install.stderr, update.stderr]
      .flatMap((text) => (text ?? '').split('\n'))
      .find((line) => line.startsWith('E:'));
    fail(`these Debian packages could not be installed: ${missing.join(' ')}${reason ? ` (${reason})` : ''}`);
  }
}

/** Installs what package-lock.json says, unless the same lock file was installed before. */
function ensureNodeModules() {
  const stamp = join(root, 'node_modules/.headgate-lock');
  const lock = hashOf('package-lock.json');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  say('installing npm packages (npm ci)');
  // No package of ours needs its install script: koffi ships its binary inside the package.
  const npm = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (npm.error) fail('npm is not installed.');
  if (npm.status !== 0) fail('the npm packages could not be installed; npm says why above.');
  writeFileSync(stamp, lock);
}

function build() {
  run('make', '-s', '-C', join(root, 'native-shim'));

  const stamp = join(root, 'dist/.headgate-source');
  const source = hashOf('package-lock.json', 'tsconfig.json', 'tsconfig.build.json', ...filesOf('src'));
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === source) return;
  run(join(root, 'node_modules/.bin/tsc'), '-p', join(root, 'tsconfig.build.json'));
  run(process.execPath, join(root, 'src/setup/bundle.mjs'));
  writeFileSync(stamp, source);
}

function run(tool, ...args) {
  if (spawnSync(tool, args, { cwd: root, stdio: ['ignore', 2, 2] }).status !== 0)
    fail(`the build failed: ${[tool, ...args].join(' ')} says why above.`);
}

function filesOf(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

function hashOf(...files) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest('hex');
}

/** Lets `npx headgate` find the command of this clone. */
function linkCommand() {
  const command = join(root, 'node_modules/.bin/headgate');
  chmodSync(join(root, 'dist/cli/headgate.js'), 0o755);
  if (!existsSync(command)) symlinkSync('../../dist/cli/headgate.js', command);
}

/** The arguments are meant for the vitest that runs in the guest: test/vm/lane.test.ts reads them from its environment. */
function vmLane(args) {
  let left = args;
  const kernel = left[0] === '--kernel' ? left[1] : undefined;
  if (kernel) left = left.slice(2);
  const every = left[0] === '--every';
  if (every) left = left.slice(1);
  const lane = JSON.stringify({ kernel, every, args: left });
  return ['env', `HEADGATE_VM=${lane}`, process.execPath, vitest, 'run', 'test/vm/lane.test.ts'];
}

/** Runs the command as root, and ends with its exit status. Ctrl-C reaches it by the terminal; SIGTERM is passed on. */
function runAsRoot(argv) {
  const child = spawn(...elevated(argv), { cwd: root, stdio: 'inherit' });
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('exit', (status, signal) => {
    process.exitCode = status ?? (signal === 'SIGINT' ? 130 : 143);
  });
}

function elevated([tool, ...args]) {
  return isRoot ? [tool, args] : ['sudo', [tool, ...args]];
}

function say(text) {
  process.stderr.write(`headgate setup: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(3);
}
