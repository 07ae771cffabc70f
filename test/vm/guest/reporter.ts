import { openSync, writeSync } from 'node:fs';
import { release } from 'node:os';
import type { SerializedError } from 'vitest';
import type { Reporter, TestCase, TestModule, TestSuite } from 'vitest/node';
import type { Failure, Report } from '../report.ts';

/** Tells the host each verdict as soon as it is there. */
export class PortReporter implements Reporter {
  private readonly port = openSync(process.env.HG_REPORTS!, 'w');

  onInit(): void {
    this.tell({ kind: 'started', release: release() });
  }

  onTestCaseResult(test: TestCase): void {
    const { state, errors } = test.result();
    this.tell({
      kind: 'test',
      file: test.module.relativeModuleId,
      path: pathOf(test),
      state: state === 'pending' ? 'failed' : state,
      milliseconds: Math.round(test.diagnostic()?.duration ?? 0),
      failures: failuresOf(errors ?? []),
    });
  }

  onTestSuiteResult(suite: TestSuite): void {
    this.tellBroken([suite.module.relativeModuleId, ...pathOf(suite)].join(' > '), suite.errors());
  }

  onTestModuleEnd(module: TestModule): void {
    this.tellBroken(module.relativeModuleId, module.errors());
  }

  onTestRunEnd(_modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    this.tellBroken('outside of any test', errors);
  }

  private tellBroken(where: string, errors: readonly SerializedError[]): void {
    if (errors.length > 0) this.tell({ kind: 'broken', where, failures: failuresOf(errors) });
  }

  private tell(report: Report): void {
    let rest = Buffer.from(`${JSON.stringify(report)}\n`);
    while (rest.length > 0) rest = rest.subarray(writeSync(this.port, rest));
  }
}

function pathOf(entity: TestCase | TestSuite): string[] {
  const parent = entity.parent;
  return [...(parent.type === 'suite' ? pathOf(parent) : []), entity.name];
}

const failuresOf = (errors: readonly SerializedError[]): Failure[] =>
  errors.map(({ message, stack, diff }) => ({ message: [message, diff].filter(Boolean).join('\n'), stack }));
