import { defineConfig } from 'vitest/config';
import { PortReporter } from './reporter.ts';

/** Emulation takes this many times as long as the machine does. Tests that wait themselves multiply by it: soon.ts. */
const PATIENCE = 12;

export default defineConfig({
  root: new URL('../../..', import.meta.url).pathname,
  test: {
    // Which of them, the arguments say.
    include: ['test/vm/guest/*.test.ts', 'test/kernel/*.test.ts'],
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
