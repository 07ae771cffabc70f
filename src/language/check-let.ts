import { checkReadable } from './check-value.ts';
import { didYouMeanOneOf } from './nearest.ts';
import type { Scope } from './scope.ts';
import type { LetSyntax, OperandSyntax } from './syntax.ts';

/** Reads what a `let` statement names: one value, a range or a text; its use tells the type. */
export function checkLet({ value, start }: LetSyntax, names: readonly string[], { diagnostics }: Scope): OperandSyntax {
  const broken: OperandSyntax = { kind: 'error', start, end: start };
  switch (value.kind) {
    case 'literal':
    case 'string':
      return checkReadable(value.token, diagnostics) ? value : broken;
    case 'range':
      return checkReadable(value.first, diagnostics) && checkReadable(value.last, diagnostics) ? value : broken;
    case 'error':
      return broken;
    default: {
      const list = value.kind === 'list';
      const found = list ? '{' : value.token.text;
      const fields = { what: 'let', expected: 'one value', found, actual: list ? 'a list' : 'a word' };
      const hint = list
        ? 'several values are a set: write set NAME = { ... }'
        : names.includes(found)
          ? 'write the value itself'
          : `for a name write "${found}" in quotes`;
      diagnostics.add('wrong-type', value, fields, hint ?? didYouMeanOneOf(found, names));
      return broken;
    }
  }
}
