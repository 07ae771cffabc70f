import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FLAG, KEY_BYTES, KIND, LAYOUTS, type Layout, MARK_REQUEST, SIZE_OF } from '../../src/kernel/shim/layout.ts';
import { fieldsOf } from './shim-encode.ts';

const include = resolve(import.meta.dirname, '../../native-shim/include');
const constantOf = (name: string) => name.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase();

/** A C program that prints where the header has every field that the layouts name, and every constant. */
function probeOf(layouts: readonly Layout[]): string {
  const lines = layouts.flatMap(({ name, fields }) => [
    `printf("%s %zu\\n", "${name}", sizeof(struct ${name}));`,
    ...fieldsOf(fields).map(([path, { type, length }]) => {
      const member = `((struct ${name} *)0)->${path}`;
      const wanted = length > 1 ? `${type} (*)[${length}]` : `${type} *`;
      // The assertion compares types, which offsets and sizes cannot.
      return `_Static_assert(__builtin_types_compatible_p(__typeof__(&${member}), ${wanted}), "${name}.${path}");
        printf("%s %zu %zu\\n", "${name}.${path}", offsetof(struct ${name}, ${path}), sizeof(${member}));`;
    }),
  ]);
  const constants = [
    ...Object.keys(KIND).map((name) => `HG_${constantOf(name)}`),
    ...Object.keys(FLAG).map((name) => `HG_F_${constantOf(name)}`),
  ].map((name) => `printf("%s %u\\n", "${name}", (unsigned)${name});`);
  return `#include <stddef.h>
    #include <stdio.h>
    #include "headgate.h"
    int main(void) { ${[...lines, ...constants].join('\n')} return 0; }`;
}

describe('the layouts of records', () => {
  let directory: string;
  let said: string[];

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'headgate-probe-'));
    writeFileSync(join(directory, 'probe.c'), probeOf(LAYOUTS));
    const probe = join(directory, 'probe');
    execFileSync('gcc', ['-Wall', '-Wextra', '-Werror', `-I${include}`, '-o', probe, join(directory, 'probe.c')]);
    said = execFileSync(probe, { encoding: 'utf8' }).trim().split('\n');
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('are those of headgate.h, field by field, as a compiled probe says', () => {
    const stated = LAYOUTS.flatMap(({ name, size, fields }) => [
      `${name} ${size}`,
      ...fieldsOf(fields).map(
        ([path, { offset, type, length }]) => `${name}.${path} ${offset} ${SIZE_OF[type] * length}`,
      ),
    ]);
    expect(stated.length).toBeGreaterThan(80);
    expect(said.filter((line) => line.startsWith('hg_'))).toEqual(stated);
  });

  it('have the numbers of its enumerations', () => {
    expect(said.filter((line) => line.startsWith('HG_'))).toEqual([
      ...Object.entries(KIND).map(([name, value]) => `HG_${constantOf(name)} ${value}`),
      ...Object.entries(FLAG).map(([name, value]) => `HG_F_${constantOf(name)} ${value}`),
    ]);
  });

  it.each(LAYOUTS.map((layout) => [layout.name, layout] as const))('%s leaves no byte unsaid', (_, layout) => {
    let end = 0;
    for (const [path, { offset, type, length }] of fieldsOf(layout.fields)) {
      expect(`${path} ${offset}`).toBe(`${path} ${end}`);
      end = offset + SIZE_OF[type] * length;
    }
    expect(end).toBe(layout.size);
  });

  it('give a flow and a mark request the same identity', () => {
    const flow = LAYOUTS.find(({ name }) => name === 'hg_flow')!;
    const at = (layout: Layout) => {
      const fields = fieldsOf(layout.fields).filter(([path]) => /^(zone|family|protocol|original\.)/.test(path));
      return fields.map(([path, field]) => `${path} ${field.offset - fields[0]![1].offset}`);
    };
    expect(at(flow)).toEqual(at(MARK_REQUEST));
    expect(MARK_REQUEST.fields.mark.offset).toBe(KEY_BYTES);
  });
});
