import { defineConfig } from 'vitest/config';
import { PortReporter } from './reporter.ts';

/** Emulation takes this many times as long as the machine does. Tests that wait themselves multiply by it: soon.ts. */
const PATIENCE = 12;

/** Files of test/kernel that hold on any kernel, and are run in the guest along with test/vm/guest. */
const ANY_KERNEL: string[] = [];

export default defineConfig({
  root: new URL('../../..', import.meta.url).pathname,
  test: {
    // Files that are asked for by name may be any that need a kernel.
    include: ['test/vm/guest/*.test.ts', ...(process.env.HG_ARGS ? ['test/kernel/*.test.ts'] : ANY_KERNEL)],
    reporters: ['default', new PortReporter()],
    env: { HEADGATE_PATIENCE: String(PATIENCE) },
    setupFiles: ['test/vm/guest/patience.ts'],
    pool: 'forks',
    fileParallelism: false,
    // A process for each file takes longer to start there than some files take.
    isolate: false,
    testTimeout: 60_000 * PATIENCE,
    hookTimeout: 60_000 * PATIENCE,
  },
});
