import { defineConfig } from 'vitest/config';

// Not part of `npm test`: figures need a quiet machine. Run: npm run bench
export default defineConfig({
  test: {
    root: 'test/bench',
    include: ['*.bench.ts'],
    globalSetup: ['write-performance.ts'],
    pool: 'forks',
    execArgv: ['--expose-gc'],
    fileParallelism: false,
    testTimeout: 300_000,
    silent: false,
  },
});
