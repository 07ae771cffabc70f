import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** From the ground up, as docs/architecture.md lists them: a room imports only from rooms before it. */
const ROOMS = [
  'model',
  'language',
  'shape',
  'kernel',
  'apply',
  'monitor',
  'pipeline',
  'facts',
  'replay',
  'service',
  'screen',
  'web',
  'lab',
  'lsp',
  'cli',
  'setup',
];
/** The only door to the OS. */
const DOORS = /^(koffi|(node:)?(child_process|net|dgram|http|http2|https|tls|fs|fs\/promises|worker_threads|cluster))$/;
/** Faces of rooms. Some have several, by what takes long to load: `headgate check` needs neither rxjs, nor the shim, nor what decides, and who asks the service no rxjs. */
const FACES =
  /^\w+\/index\.ts$|^language\/(service|reading)\.ts$|^kernel\/(sources|files|readings)\.ts$|^service\/(ask|privileges)\.ts$|^monitor\/stream\.ts$|^replay\/recorder\.ts$|^pipeline\/oldest\.ts$/;
/** Programs of the lab are started in namespaces of their own and are its traffic: they open sockets for a living. */
const AT_THE_DOOR = /^(kernel|setup)\/|^lab\/(traffic|transfer)\.ts$/;

const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'));

/** What a file imports; without `types`, only what is there at run time. */
function importsOf(file: string, types = true): string[] {
  const text = readFileSync(join(root, 'src', file), 'utf8');
  const statement = /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^;]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)/g;
  return [...text.matchAll(statement)].filter((m) => types || !m[1]).map((m) => m[2] ?? m[3]!);
}

describe('the rooms of src/', () => {
  it('are those of docs/architecture.md', () => {
    const documented = [
      ...readFileSync(join(root, 'docs/architecture.md'), 'utf8').matchAll(/^\| `src\/(\w+)\/`/gm),
    ].map((m) => m[1]);
    expect([...documented].sort()).toEqual([...ROOMS].sort());
    expect(new Set(files.map((f) => f.split('/')[0]))).toEqual(new Set(ROOMS.filter((room) => room !== 'setup')));
  });

  it('import only downwards, and other rooms by their face', () => {
    const wrong = files.flatMap((file) =>
      importsOf(file)
        .filter((target) => target.startsWith('.'))
        .map((target) => relative(join(root, 'src'), resolve(root, 'src', dirname(file), target)))
        .filter((target) => {
          const [from, to] = [file.split('/')[0]!, target.split('/')[0]!];
          return from !== to && (ROOMS.indexOf(to) > ROOMS.indexOf(from) || !FACES.test(target));
        })
        .map((target) => `${file} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('touch the OS through src/kernel alone', () => {
    const wrong = files
      .filter((file) => !AT_THE_DOOR.test(file))
      .flatMap((file) =>
        importsOf(file, false)
          .filter((target) => DOORS.test(target))
          .map((target) => `${file} imports ${target}`),
      );
    expect(wrong).toEqual([]);
  });

  it('have no cycle of files', () => {
    const graph = new Map(
      files.map((f) => [
        f,
        importsOf(f)
          .filter((t) => t.startsWith('.'))
          .map((t) => relative(join(root, 'src'), resolve(root, 'src', dirname(f), t))),
      ]),
    );
    const done = new Set<string>();
    const walk = (file: string, path: string[]): void => {
      expect(path, `cycle: ${[...path, file].join(' > ')}`).not.toContain(file);
      if (done.has(file)) return;
      for (const next of graph.get(file) ?? []) walk(next, [...path, file]);
      done.add(file);
    };
    for (const file of files) walk(file, []);
  });
});

describe('the whole tree', () => {
  const tool = (name: string, ...args: string[]) =>
    execFileSync(join(root, 'node_modules/.bin', name), args, { cwd: root, encoding: 'utf8', stdio: 'pipe' });

  it('has no type error', () => {
    tool('tsc', '-p', 'tsconfig.json');
    tool('tsc', '-p', 'src/web/tsconfig.json');
  });

  it('is formatted and free of lint', () => {
    tool('biome', 'check', '--error-on-warnings', '.');
    tool('oxlint', '--type-aware', '--deny-warnings', 'src', 'test');
  });
});
