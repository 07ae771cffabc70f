// What the guest tells the host while its tests run: one JSON object a line, over a virtio serial port.

export interface Failure {
  readonly message: string;
  readonly stack: string | undefined;
}

export type Report =
  | { readonly kind: 'started'; readonly release: string }
  /** A test has ended. `path` holds the names of its describe blocks and its own. */
  | {
      readonly kind: 'test';
      readonly file: string;
      readonly path: readonly string[];
      readonly state: 'passed' | 'failed' | 'skipped';
      readonly milliseconds: number;
      readonly failures: readonly Failure[];
    }
  /** Something failed that belongs to no test: a file that does not load, an unhandled rejection. */
  | { readonly kind: 'broken'; readonly where: string; readonly failures: readonly Failure[] }
  /** Vitest's exit status: the last report of a guest that ran to its end. */
  | { readonly kind: 'exit'; readonly status: number };

export type TestReport = Extract<Report, { kind: 'test' }>;
export type BrokenReport = Extract<Report, { kind: 'broken' }>;
