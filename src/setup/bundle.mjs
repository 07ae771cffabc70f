// Puts the command into few files: node takes 0.6 ms to load each, and `check` has more than eighty of
// them (docs/decisions/0019-the-command-in-few-files.md). What tsc made of its entry is replaced: people know its path.

import { cpSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const command = await rolldown({
  input: { headgate: 'src/cli/headgate.ts' },
  platform: 'node',
  // Loaded when something needs them: one is a binary, the others are large.
  external: [/^koffi/, /^pino/, /^vscode-languageserver/],
  // Its modules, of which most are left out; for node it names its CommonJS files, which stay whole.
  resolve: { alias: { rxjs: fileURLToPath(import.meta.resolve('rxjs').replace('/dist/cjs/', '/dist/esm/')) } },
});
// Both folders are as deep as those of src: files find the package's others by ../../.
await command.write({ dir: 'dist', entryFileNames: 'cli/[name].js', chunkFileNames: 'bundle/[name].js' });

// The page of `up --web`: one script for the browser, and what stands beside it.
const page = await rolldown({ input: { page: 'src/web/page.ts' }, platform: 'browser' });
await page.write({ dir: 'dist/web', minify: true });
for (const name of ['index.html', 'page.css', 'icon.svg']) cpSync(`src/web/${name}`, `dist/web/${name}`);
