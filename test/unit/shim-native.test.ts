import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { SHIM_LIBRARY } from '../../src/kernel/built.ts';
import { loadShim } from '../../src/kernel/shim/library.ts';
import { HeadgateError } from '../../src/model/index.ts';

const run = promisify(execFile);
const make = (...targets: string[]) =>
  run('make', ['-s', '-C', resolve(import.meta.dirname, '../../native-shim'), ...targets]);

/** Tests in native-shim/test; a target that runs none of them must not pass. */
const passed = (output: string) => output.split('\n').filter((line) => line.startsWith('ok ')).length;

describe('the shim', () => {
  it('passes its own tests', { timeout: 180_000 }, async () => {
    expect(passed((await make('test')).stdout)).toBeGreaterThan(30);
  });

  it('passes them under AddressSanitizer and UndefinedBehaviourSanitizer', { timeout: 300_000 }, async () => {
    expect(passed((await make('test-sanitize')).stdout)).toBeGreaterThan(30);
  });

  it('has no data race that ThreadSanitizer sees', { timeout: 180_000 }, async () => {
    expect(passed((await make('test-threads')).stdout)).toBeGreaterThan(5);
  });

  it('is not built again when nothing has changed', async () => {
    await make();
    const begin = performance.now();
    expect((await make()).stdout).toBe('');
    expect(performance.now() - begin).toBeLessThan(1000);
  });
});

describe('loading the shim', () => {
  const problemOf = (path: string): HeadgateError => {
    try {
      loadShim(path);
    } catch (error) {
      if (error instanceof HeadgateError) return error;
      throw error;
    }
    throw new Error('it loaded');
  };

  it('works where make put it', () => {
    expect(Object.keys(loadShim(SHIM_LIBRARY))).toContain('hg_source_take');
  });

  it('says what is wrong where it is not there', () => {
    expect(problemOf('/nowhere/libheadgate.so')).toMatchObject({ code: 'HG_NO_SHIM' });
    expect(problemOf('/nowhere/libheadgate.so').message).toContain('/nowhere/libheadgate.so');
  });

  it('refuses another version', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'headgate-abi-'));
    try {
      writeFileSync(join(directory, 'other.c'), 'unsigned hg_abi(void) { return 999; }\n');
      const library = join(directory, 'other.so');
      await run('gcc', ['-shared', '-fPIC', '-o', library, join(directory, 'other.c')]);
      expect(problemOf(library).message).toContain('other.so: it has version 999, not 8');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
