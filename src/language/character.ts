/** Names of the control characters that turn up most in files that are no policies. */
const CONTROL_NAMES: Record<number, string> = {
  0: 'NUL',
  7: 'BEL',
  8: 'BS',
  12: 'FF',
  13: 'CR',
  27: 'ESC',
  127: 'DEL',
};

/** How a message names a character: `U+043E "о"`, `U+0000 NUL`; one that would not show goes without the quotes. */
export function nameOf(character: string): string {
  const point = character.codePointAt(0) ?? 0;
  const code = `U+${point.toString(16).toUpperCase().padStart(4, '0')}`;
  const script = /\p{Script=Cyrillic}/u.test(character)
    ? 'the Cyrillic '
    : /\p{Script=Greek}/u.test(character)
      ? 'the Greek '
      : '';
  if (CONTROL_NAMES[point]) return `${code} ${CONTROL_NAMES[point]}`;
  return printable(character) === character && /\S/.test(character) ? `${script}"${character}" (${code})` : code;
}

/**
 * The text with everything that a terminal would obey, hide or reorder replaced by a visible sign:
 * control characters, bidirectional controls, zero-width characters, lone surrogates. Its length stays the same.
 */
export const printable = (text: string): string =>
  text
    .replace(/[\x00-\x08\x0a-\x1f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, '\ufffd')
    .replace(/\p{Surrogate}/gu, '\ufffd');

/** Letters and signs that look like ASCII ones: the second row under the first. */
const ROWS: readonly (readonly [string, string])[] = [
  ['аеорсхуіјѕһԁԛԝӏ', 'aeopcxyijshdqwl'], // Cyrillic
  ['АВЕКМНОРСТХУІЈЅ', 'ABEKMHOPCTXYIJS'],
  ['οανρικυτχ', 'oavpikutx'], // Greek
  ['ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ', 'ABEZHIKMNOPTYX'],
  ['ıℓ', 'il'],
  ['‐‑‒–—―−', '-------'],
  ['“”„«»″', '""""""'],
  ['‘’‚′', "''''"],
  ['\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000', ' '.repeat(16)],
];

const LOOK_ALIKES: ReadonlyMap<string, string> = new Map([
  ...ROWS.flatMap(([from, to]) => [...from].map((c, i): [string, string] => [c, to[i]!])),
  // Full-width forms of ASCII.
  ...Array.from({ length: 0x5e }, (_, i): [string, string] => [
    String.fromCharCode(0xff01 + i),
    String.fromCharCode(0x21 + i),
  ]),
]);

/** The text with look-alikes of ASCII characters replaced by what they look like. Its length stays the same. */
export const foldLookAlikes = (text: string): string => text.replace(/[^\x00-\x7f]/g, (c) => LOOK_ALIKES.get(c) ?? c);
