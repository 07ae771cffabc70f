import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import {
  CLASSIFIER_CONFIG,
  type ClassifierConfig,
  OUTCOMES,
  patchClassifier,
  VERDICTS,
  verdictsOf,
} from '../../src/kernel/bpf-object.ts';
import { CLASSIFIER_OBJECT } from '../../src/kernel/built.ts';
import { packageFile } from '../../src/lab/place.ts';
import { HeadgateError } from '../../src/model/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'hg-bpf-object-'));
afterAll(() => rmSync(folder, { recursive: true }));

const BPF = packageFile('native-shim/bpf');
const built = readFileSync(CLASSIFIER_OBJECT);

const CONFIG: ClassifierConfig = {
  major: 0x7fe10000,
  markMask: 0xff00ff00,
  markShift: 8,
  highestClass: 0x1234,
  localClass: 0x11,
  remoteClass: 0x2222,
  newClass: 0xffff,
  picked: [1, 63, 64, 127],
};

/** The bytes in which two objects differ at most. */
function changed(a: Uint8Array, b: Uint8Array): [first: number, last: number] {
  expect(a.length).toBe(b.length);
  const at = Array.from(a.keys()).filter((i) => a[i] !== b[i]);
  return [at[0]!, at.at(-1)!];
}

const compile = (compiler: string, source: string, output: string, ...flags: string[]): Buffer => {
  const [input, out] = [join(folder, `${output}.c`), join(folder, output)];
  writeFileSync(input, source);
  execFileSync(compiler, [...flags, '-Wall', '-Werror', '-I', BPF, '-o', out, input]);
  return readFileSync(out);
};

describe('the layout is the same on both sides', () => {
  const probe = (body: string): number[] => {
    const source = `#include <stddef.h>\n#include <stdio.h>\n#include "steer.h"\nint main(void) {\n${body}\nreturn 0; }\n`;
    compile('gcc', source, 'probe');
    return execFileSync(join(folder, 'probe'), { encoding: 'utf8' }).trim().split('\n').map(Number);
  };

  test('of the configuration', () => {
    const { size, ...fields } = CLASSIFIER_CONFIG;
    const names = Object.keys(fields);
    const lines = names.map((name) => `printf("%zu\\n", offsetof(struct steer_config, ${name}));`);
    expect(probe([...lines, 'printf("%zu\\n", sizeof(struct steer_config));'].join('\n'))).toEqual([
      ...Object.values(fields),
      size,
    ]);
    // Nothing between the fields either: each begins where the one before it ends.
    const widths = names.map((name) => `printf("%zu\\n", sizeof(((struct steer_config *)0)->${name}));`);
    const sizes = probe(widths.join('\n'));
    expect(sizes.reduce((a, b) => a + b, 0)).toBe(size);
  });

  test('of the counters', () => {
    const lines = VERDICTS.map((name) => `printf("%d\\n", STEER_${name.toUpperCase()});`);
    expect(probe([...lines, 'printf("%d\\n", STEER_VERDICTS);'].join('\n'))).toEqual([
      ...VERDICTS.keys(),
      VERDICTS.length,
    ]);
    expect(OUTCOMES).toEqual(['local', 'remote', 'new', 'marked', 'left_alone', 'expired']);
  });
});

test('the built object gets the configuration, and nothing else changes', () => {
  const before = Uint8Array.from(built);
  const patched = patchClassifier(built, CONFIG);
  expect(Uint8Array.from(built)).toEqual(before);
  const [first, last] = changed(built, patched);
  expect(last - first).toBeLessThan(CLASSIFIER_CONFIG.size);
  // The major's third byte is the first of them that differs.
  const bytes = Buffer.from(patched.subarray(first - 2, first - 2 + CLASSIFIER_CONFIG.size));
  expect(bytes.toString('hex')).toBe(
    '0000e17f' +
      '00ff00ff' +
      '08000000' +
      '34120000' +
      '11000000' +
      '22220000' +
      'ffff0000' +
      '00000000' +
      '0200000000000080' +
      '0100000000000080',
  );
  expect(patchClassifier(patched, CONFIG)).toEqual(patched);
});

test('what is left out has its meaning', () => {
  const { highestClass: _, ...rest } = CONFIG;
  expect(patchClassifier(built, rest)).toEqual(patchClassifier(built, { ...rest, highestClass: 0xffff }));
});

test('an object of the other byte order is patched in its own', () => {
  const source = '#include "steer.h"\nconst volatile struct steer_config config = { .major = 1 };\n';
  const includes = [
    '-isystem',
    `/usr/include/${execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim()}`,
  ];
  const object = (target: string) =>
    compile('clang', source, `${target}.o`, '-O2', '-target', target, ...includes, '-c');
  for (const [target, expected] of [
    ['bpfel', '0000e17f' + '00ff00ff'],
    ['bpfeb', '7fe10000' + 'ff00ff00'],
  ] as const) {
    const plain = object(target);
    const patched = patchClassifier(plain, CONFIG);
    const [first] = changed(plain, patched);
    expect(Buffer.from(patched.subarray(first, first + 8)).toString('hex')).toBe(expected);
  }
});

describe('what is not the classifier is refused', () => {
  const refusal = (object: Uint8Array): string => {
    try {
      patchClassifier(object, CONFIG);
    } catch (error) {
      expect(error).toBeInstanceOf(HeadgateError);
      expect((error as HeadgateError).code).toBe('HG_NO_SHIM');
      return (error as HeadgateError).message;
    }
    throw new Error('it was taken');
  };
  const C = (source: string, target = 'bpfel') => compile('clang', source, 'other.o', '-O2', '-target', target, '-c');

  test('nothing, text, a cut file', () => {
    expect(refusal(new Uint8Array(0))).toContain('no ELF file');
    expect(refusal(Buffer.from('#!/bin/sh\n'.repeat(20)))).toContain('no ELF file');
    expect(refusal(built.subarray(0, 64))).toContain('cut short');
    expect(refusal(built.subarray(0, built.length - 1))).toContain('cut short');
  });

  test('another machine, another class', () => {
    expect(refusal(compile('gcc', 'int config[12] = { 1 };', 'native.o', '-c'))).toContain('not made for BPF');
    const narrow = Uint8Array.from(built);
    narrow[4] = 1;
    expect(refusal(narrow)).toContain('not of 64 bits');
    const odd = Uint8Array.from(built);
    odd[5] = 3;
    expect(refusal(odd)).toContain('not of 64 bits');
  });

  test('no configuration, or one of another size, or without contents', () => {
    expect(refusal(C('const volatile int configs[10] = { 1 };'))).toContain('it has no config');
    expect(refusal(C('const volatile int config[9] = { 1 };'))).toContain('36 bytes where 48');
    expect(refusal(C('int config[12];'))).toContain('lies nowhere');
    expect(refusal(C('extern int config[12]; int f(void) { return config[0]; }'))).toContain('0 bytes where 48');
  });

  test('bytes changed anywhere: patched or refused, never anything else', () => {
    const small = C('const volatile int config[12] = { 1 };');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(small.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 }),
        fc.nat(small.length),
        (changes, cut) => {
          const object = Uint8Array.from(small);
          for (const [at, value] of changes) object[at] = value;
          for (const candidate of [object, object.subarray(0, cut)]) {
            try {
              expect(patchClassifier(candidate, CONFIG).length).toBe(candidate.length);
            } catch (error) {
              expect(error).toBeInstanceOf(HeadgateError);
            }
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});

test.each([
  ['major', 0x7fe10001],
  ['major', 0],
  ['major', 2 ** 32],
  ['markMask', -1],
  ['markMask', 2 ** 32],
  ['markShift', 32],
  ['localClass', 0],
  ['remoteClass', 0x10000],
  ['newClass', 1.5],
  ['highestClass', 0x10000],
] as const)('a %s of %s is out of range', (name, value) => {
  expect(() => patchClassifier(built, { ...CONFIG, [name]: value })).toThrow(RangeError);
});

test('counters get their names', () => {
  const counts = verdictsOf(VERDICTS.map((_, i) => i * 10));
  expect(counts.local).toBe(0);
  expect(counts.malformed).toBe(120);
  expect(Object.keys(counts)).toEqual([...VERDICTS]);
});
