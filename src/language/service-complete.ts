import { ORIGINS, PROTOCOLS } from '../model/index.ts';
import { OVERHEADS } from './check-overhead.ts';
import { FACTS } from './parse-flow.ts';
import type { OpenFile } from './service-files.ts';
import { placeBehind } from './service-place.ts';
import type { Place } from './service-place-rule.ts';
import type { SymbolKind } from './service-symbols.ts';
import { WORDS } from './service-words.ts';
import type { Span } from './source.ts';
import {
  BARE,
  BYPASSES,
  CONNTRACKS,
  EFFECTS,
  FAIRNESS,
  IFB_PER,
  isSubject,
  LEAVES,
  REPLACES,
  SETTINGS,
  STATEMENTS,
  SUBJECTS,
  type Subject,
  TREES,
  VALUES,
} from './vocabulary.ts';

export interface Completion {
  readonly label: string;
  readonly kind: 'word' | 'sign' | SymbolKind;
  /** What it means. */
  readonly about?: string | undefined;
}

export interface Completions {
  /** What they replace: the word that the place is in, up to the place. */
  readonly span: Span;
  readonly items: readonly Completion[];
}

/** What can be written at a place of a file: words where they mean something, names where they can stand. */
export function complete(files: readonly OpenFile[], file: OpenFile, offset: number): Completions {
  const { text } = file.source;
  const begun = /[\p{L}\p{M}\p{N}_.-]*$/u.exec(text.slice(Math.max(0, offset - 128), offset))![0];
  const span = { start: offset - begun.length, end: offset };
  const { tokens, comments } = file.tokens;
  const inComment = comments.some(({ start, end }) => start < offset && offset <= end);
  const inString = tokens.some(({ kind, start, end }) => kind === 'string' && start < offset && offset < end);
  if (inComment || inString) return { span, items: [] };
  const place = placeBehind(tokens.filter((token) => token.end <= span.start && token.kind !== 'end'));
  // A new line goes on with the statement, or begins another.
  const first = /(?:^|\n)[ \t]*$/.test(text.slice(Math.max(0, span.start - 200), span.start));
  const others = first && place.kind !== 'setting' && place.kind !== 'value' ? words(...STATEMENTS) : [];
  const items = [...itemsFor(place, files), ...others];
  return { span, items: [...new Map(items.map((item) => [item.label, item])).values()] };
}

const words = (...labels: readonly string[]): Completion[] =>
  labels.map((label) => ({ label, kind: /^[a-z]/.test(label) ? 'word' : 'sign', about: WORDS[label] }));

function itemsFor(place: Place, files: readonly OpenFile[]): readonly Completion[] {
  const names = (...kinds: readonly SymbolKind[]) => namesOf(files, kinds);
  switch (place.kind) {
    case 'none':
    case 'file':
      return [];
    case 'statement':
      return words(...STATEMENTS);
    case 'words':
      return words(...place.words);
    case 'origin':
      return words(...ORIGINS);
    case 'protocol':
      return words(...Object.keys(PROTOCOLS), 'protocol');
    case 'fact':
      return words(...FACTS, 'local', 'remote', 'in');
    case 'condition':
      return words('not', '(', ...Object.keys(SUBJECTS), ...Object.keys(PROTOCOLS), ...BARE);
    case 'action':
      return [...names('queue'), ...words(...EFFECTS)];
    case 'queue':
    case 'set':
    case 'link':
      return names(place.kind);
    case 'setting':
      return words(...(place.more ?? []), ...SETTINGS[place.block], ...(place.block === 'queue' ? ['queue'] : []), '}');
    case 'value':
      return valuesOf(place.key, names);
    case 'operator':
      return [...operatorsOf(place.subject), ...operandsOf(place.subject, names)];
    case 'operand':
      return operandsOf(place.subject, names);
  }
}

function namesOf(files: readonly OpenFile[], kinds: readonly SymbolKind[]): Completion[] {
  return files.flatMap(({ source, names }) =>
    names
      .filter((n) => n.statement !== undefined && kinds.includes(n.kinds[0]!))
      .map((n) => ({ label: n.name, kind: n.kinds[0]!, about: firstLine(source.slice(n.statement!)) })),
  );
}

const firstLine = (text: string): string => text.split('\n', 1)[0]!.slice(0, 120).trim();

function valuesOf(key: string, names: (...kinds: SymbolKind[]) => Completion[]): Completion[] {
  if (key === 'leaf') return words(...LEAVES);
  if (key === 'tree') return words(...TREES);
  if (key === 'bypass') return words(...BYPASSES);
  if (key === 'replace') return words(...REPLACES);
  if (key === 'conntrack') return words(...CONNTRACKS);
  if (key === 'ifb') return words(...IFB_PER);
  if (key === 'fair') return words(...FAIRNESS);
  if (key === 'overhead') return words(...Object.keys(OVERHEADS));
  return names('let');
}

const COMPARED = ['port', 'measure', 'count', 'dscp', 'zone'];

function operatorsOf(subject: Subject): Completion[] {
  const type: string = SUBJECTS[subject];
  const sign = type === 'measure' || type === 'count' ? [] : ['in', 'not in', '=', '!='];
  const order = COMPARED.includes(type) ? ['<', '<=', '>', '>='] : [];
  return words(...sign, ...order, ...(/^rate\b/.test(subject) ? ['over'] : []));
}

function operandsOf(subject: Subject, names: (...kinds: SymbolKind[]) => Completion[]): Completion[] {
  const type = isSubject(subject) ? SUBJECTS[subject] : undefined;
  const own = words(...((type && VALUES[type]) ?? []));
  return [
    ...own,
    ...names(
      ...(type === 'address' || type === 'port' || type === 'name' ? (['set', 'let'] as const) : (['let'] as const)),
    ),
  ];
}
