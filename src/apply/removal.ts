import type { Command } from '../model/index.ts';
import type { RootPlace } from '../shape/index.ts';

/** A removal, and what to call it. */
export interface Removal {
  readonly about: string;
  /** For people: the traffic that it touches, where it touches any. */
  readonly touches?: string | undefined;
  readonly command: Command;
  /** An ifb stays as long as something may lead to it, or is known to be ours by its alias alone; a copy, until what it is of is back. */
  readonly of?: 'hook' | 'ifb' | 'root' | 'former' | undefined;
  /** What must stand there afterwards. */
  readonly root?: RootPlace | undefined;
}
