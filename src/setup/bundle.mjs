// Puts the command into few files: node takes 0.6 ms to load each, and `check` has more than eighty of
// them (docs/decisions/0019-the-command-in-few-files.md, 0064-what-a-start-loads.md). What tsc made of its entry is replaced: people know its path.

import { cpSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const OURS = fileURLToPath(new URL('..', import.meta.url));
const BASE = new RegExp(
  [
    'commander/',
    'src/model/',
    'src/cli/(options|log|output|version)',
    'src/kernel/(capabilities|get-text|group|instance|machine|machine-facts|read-include|rights|users)\\.ts',
    'src/shape/ladder',
  ].join('|'),
);

const command = await rolldown({
  input: { headgate: 'src/cli/headgate.ts' },
  platform: 'node',
  // Loaded when something needs them: one is a binary, the others are large.
  external: [/^koffi/, /^pino/, /^vscode-languageserver/],
  // Its modules, of which most are left out; for node it names its CommonJS files, which stay whole.
  // A module of ours that nobody uses anything of does nothing, also where an index.ts names it: a command loads what it needs.
  treeshake: { moduleSideEffects: (id) => !id.startsWith(OURS) },
  resolve: { alias: { rxjs: fileURLToPath(import.meta.resolve('rxjs').replace('/dist/cjs/', '/dist/esm/')) } },
});
// Both folders are as deep as those of src: files find the package's others by ../../.
await command.write({
  dir: 'dist',
  entryFileNames: 'cli/[name].js',
  chunkFileNames: 'bundle/[name].js',
  // Few files, since each takes longer to find than to read; with a module goes what it imports.
  codeSplitting: {
    groups: [
      // What nearly every command has, and `up` before it starts itself anew: that does not wait for the rest.
      { name: 'base', test: BASE, priority: 3 },
      { name: 'language', test: /src\/language/, minShareCount: 2, priority: 2 },
      { name: 'kernel', test: /src\/(kernel|shape|apply)/, minShareCount: 2, priority: 1 },
      { name: 'service', test: /src\/(monitor|pipeline|service)|rxjs/, minShareCount: 2 },
    ],
  },
});

// The page of `up --web`: one script for the browser, and what stands beside it.
const page = await rolldown({ input: { page: 'src/web/page.ts' }, platform: 'browser' });
await page.write({ dir: 'dist/web', minify: true });
for (const name of ['index.html', 'page.css', 'icon.svg']) cpSync(`src/web/${name}`, `dist/web/${name}`);
