import { configDefaults, defineConfig } from 'vitest/config';

// Kernel tests build namespaces and measure traffic on two cores: one file at a time, in processes
// (a worker thread that changes its network namespace would be no friend to its siblings).
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // The VM lane (test/vm/lane.test.ts) runs these on other kernels.
    exclude: [...configDefaults.exclude, 'test/vm/guest/**'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
