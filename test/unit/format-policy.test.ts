import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';
import { Diagnostics } from '../../src/language/diagnostic.ts';
import { diffLines, formatDiff, formatPolicy, MAX_TEXT, parsePolicy } from '../../src/language/index.ts';
import { tokenize } from '../../src/language/lexer.ts';
import { lineEdits } from '../../src/language/service.ts';
import { Source } from '../../src/language/source.ts';
import { condition } from './language-arbitrary.ts';

const RULES = packageFile('rules');
const format = (text: string) => formatPolicy(text, 'test.gate').text;

/** Tokens and comments as they follow each other. Comments lose the blanks at their end. */
function sequence(text: string): readonly string[] {
  const { tokens, comments } = tokenize(text, new Diagnostics(new Source(text, 'test.gate')));
  return [...tokens.map((t) => ({ ...t, text: `${t.kind} ${t.text}` })), ...comments]
    .sort((a, b) => a.start - b.start)
    .map((one) => one.text.trimEnd());
}

/** What a policy means: all of it but the lines that it stands on. */
const meaning = (text: string): unknown =>
  JSON.parse(
    JSON.stringify(
      parsePolicy(text, 'test.gate', { include: (file) => ({ text: `# ${file}\n` }) }).policy ?? null,
      (key, value) => (key === 'line' ? undefined : key === 'text' ? String(value).replace(/\s+/g, ' ') : value),
    ),
  );

/** Checks what holds for any text at all. Returns whether it could be laid out. */
function check(text: string): boolean {
  const { text: formatted, diagnostics } = formatPolicy(text, 'test.gate');
  expect(formatted === undefined).toBe(diagnostics.some((d) => d.severity === 'error'));
  if (formatted === undefined) return false;
  expect(sequence(formatted)).toEqual(sequence(text));
  expect(format(formatted)).toBe(formatted);
  expect(meaning(formatted)).toEqual(meaning(text));
  // Line ends are those of the first line.
  const ends = new Set(formatted.match(/\r?\n/g));
  const first = /\r?\n/.exec(text)?.[0] ?? '\n';
  expect([...ends]).toEqual(formatted === '' ? [] : [first]);
  expect(formatted.replaceAll('\r\n', '\n')).not.toMatch(/[ \t\r]\n|^\ufeff|\n\n\n|^\n|\n\n$/);
  if (formatted !== '') expect(formatted.endsWith('\n')).toBe(true);
  return true;
}

/** Every word of the language in its place. */
const WHOLE = `# A policy with everything.
include "lan.gate"
let line = 95mbit
let quiet = 10s
link wan { device eth0 download line upload 19mbit overhead docsis tree htb }
link dsl { device "ppp 0" overhead -4 mpu 64 atm download 5mbit }
link tv { device eth1 share tree with wan }
queue voice { share 10% ceiling 30% fair by host }
queue home { share 60%
  queue games { share 30% leaf fq_codel }
  # inside
  queue bulk { share 10% leaf sfq fair by flow
    queue deep { share 50% } }
}
queue rest { share 5% } ; queue new { share 1% };
set lan = { 192.168.0.0/16, fd00::/8 }
set ports = { 80 # web
  443
  6881-6889 }
set banned = { }
set names = { "*.example.org", "a-b.example.net" }
rule voice when udp and origin local and remote.port in 10000-20000 -> voice
rule far when not (tcp or udp and not (icmp)) and remote not in lan -> rest
rule bulk when bytes.in > 50MB and age > 30s and rate.in over 10s > 1mbit -> deep until rate.in < 1mbit for quiet
rule swarm when origin remote and count(peers by local.port) > 20 for 5s -> rest, add remote to banned for 1h
rule tap when remote in banned -> mirror to tap0, police 100kbit
rule night when time in 22:00-07:00 and day in mon and domain in names -> games
rule last -> rest
rule long when origin local and remote.port in { 80, 443, 8080-8089, 8443 } and tcp and local in { 10.0.0.0/8, 192.168.0.0/16 } or udp -> games
default local -> games remote -> rest
default new -> new
expect tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local bytes.in 60MB age 40s in games
expect udp [fd00::5]:1 -> [2001:db8::1]:443 origin local in games
`;

const shipped = readdirSync(RULES).map((name) => [name, readFileSync(join(RULES, name), 'utf8')] as const);

describe('the policies that ship', () => {
  test.each(shipped)('%s is laid out already', (_, text) => {
    expect(format(text)).toBe(text);
    expect(check(text)).toBe(true);
  });
});

describe('layout', () => {
  test('of every statement', () => {
    expect(check(WHOLE)).toBe(true);
    expect(format(WHOLE)).toMatchSnapshot();
  });

  test.each([
    ['empty lines', '\n\n\nlet a = 5s\n\n\n\nlet b = 6s\n\n\n', 'let a = 5s\n\nlet b = 6s\n'],
    ['nothing', '', ''],
    ['blanks alone', ' \n\t\n', ''],
    ['a comment alone', '  # why  ', '# why\n'],
    ['no line end at the end', 'let a = 5s', 'let a = 5s\n'],
    ['CR LF', 'let a = 5s\r\n# why\r\nlet bb = 6s\r\n', 'let a  = 5s\r\n# why\r\nlet bb = 6s\r\n'],
    ['mixed line ends', 'let a = 5s\n# why\r\nlet bb = 6s\r\n', 'let a  = 5s\n# why\nlet bb = 6s\n'],
    ['a byte order mark', '\ufefflet a = 5s\n', 'let a = 5s\n'],
    ['statements on one line', 'let a = 5s;;let b = 6s', 'let a = 5s;;\nlet b = 6s\n'],
    ['an empty block', 'link wan{}', 'link wan { }\n'],
    ['an empty block with a comment', 'link wan{ # mine\n}', 'link wan {  # mine\n}\n'],
    ['a short block', 'queue a {\n share 5%\n\n ceiling 6% }', 'queue a { share 5%  ceiling 6% }\n'],
    [
      'a block with a comment',
      'queue a { share 5% # few\n ceiling 6% }',
      'queue a {\n  share   5%  # few\n  ceiling 6%\n}\n',
    ],
    [
      'a long block',
      'link wan { device eth0 download 100mbit upload 20mbit overhead docsis tree htb share tree with dsl }',
      'link wan {\n  device   eth0\n  download 100mbit\n  upload   20mbit\n  overhead docsis\n  tree     htb\n  share    tree with dsl\n}\n',
    ],
    [
      'a device called like a setting',
      'link wan { device upload upload 5mbit }',
      'link wan { device upload  upload 5mbit }\n',
    ],
    [
      'queues in columns, over comments, but not over empty lines',
      'queue a { share 5% ceiling 50% }\n# why\nqueue bcd { share 15% ceiling 6% }\n\nqueue e { share 5% }',
      'queue a   { share 5%   ceiling 50% }\n# why\nqueue bcd { share 15%  ceiling 6% }\n\nqueue e { share 5% }\n',
    ],
    [
      'rules in columns',
      'rule a when tcp -> q\nrule bcd when udp and origin local -> q until idle > 5s\nrule e -> q',
      'rule a   when tcp                  -> q\nrule bcd when udp and origin local -> q until idle > 5s\nrule e                             -> q\n',
    ],
    [
      'a rule that is too long stands alone',
      `rule a when tcp -> q\nrule b when ${'origin local and '.repeat(6)}tcp -> q\nrule cc when udp -> q`,
      `rule a when tcp -> q\nrule b when origin local and origin local and origin local and origin local and origin local\n  and origin local and tcp -> q\nrule cc when udp -> q\n`,
    ],
    [
      'a comment in the middle of a rule',
      'rule a when tcp # first\n and udp\n # own\n or icmp -> q # last',
      'rule a when tcp  # first\n  and udp\n  # own\n  or icmp -> q  # last\n',
    ],
    [
      'a list with comments, one value a line',
      'set a = { 80, # web\n\n 443 }',
      'set a = {\n  80,  # web\n\n  443\n}\n',
    ],
    ['a list parted by line ends', 'set a = { 80\n 443 }', 'set a = {\n  80\n  443\n}\n'],
    ['a list parted by commas', 'set a = {\n 80,\n 443 }', 'set a = { 80, 443 }\n'],
    [
      'a list with comments in a rule',
      'rule a when remote.port in { 80, # web\n 443 } and tcp -> q',
      'rule a when remote.port in {\n  80,  # web\n  443\n} and tcp -> q\n',
    ],
    [
      'a long list, filled',
      `set a = { ${Array.from({ length: 30 }, (_, i) => 1000 + i).join(', ')} }`,
      `set a = {\n  ${Array.from({ length: 16 }, (_, i) => 1000 + i).join(', ')},\n  ${Array.from({ length: 14 }, (_, i) => 1016 + i).join(', ')}\n}\n`,
    ],
    [
      'ranges, calls and signs',
      'rule a when (count ( peers by local.port )>20)and local.port in 1 - 5->q',
      'rule a when (count(peers by local.port) > 20) and local.port in 1-5 -> q\n',
    ],
    [
      'comments that end lines in columns',
      'let a = 5s # one\nlet b = 50s # two\n# own\n',
      'let a = 5s   # one\nlet b = 50s  # two\n# own\n',
    ],
  ])('%s', (_, text, expected) => {
    expect(format(text)).toBe(expected);
    expect(check(text)).toBe(true);
  });

  test('keeps to 100 columns, but for comments and single long words', () => {
    const long = `rule a when ${Array.from({ length: 40 }, (_, i) => `remote.port in { ${i}, 1${i} }`).join(' and ')} -> q`;
    for (const line of format(long)!.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    expect(check(long)).toBe(true);
  });
});

describe('what is not laid out', () => {
  test.each(['rule a when', 'queue a { share 5%', 'lоcal', '"', '\u0000', 'rule a when tcp && udp -> q'])(
    '%j',
    (text) => {
      const { text: formatted, diagnostics } = formatPolicy(text, 'test.gate');
      expect(formatted).toBeUndefined();
      expect(diagnostics.length).toBeGreaterThan(0);
    },
  );

  test('mistakes of meaning do not matter', () => {
    expect(format('rule  a when remote in nowhere -> nothing')).toBe('rule a when remote in nowhere -> nothing\n');
  });

  test('a text over the bound', () => {
    const { text, diagnostics } = formatPolicy('#'.repeat(MAX_TEXT + 1), 'test.gate');
    expect([text, diagnostics.map((d) => d.code)]).toEqual([undefined, ['too-long']]);
  });
});

/** A text with other white space between its tokens, and comments in places. */
const mangled = (text: string): fc.Arbitrary<string> => {
  const { tokens, comments } = tokenize(text, new Diagnostics(new Source(text, 'test.gate')));
  const pieces = [...tokens.filter((t) => t.kind !== 'end'), ...comments].sort((a, b) => a.start - b.start);
  const blank = fc.oneof(
    { weight: 12, arbitrary: fc.constant(undefined) },
    { weight: 3, arbitrary: fc.constantFrom(' ', '  ', '\t') },
    { weight: 3, arbitrary: fc.constantFrom('\n', '\r\n', '\n\n', '\n \n\n  ') },
    { weight: 1, arbitrary: fc.constantFrom(' # c\n', '\n# own\n', '\n\n  # far  \n\n', ' #\n') },
  );
  return fc.array(blank, { minLength: pieces.length, maxLength: pieces.length }).map((blanks) =>
    pieces
      .map((piece, i) => {
        const before = text.slice(i === 0 ? 0 : pieces[i - 1]!.end, piece.start);
        // A comment that ends a line goes on ending it.
        const behindComment = i > 0 && text[pieces[i - 1]!.start] === '#';
        const other = behindComment && !blanks[i]?.includes('\n') ? undefined : blanks[i];
        return (other ?? before) + text.slice(piece.start, piece.end);
      })
      .join(''),
  );
};

describe('property', () => {
  test('any white space: nothing is lost, twice is once, the meaning stays', () => {
    let laidOut = 0;
    const texts = [WHOLE, ...shipped.map(([, text]) => text)];
    const runs = 150;
    for (const text of texts)
      fc.assert(
        fc.property(mangled(text), (other) => {
          if (check(other)) laidOut++;
        }),
        { numRuns: runs },
      );
    // Some places do not bear a line end; most texts must have been laid out all the same.
    expect(laidOut).toBeGreaterThan((texts.length * runs) / 4);
  });

  test('any condition', () => {
    const prologue = 'queue q { share 5% }\ndefault local -> q remote -> q new -> q\n';
    fc.assert(
      fc.property(fc.array(condition, { minLength: 1, maxLength: 5 }), (conditions) => {
        const rules = conditions.map(({ text }, i) => `rule r${i} when ${text} -> q`).join('\n');
        expect(check(prologue + rules)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test('any pieces of a policy: no crash, and what is laid out stays whole', () => {
    const { tokens } = tokenize(WHOLE, new Diagnostics(new Source(WHOLE, 'test.gate')));
    const words = [...new Set(tokens.map((t) => WHOLE.slice(t.start, t.end)))];
    const piece = fc.oneof(
      fc.constantFrom(...words),
      fc.constantFrom('\n', '# c\n', '{', '}', ';', ',', '->', '-', '\r\n'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => void check(pieces.join(' '))),
      { numRuns: 2000 },
    );
  });

  test('a policy with a stretch cut out', () => {
    fc.assert(
      fc.property(
        fc.nat(WHOLE.length),
        fc.nat(30),
        (at, length) => void check(WHOLE.slice(0, at) + WHOLE.slice(at + length)),
      ),
      { numRuns: 1000 },
    );
  });
});

describe('diffLines and lineEdits', () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c', '', 'a\r'), { maxLength: 12 }).map((lines) => lines.join('\n'));

  test('lead from one text to the other', () => {
    fc.assert(
      fc.property(text, text, (before, after) => {
        let out = before;
        for (const { start, end, text: put } of lineEdits(before, after).toReversed())
          out = out.slice(0, start) + put + out.slice(end);
        expect(out).toBe(after);
      }),
      { numRuns: 3000 },
    );
  });

  test('leave alone what is the same', () => {
    expect(diffLines('a\nb\nc\nd\n', 'a\nx\nc\nd\n')).toEqual([{ at: 1, removed: ['b'], added: ['x'] }]);
    expect(diffLines('a\n', 'a\n')).toEqual([]);
  });
});

describe('large texts', () => {
  test.each([
    ['rules', (n: number) => 'rule a when origin remote and tcp and local.port in 1-20->q\n'.repeat(n / 60), true],
    ['ands', (n: number) => `rule a when tcp${' and udp'.repeat(n / 8)} -> b`, true],
    ['a list', (n: number) => `set a = { ${Array.from({ length: n / 5 }, (_, i) => i % 1000).join(', ')} }`, true],
    ['comments in a list', (n: number) => `set a = {\n${'80, # web\n'.repeat(n / 10)}}`, true],
    ['settings', (n: number) => `queue a { ${'share 5% '.repeat(n / 9)}}`, true],
    ['defaults', (n: number) => `default ${'local -> a '.repeat(n / 11)}`, true],
    ['comments', (n: number) => '# why\n\n'.repeat(n / 7), true],
    ['semicolons', (n: number) => ';'.repeat(n), true],
    ['braces', (n: number) => '{'.repeat(n), false],
    ['nested queues', (n: number) => 'queue a { '.repeat(n / 10), false],
    ['parentheses', (n: number) => `rule a when ${'('.repeat(n)}`, false],
  ])(
    'two megabytes of %s is laid out, or refused, in seconds',
    (_, make, fine) => {
      const start = performance.now();
      expect(format(make(2_000_000)) !== undefined).toBe(fine);
      expect(performance.now() - start).toBeLessThan(15_000);
    },
    60_000,
  );

  test('a diff of texts with nothing in common is bounded', () => {
    const [before, after] = ['a\n'.repeat(100_000), 'b\n'.repeat(100_000)];
    const start = performance.now();
    const changes = diffLines(before, after);
    expect(changes).toHaveLength(1);
    expect(formatDiff('a.gate', changes).length).toBeGreaterThan(before.length);
    expect(performance.now() - start).toBeLessThan(2000);
  });
});
