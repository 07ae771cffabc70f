import { CATALOGUE, type DiagnosticCode, type FieldsOf, type Severity } from './catalogue.ts';
import { printable } from './character.ts';
import type { Places, Range, Span } from './source.ts';

/** One finding in a policy, for a person. Match by `code`, never by text. */
export interface Diagnostic {
  readonly severity: Severity;
  readonly code: DiagnosticCode;
  readonly file: string;
  readonly range: Range;
  readonly message: string;
  /** What was probably meant, or what to do. */
  readonly hint?: string | undefined;
}

/** Findings of each severity kept for one policy; the rest are counted, and `too-many` says how many. */
export const MAX_DIAGNOSTICS = 100;
/** Longest piece of the policy's text that a message quotes. */
const MAX_QUOTE = 60;

const quote = (text: string): string => printable(text.length > MAX_QUOTE ? `${text.slice(0, MAX_QUOTE - 1)}…` : text);

/** Collects the findings of one run over one policy. */
export class Diagnostics {
  private readonly found: (readonly [place: number, Diagnostic])[] = [];
  private readonly counts: Record<Severity, number> = { error: 0, warning: 0 };
  private readonly ignored = new Set<DiagnosticCode>();
  private readonly places: Places;

  constructor(places: Places) {
    this.places = places;
  }

  get errors(): number {
    return this.counts.error;
  }

  /** From here on findings of these codes are dropped: what they say follows from what was reported. */
  ignore(codes: readonly DiagnosticCode[]): void {
    for (const code of codes) this.ignored.add(code);
  }

  /** One of these was found at a place within the span. */
  hasWithin({ start, end }: Span, codes: readonly DiagnosticCode[]): boolean {
    return this.found.some(([place, { code }]) => start <= place && place <= end && codes.includes(code));
  }

  /**
   * Adds a finding. `fields` fill the message's template and are cut and made printable here, so they may hold
   * any text. `hint` replaces the catalogue's; a function is called only when the finding is kept.
   */
  add<C extends DiagnosticCode>(
    code: C,
    span: Span,
    fields: Record<FieldsOf<C>, string | number>,
    hint?: string | undefined | (() => string | undefined),
  ): void {
    const entry: { severity: Severity; message: string; hint?: string } = CATALOGUE[code];
    if (this.ignored.has(code)) return;
    if (++this.counts[entry.severity] > MAX_DIAGNOSTICS) return;
    const values: Record<string, string | number> = fields;
    const fill = (template: string) =>
      template.replace(/\{(\w+)\}/g, (whole, name: string) => quote(String(values[name] ?? whole)));
    const special = typeof hint === 'function' ? hint() : hint;
    const source = this.places.at(span.start);
    const finding = Object.freeze({
      severity: entry.severity,
      code,
      file: source.file,
      range: source.range(span),
      message: fill(entry.message),
      hint: special === undefined ? entry.hint && fill(entry.hint) : printable(special),
    });
    this.found.push([span.start, finding]);
  }

  /** Everything found, in the order of the text; of several files, in the order in which they were read. */
  list(): readonly Diagnostic[] {
    const hidden = Object.values(this.counts).reduce((sum, n) => sum + Math.max(0, n - MAX_DIAGNOSTICS), 0);
    if (hidden > 0) {
      for (const severity of ['error', 'warning'] as const)
        this.counts[severity] = Math.min(this.counts[severity], MAX_DIAGNOSTICS - 1);
      const end = this.places.at(0).text.length;
      this.add('too-many', { start: end, end }, { count: hidden });
    }
    return this.found.toSorted(([a], [b]) => a - b).map(([, finding]) => finding);
  }
}

/** In words: `1 error`. */
export function countErrors(diagnostics: readonly Diagnostic[]): string {
  const errors = diagnostics.filter(({ severity }) => severity === 'error').length;
  return errors === 1 ? '1 error' : `${errors} errors`;
}
