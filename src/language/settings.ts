import type { Token } from './lexer.ts';
import type { Scope } from './scope.ts';
import type { NameSyntax, SettingSyntax, StatementSyntax } from './syntax.ts';

/** A statement whose name could be read. */
export type Defined<S> = S & { readonly name: NameSyntax & { readonly text: string } };

/** Those with a name, in the order of the file; a name given twice is reported, and the first counts. */
export function definedOf<S extends Extract<StatementSyntax, { name: NameSyntax }>>(
  statements: readonly S[],
  { diagnostics, sources }: Scope,
): readonly Defined<S>[] {
  const seen = new Map<string, S>();
  return statements.filter((statement): statement is Defined<S> => {
    const { name, kind } = statement;
    if (name.text === undefined) return false;
    const first = seen.get(name.text);
    if (first) {
      const line = sources.lineFrom(name, first.name);
      diagnostics.add('duplicate-name', name, { kind: first.kind === kind ? kind : first.kind, name: name.text, line });
      return false;
    }
    seen.set(name.text, statement);
    return true;
  });
}

/** A block's settings by key; one given twice is reported, and the first counts. */
export function settingsOf(
  block: { readonly settings: readonly SettingSyntax[] | undefined },
  { diagnostics, sources }: Scope,
): ReadonlyMap<string, SettingSyntax> {
  const settings = new Map<string, SettingSyntax>();
  for (const setting of block.settings ?? []) {
    const { key } = setting;
    const first = settings.get(key.text);
    if (first) diagnostics.add('duplicate-setting', key, { setting: key.text, line: sources.lineFrom(key, first.key) });
    else settings.set(key.text, setting);
  }
  return settings;
}

/** The setting's value, or undefined where it is absent or missing. */
export const settingValue = (settings: ReadonlyMap<string, SettingSyntax>, key: string): Token | undefined =>
  settings.get(key)?.value;
