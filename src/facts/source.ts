import type { FactSource } from '../pipeline/index.ts';

/** A source as `headgate status` shows it. */
export interface KnownSource extends FactSource {
  /** The word of the language that it is there for. */
  readonly word: string;
  /** What it has done since it was opened, and holds. */
  readonly counts: () => Readonly<Record<string, number>>;
  /** What it cannot see, for a person. */
  readonly blind?: string | undefined;
}
