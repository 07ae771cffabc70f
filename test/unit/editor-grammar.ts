import { OVERHEADS } from '../../src/language/check-overhead.ts';
import { FACTS } from '../../src/language/parse-flow.ts';
import {
  BARE,
  BYPASSES,
  CONNECTIVES,
  CONNTRACKS,
  COUNTED,
  EFFECTS,
  FAIRNESS,
  LEAVES,
  LINK_LAYERS,
  SETTINGS,
  STATEMENTS,
  SUBJECTS,
  TREES,
  VALUES,
} from '../../src/language/vocabulary.ts';
import { PROTOCOLS } from '../../src/model/index.ts';

const unique = (words: readonly string[]): readonly string[] => [...new Set(words)];

/** The words of the language by how they are coloured; each word in the first group that has it. */
export const GROUPS: Readonly<Record<string, readonly string[]>> = (() => {
  const groups: Record<string, readonly string[]> = {
    statement: STATEMENTS,
    connective: CONNECTIVES,
    effect: [...EFFECTS, 'to'],
    subject: unique([...Object.keys(SUBJECTS), ...BARE, ...FACTS, 'over', 'by', ...COUNTED]),
    setting: unique([...SETTINGS.link, ...SETTINGS.queue, 'mpu', 'with', 'per']),
    value: unique([
      ...Object.keys(PROTOCOLS),
      ...Object.values(VALUES).flat(),
      ...LEAVES,
      ...TREES,
      ...BYPASSES,
      ...CONNTRACKS,
      ...FAIRNESS,
      ...LINK_LAYERS,
      ...Object.keys(OVERHEADS),
    ]),
  };
  const taken = new Set<string>();
  for (const [group, words] of Object.entries(groups)) {
    groups[group] = words.filter((word) => !taken.has(word));
    for (const word of words) taken.add(word);
  }
  return groups;
})();

const SCOPES: Readonly<Record<string, string>> = {
  statement: 'keyword.control.gate',
  connective: 'keyword.operator.word.gate',
  effect: 'keyword.other.effect.gate',
  subject: 'support.variable.gate',
  setting: 'support.type.property-name.gate',
  value: 'constant.language.gate',
};

/** The longest first, so that `local.port` is not taken for `local`. */
const anyOf = (words: readonly string[]): string =>
  words
    .toSorted((a, b) => b.length - a.length || (a < b ? -1 : 1))
    .map((word) => word.replaceAll('.', '\\.'))
    .join('|');
/** A word of the language is no part of a longer name; the arrow may touch it. */
const word = (pattern: string): string => `(?<![\\w.-])(?:${pattern})(?![\\w.]|-(?!>))`;

/** The TextMate grammar, made of the vocabulary. */
export const renderTextMate = (): string =>
  `${JSON.stringify(
    {
      $schema: 'https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json',
      name: 'Headgate policy',
      scopeName: 'source.gate',
      fileTypes: ['gate'],
      patterns: [
        { name: 'comment.line.number-sign.gate', match: '#.*$' },
        { name: 'string.quoted.double.gate', match: '"[^"]*"' },
        { name: 'string.quoted.single.gate', match: "'[^']*'" },
        {
          comment: 'A name where it is defined.',
          match: '(?<![\\w.-])(link|queue|set|let|rule)\\s+([A-Za-z][\\w]*(?:-[\\w]+)*)',
          captures: { 1: { name: SCOPES.statement }, 2: { name: 'entity.name.gate' } },
        },
        {
          comment: 'The queue behind an arrow.',
          match: `(->)\\s*(?!(?:${anyOf(EFFECTS)})\\s)([A-Za-z][\\w]*(?:-[\\w]+)*)`,
          captures: { 1: { name: 'keyword.operator.arrow.gate' }, 2: { name: 'variable.other.queue.gate' } },
        },
        {
          name: 'constant.numeric.gate',
          match: '(?<![\\w.])(?:[0-9]|[0-9A-Fa-f]{0,4}:)[\\w.:/%]*|\\[[0-9A-Fa-f:.]*\\](?::[0-9]+)?',
        },
        ...Object.entries(GROUPS).map(([group, words]) => ({ name: SCOPES[group], match: word(anyOf(words)) })),
        { name: 'keyword.operator.gate', match: '->|<=|>=|!=|[<>=]' },
        { name: 'variable.other.gate', match: '[A-Za-z_]\\w*(?:[-.]\\w+)*' },
      ],
    },
    undefined,
    2,
  )}\n`;

const VIM_GROUPS: Readonly<Record<string, string>> = {
  statement: 'Statement',
  connective: 'Operator',
  effect: 'Function',
  subject: 'Identifier',
  setting: 'Type',
  value: 'Constant',
};

/** The same for Vim and Neovim. */
export const renderVim = (): string => {
  const group = (name: string) => `gate${name[0]!.toUpperCase()}${name.slice(1)}`;
  const lines = Object.entries(GROUPS).map(([name, words]) => `syntax keyword ${group(name)} ${words.join(' ')}`);
  const links = Object.entries(VIM_GROUPS).map(([name, target]) => `highlight default link ${group(name)} ${target}`);
  return `" Vim syntax file: Headgate policies (*.gate)
" Written from src/language/vocabulary.ts by: npx vitest run test/unit/editor.test.ts -u
if exists('b:current_syntax')
  finish
endif

" Names and words have "-" and "." in them: local.port, torrent-ports.
syntax iskeyword @,48-57,_,-,.

${lines.join('\n')}
syntax match gateNumber /\\<\\d[0-9A-Za-z_.:\\/%]*/
syntax match gateNumber /\\<\\x\\{0,4}:[0-9A-Za-z_.:\\/%]*/
syntax match gateArrow /->/
syntax region gateString start=/"/ end=/"/ oneline
syntax region gateString start=/'/ end=/'/ oneline
syntax match gateComment /#.*$/

${links.join('\n')}
highlight default link gateNumber Number
highlight default link gateArrow Operator
highlight default link gateString String
highlight default link gateComment Comment

let b:current_syntax = 'gate'
`;
};
