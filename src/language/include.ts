import type { Diagnostics } from './diagnostic.ts';
import { parse } from './parser.ts';
import type { Source, Sources } from './source.ts';
import type { IncludeSyntax, StatementSyntax } from './syntax.ts';

/** Files of one policy. */
export const MAX_FILES = 100;
/** Files within each other. */
export const MAX_INCLUDE_DEPTH = 10;

/** What is missed when a file is. */
const MISSED = ['unknown-queue', 'unknown-set', 'unknown-link', 'no-link', 'no-queue', 'no-default'] as const;

/**
 * Reads the file of that path, or says why it cannot: also where links lead it out of the folder of `from`, the file that
 * includes it. The path begins with the folder of the first file as it was given.
 */
export type ReadInclude = (file: string, from: string) => { readonly text: string } | { readonly problem: string };

export interface Loading {
  readonly sources: Sources;
  readonly diagnostics: Diagnostics;
  readonly include: ReadInclude | undefined;
  /** Characters that may still be read; shrinks. */
  room: number;
}

type Included = Exclude<StatementSyntax, IncludeSyntax>;

/** The statements of a file, with those of the files that it includes in the places where it does. */
export function loadFile(source: Source, loading: Loading, depth = 1): readonly Included[] {
  const { statements } = parse(source, loading.diagnostics);
  if (!statements.some((statement) => statement.kind === 'include')) return statements as readonly Included[];
  return statements.flatMap((statement) => {
    if (statement.kind !== 'include') return [statement];
    const included = readInclude(statement, source, loading, depth);
    if (included) return loadFile(included, loading, depth + 1);
    loading.diagnostics.ignore(MISSED);
    return [];
  });
}

function readInclude({ path }: IncludeSyntax, source: Source, loading: Loading, depth: number): Source | undefined {
  if (!path) return undefined;
  const { sources, diagnostics, include } = loading;
  const file = resolvePath(source.file, path.text);
  if (file === undefined) {
    diagnostics.add('include-outside', path, { path: path.text });
    return undefined;
  }
  if (sources.all.some((known) => known.file === file)) {
    diagnostics.add('include-again', path, { path: path.text });
    return undefined;
  }
  if (depth >= MAX_INCLUDE_DEPTH || sources.all.length >= MAX_FILES) {
    diagnostics.add('include-too-many', path, { files: MAX_FILES, depth: MAX_INCLUDE_DEPTH });
    return undefined;
  }
  const read = include?.(file, source.file) ?? { problem: 'files are not included here' };
  if ('problem' in read) {
    diagnostics.add('include-unreadable', path, { path: path.text, problem: read.problem });
    return undefined;
  }
  loading.room -= read.text.length;
  if (loading.room < 0) {
    diagnostics.add('include-too-long', path, { path: path.text });
    return undefined;
  }
  return sources.add(read.text, file);
}

/** The path beside the including file; undefined where it is none below that file's folder. */
function resolvePath(from: string, path: string): string | undefined {
  if (path === '' || path.startsWith('/') || /[\x00-\x1f\x7f\\]/.test(path) || path.length > 1000) return undefined;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  if (parts.length === 0) return undefined;
  return from.slice(0, from.lastIndexOf('/') + 1) + parts.join('/');
}
