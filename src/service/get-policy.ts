import type { Policy } from '../language/index.ts';
import { ORIGINS, type Origin, type Rate } from '../model/index.ts';
import type { Tally } from '../pipeline/index.ts';

/** The policy in force, as its author wrote it, and what it has decided. `GET /policy`. */
export interface PolicyView {
  readonly file: string;
  /** The files that it was read from, the first and what it includes; none where it was taken over from a run before. */
  readonly texts: readonly { readonly file: string; readonly text: string }[];
  readonly links: readonly {
    readonly name: string;
    readonly download?: Rate | undefined;
    readonly upload?: Rate | undefined;
  }[];
  /** In order of priority; shares and ceilings are parts of the parent's rate, or of the link's. */
  readonly queues: readonly {
    readonly name: string;
    readonly parent?: string | undefined;
    readonly share: number;
    readonly ceiling: number;
  }[];
  /** In order. `hits`: flows that it came to take, while flows were followed. `line` counts from 1. */
  readonly rules: readonly {
    readonly name: string;
    readonly file: string;
    readonly line: number;
    readonly queue?: string | undefined;
    readonly hits: number;
  }[];
  readonly defaults: readonly { readonly origin: Origin; readonly queue: string; readonly hits: number }[];
}

export const getPolicyView = (
  policy: Policy,
  texts: ReadonlyMap<string, string> | undefined,
  { rules, defaults }: Pick<Tally, 'rules' | 'defaults'>,
): PolicyView => ({
  file: policy.file,
  texts: [...(texts ?? [])].map(([file, text]) => ({ file, text })),
  links: policy.links.map(({ name, download, upload }) => ({ name, download, upload })),
  queues: policy.queues.map(({ name, parent, share, ceiling }) => ({ name, parent, share, ceiling })),
  rules: policy.rules.map(({ name, file, line, queue }) => ({ name, file, line, queue, hits: rules.get(name) ?? 0 })),
  defaults: ORIGINS.map((origin) => ({ origin, queue: policy.defaults[origin], hits: defaults[origin] })),
});
