import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readInclude } from '../../src/kernel/index.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hg-include-'));
  mkdirSync(join(folder, 'policy/more'), { recursive: true });
  writeFileSync(join(folder, 'secret'), 'root:x:0:0');
  writeFileSync(join(folder, 'policy/main.gate'), '');
  writeFileSync(join(folder, 'policy/more/a.gate'), 'queue a { share 10% }');
});
afterEach(() => rmSync(folder, { recursive: true }));

const include = (file: string) => readInclude(join(folder, 'policy', file), join(folder, 'policy/main.gate'));

it('reads a file beside the policy or below, also by a link that stays there', () => {
  symlinkSync('more/a.gate', join(folder, 'policy/link.gate'));
  for (const file of ['more/a.gate', 'link.gate']) expect(include(file)).toEqual({ text: 'queue a { share 10% }' });
});

it('follows no link out of the folder, of a file or of a folder', () => {
  symlinkSync('../secret', join(folder, 'policy/link.gate'));
  symlinkSync('..', join(folder, 'policy/up'));
  for (const file of ['link.gate', 'up/secret'])
    expect(include(file)).toEqual({ problem: 'it lies outside, behind a link' });
});

it('says what is wrong with a file', () => {
  expect(include('none.gate')).toEqual({ problem: 'no such file' });
  expect(include('more')).toEqual({ problem: 'it is a folder' });
});
