import { Diagnostics } from './diagnostic.ts';
import { type Tokens, tokenize } from './lexer.ts';
import { MAX_TEXT } from './parse-policy.ts';
import { parse } from './parser.ts';
import { findOccurrences, type Occurrence, type SymbolKind } from './service-symbols.ts';
import { Source, type Span } from './source.ts';
import type { FileSyntax } from './syntax.ts';

/** A file as an editor asks about it. Made anew for each version of the text. */
export interface OpenFile {
  readonly source: Source;
  readonly tokens: Tokens;
  readonly syntax: FileSyntax;
  readonly names: readonly Occurrence[];
  /** It has mistakes of form, so names may be missing. */
  readonly broken: boolean;
}

/** Reads a file for an editor. Any text is read; one that is too long for a policy as if it were empty. */
export function openFile(text: string, file: string): OpenFile {
  const source = new Source(text.length > MAX_TEXT ? '' : text, file);
  const diagnostics = new Diagnostics(source);
  const syntax = parse(source, diagnostics);
  return {
    source,
    tokens: tokenize(source.text, new Diagnostics(source)),
    syntax,
    names: findOccurrences(syntax),
    broken: diagnostics.errors > 0 || source.text !== text,
  };
}

/** A stretch of one of the files. */
export interface Place extends Span {
  readonly file: OpenFile;
}

/** A name that is defined somewhere. */
export interface NamedThing {
  readonly kind: SymbolKind;
  readonly name: string;
  /** Where the name stands that was asked for. */
  readonly at: Span;
}

/** The name at a place (behind its last letter counts, too), where it is defined in one of the files that make a policy. */
export function findName(files: readonly OpenFile[], file: OpenFile, offset: number): NamedThing | undefined {
  const at = file.names.find(({ start, end }) => start <= offset && offset <= end);
  if (!at) return undefined;
  const kind = at.kinds.find((one) => files.some(({ names }) => names.some((n) => defines(n, one, at.name))));
  return kind && { kind, name: at.name, at };
}

const defines = (one: Occurrence, kind: SymbolKind, name: string): boolean =>
  one.statement !== undefined && one.name === name && one.kinds[0] === kind;

/** Where a name is defined: in most cases one place. */
export function findDefinitions(files: readonly OpenFile[], { kind, name }: NamedThing): readonly Place[] {
  return files.flatMap((file) =>
    file.names.filter((n) => defines(n, kind, name)).map(({ start, end }) => ({ file, start, end })),
  );
}

/** Every place where a name stands, its definition too. */
export function findUses(files: readonly OpenFile[], { kind, name }: NamedThing): readonly Place[] {
  const named = files.flatMap((file) => file.names.filter((n) => n.name === name).map((n) => ({ file, n })));
  const defined = new Set(named.filter(({ n }) => n.statement).map(({ n }) => n.kinds[0]));
  return named
    .filter(({ n }) => n.kinds.find((one) => defined.has(one)) === kind)
    .map(({ file, n: { start, end } }) => ({ file, start, end }));
}
