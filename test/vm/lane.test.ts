// Runs the tests of test/vm/guest, and some of test/kernel, on Debian's kernels in qemu, and gives each one's verdict
// as a test here. The guests run while vitest collects, for only then are their tests known; all at the same time, a
// processor each, and nothing else of ours runs meanwhile (fileParallelism).
// Shown on Linux 6.1 and 6.12, on a host with 6.18.

import { describe, expect, test } from 'vitest';
import { type Boot, boot } from './boot.ts';
import { type DebianKernel, ensureKernel, GUEST_FILES, KERNELS } from './kernels.ts';
import type { BrokenReport, Failure, TestReport } from './report.ts';

/** What `npm run test:vm -- [--kernel NAME] [--every | VITEST-ARG ...]` asks for. */
const {
  kernel: chosen,
  every = false,
  args = [],
} = JSON.parse(process.env.HEADGATE_VM ?? '{}') as { kernel?: string; every?: boolean; args?: string[] };
const kernels = KERNELS.filter(({ name }) => chosen === undefined || name === chosen);
if (kernels.length === 0) throw new Error(`no kernel ${chosen}: ${KERNELS.map(({ name }) => name).join(' or ')}`);

interface Verdicts {
  readonly kernel: DebianKernel;
  readonly tests: readonly TestReport[];
  readonly broken: readonly BrokenReport[];
  /** Vitest's; absent where the guest did not come so far. */
  readonly status: number | undefined;
  readonly ended: Boot;
}

async function runGuest(kernel: DebianKernel): Promise<Verdicts> {
  const start = performance.now();
  let processor = 0;
  const say = (text: string) => {
    const [passed, used] = [(performance.now() - start) / 1000, processor].map((s) => s.toFixed(0).padStart(4));
    process.stderr.write(`vm ${kernel.name.padStart(4)} ${passed} s, ${used} s of a processor: ${text}\n`);
  };
  const tests: TestReport[] = [];
  const broken: BrokenReport[] = [];
  let status: number | undefined;
  const ended = await ensureKernel(kernel)
    .then((bootable) => {
      say(`booting ${bootable.release}`);
      const files = (every ? GUEST_FILES : kernel.files).map((name) => `test/vm/guest/${name}.test.ts`);
      return boot(bootable, { args: args.length > 0 ? args : files, every }, (report, seconds) => {
        processor = Math.max(processor, seconds);
        if (report.kind === 'started') say('vitest runs');
        if (report.kind === 'exit') status = report.status;
        if (report.kind === 'broken') {
          broken.push(report);
          say(`broken: ${report.where}`);
        }
        if (report.kind === 'test') {
          tests.push(report);
          say(`${report.state} ${report.file} > ${report.path.join(' > ')} (${report.milliseconds} ms)`);
          for (const { message } of report.failures) process.stderr.write(`${message}\n`);
        }
      });
    })
    .catch((error: Error) => ({ console: `${error.stack ?? error}`, timedOut: false }));
  say('off');
  return { kernel, tests, broken, status, ended };
}

for (const { kernel, tests, broken, status, ended } of await Promise.all(kernels.map(runGuest)))
  describe(`Linux ${kernel.name}, Debian ${kernel.debian}`, () => {
    test('runs tests to their end', () => {
      for (const { where, failures } of broken) fail(where, failures);
      if (status === undefined) throw new Error(`${ended.timedOut ? 'took too long' : 'died'}:\n${ended.console}`);
      expect(tests.length).toBeGreaterThan(0);
      const allPassed = tests.every(({ state }) => state === 'passed');
      if (allPassed && status !== 0) throw new Error(`vitest ended with status ${status}:\n${ended.console}`);
    });

    for (const file of new Set(tests.map((t) => t.file)))
      describe(file, () => {
        for (const { path, state, failures } of tests.filter((t) => t.file === file))
          test(path.join(' > '), () => {
            if (state !== 'passed') fail(state, failures);
          });
      });
  });

function fail(what: string, failures: readonly Failure[]): never {
  const [first, ...others] = failures;
  const error = new Error([first?.message ?? what, ...others.map(({ message }) => message)].join('\n'));
  if (first?.stack) error.stack = first.stack;
  throw error;
}
