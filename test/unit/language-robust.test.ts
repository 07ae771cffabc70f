import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatDiagnostic, MAX_TEXT, parsePolicy } from '../../src/language/index.ts';

/** Reads a text and checks what holds for any text at all. */
function check(text: string): void {
  const { policy, diagnostics } = parsePolicy(text, 'fuzz.gate');
  const errors = diagnostics.filter((d) => d.severity === 'error');
  expect(policy === undefined).toBe(errors.length > 0);
  expect(diagnostics.length).toBeLessThanOrEqual(201);
  let last = 0;
  for (const d of diagnostics) {
    const { start, end } = d.range;
    expect(start.offset).toBeGreaterThanOrEqual(last);
    last = start.offset;
    expect(end.offset).toBeGreaterThanOrEqual(start.offset);
    expect(end.offset).toBeLessThanOrEqual(text.length);
    expect(start.line).toBe(text.slice(0, start.offset).split('\n').length);
    const shown = formatDiagnostic(d, text);
    expect(shown).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]/);
    expect(shown.length).toBeLessThan(1500);
  }
}

// Pieces of the language, and things that people and editors leave in files.
const PIECES = [
  ...'link queue set rule default when and or not in origin local remote new tcp udp protocol family ipv4'.split(' '),
  ...'local.port remote.port share ceiling leaf sfq download upload device include until for bytes.in count'.split(' '),
  ...'let expect include overhead tree with mpu fair by host add mirror to police over flows peers held'.split(' '),
  ...'bytes rate.in age ratio tcp.state count time day domain user mac dscp cs1 origin unit mon-fri established'.split(
    ' ',
  ),
  ...['{', '}', '(', ')', '->', '=', ',', ';', '-', '<', '>=', '!=', '#', '"', "'", '/*', '//', '&&', '!', '%', '@'],
  ...[
    '70%',
    '100%',
    '100mbit',
    '50MB',
    '30s',
    '80',
    '6881-6889',
    '70000',
    '10.0.0.0/8',
    'fd00::/8',
    '::',
    ':',
    '01:00',
    '22:00-06:00',
    '5MB/s',
    '10.0.0.1:80',
    '[fd00::1]:80',
    '"*.x"',
    'aa:bb:cc:dd:ee:ff',
    '"a.gate"',
  ],
  ...[
    '\n',
    '\n',
    '\r\n',
    '\t',
    ' ',
    '\0',
    '\x1b[31m',
    '\ufeff',
    '\u202e',
    '\u200b',
    '→',
    'lоcal',
    'größe',
    '\ufffd',
    '𝒜',
    '\ud800',
  ],
];
const pieces = fc.array(fc.constantFrom(...PIECES), { maxLength: 120 }).map((words) => words.join(' '));
const glued = fc.array(fc.constantFrom(...PIECES), { maxLength: 60 }).map((words) => words.join(''));

describe('any text at all gives findings or a policy', () => {
  test('words of the language in any order', () => {
    fc.assert(fc.property(pieces, check), { numRuns: 2000 });
  });

  test('words of the language glued together', () => {
    fc.assert(fc.property(glued, check), { numRuns: 2000 });
  });

  test('what stands at the beginning of a line in a list is stepped over', () => {
    for (const stray of ['<', '(', ')', '=', '%', '-', '>=', 'and', 'when', '"s"'])
      check(`set a = { 80\n${stray} 90 }\nrule r when remote in {\n${stray}\n${stray} } -> b`);
  });

  test('any characters', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), check), { numRuns: 1000 });
  });

  test('any bytes', () => {
    const bytes = fc.uint8Array({ maxLength: 400 }).map((b) => Buffer.from(b).toString('utf8'));
    fc.assert(fc.property(bytes, check), { numRuns: 1000 });
  });

  test('a good policy with a stretch cut out', () => {
    const good = `link wan { device eth0 download 100mbit overhead -4 mpu 64 atm }\nqueue a { share 70% leaf sfq }
queue c { share 5% queue b { share 50% fair by host } }\nlet x = 30s\nset d = { }
set s = { 10.0.0.0/8, fd00::/8 }\nrule r when (tcp or not udp) and remote not in s and local.port in { 80, 90-99 } -> a
rule t when rate.in over x > 5MB/s for 10s and count(peers by local.port) > 3 and domain "*.x" -> b, police 1mbit, add remote to d for 1h until idle > 5s
rule u when time in 22:00-06:00 and day in mon-fri and mac aa:bb:cc:dd:ee:ff and remote in d -> mirror to tap0
default local -> a remote -> b new -> a\nexpect udp 10.0.0.1:5 -> 10.0.0.2:90 origin local bytes.in 5MB time 23:00 in a\n`;
    fc.assert(
      fc.property(fc.nat(good.length), fc.nat(20), (at, length) => check(good.slice(0, at) + good.slice(at + length))),
      { numRuns: 2000 },
    );
  });
});

/** Milliseconds that the processor spent since `start`: the machine has other things to do as well. */
function spentSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

/** The quickest of a few runs. */
function time(text: string, runs = 3): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < runs; i++) {
    const start = process.cpuUsage();
    parsePolicy(text, 'large.gate');
    best = Math.min(best, spentSince(start));
  }
  return best;
}

const rules = (count: number): string => {
  const lines = Array.from(
    { length: count },
    (_, i) =>
      `rule r${i} when origin remote and tcp and local.port in ${i}-${i + 20} and remote in 10.${i >> 8}.${i & 255}.0/24 -> a\n`,
  );
  return `link wan { }\nqueue a { share 50% }\ndefault local -> a remote -> a new -> a\n${lines.join('')}`;
};

describe('large texts', () => {
  test('10,000 rules are read and checked in a second', () => {
    expect(parsePolicy(rules(10_000), 'large.gate').diagnostics).toEqual([]);
    expect(time(rules(10_000), 5)).toBeLessThan(1000);
  });

  test('16,000 rules take no more than linear time (with 3 times to spare)', () => {
    expect(parsePolicy(rules(2000), 'large.gate')).toMatchObject({
      diagnostics: [],
      policy: { rules: { length: 2000 } },
    });
    time(rules(2000));
    const few = time(rules(2000));
    expect(time(rules(16_000))).toBeLessThan(8 * 3 * Math.max(few, 5));
  });

  // Each would hang a parser that looks back, recurses, or does more than constant work for a character.
  test.each([
    ['opening parentheses', (n: number) => `rule a when ${'('.repeat(n)}`],
    ['nots', (n: number) => `rule a when ${'not '.repeat(n / 4)}`],
    ['opening braces', (n: number) => '{'.repeat(n)],
    ['unclosed blocks', (n: number) => 'queue a {\n'.repeat(n / 10)],
    ['nested queues', (n: number) => 'queue a { '.repeat(n / 10)],
    ['one word', (n: number) => 'a'.repeat(n)],
    ['a word of hyphens', (n: number) => 'a-'.repeat(n / 2)],
    ['a word of dots', (n: number) => 'a.b'.repeat(n / 3)],
    ['one number', (n: number) => '1'.repeat(n)],
    ['an address without end', (n: number) => `rule a when remote in ${'1:'.repeat(n / 2)} -> b`],
    ['numbers and dots', (n: number) => `rule a when remote in ${'1.'.repeat(n / 2)} -> b`],
    ['a list', (n: number) => `set a = { ${'10.0.0.1, '.repeat(n / 10)}`],
    ['a comment as in C', (n: number) => `/*${'*'.repeat(n)}`],
    ['a quote', (n: number) => `"${'\\'.repeat(n)}`],
    ['unknown words', (n: number) => 'rule x when zzzz -> yyyy\n'.repeat(n / 25)],
    [
      'unknown sets',
      (n: number) =>
        Array.from({ length: n / 50 }, (_, i) => `set s${i} = { 80 }\nrule r${i} when remote in z${i} -> q\n`).join(''),
    ],
    ['NULs', (n: number) => '\0'.repeat(n)],
    ['carriage returns', (n: number) => '\r'.repeat(n)],
    ['NUL and CR', (n: number) => '\0\r'.repeat(n / 2)],
    ['line ends', (n: number) => '\n'.repeat(n)],
    ['look-alikes', (n: number) => 'о'.repeat(n)],
    ['marks', (n: number) => `a${'\u0301'.repeat(n)}`],
    ['lone surrogates', (n: number) => '\ud800'.repeat(n)],
    ['and', (n: number) => `rule a when tcp${' and udp'.repeat(n / 8)} -> b`],
    ['or', (n: number) => `rule a when tcp${' or udp'.repeat(n / 8)} -> b`],
    ['expects', (n: number) => 'expect tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local in b\n'.repeat(n / 60)],
    ['facts', (n: number) => `expect tcp 10.0.0.5:4 -> 1.1.1.1:4 ${'bytes.in 5MB '.repeat(n / 13)} in b`],
    ['constants', (n: number) => Array.from({ length: n / 20 }, (_, i) => `let x${i} = ${i}\n`).join('')],
    ['includes', (n: number) => 'include "x.gate"\n'.repeat(n / 17)],
    ['actions', (n: number) => `rule a when tcp -> ${'police 1mbit, '.repeat(n / 14)}b`],
    ['for', (n: number) => `rule a when tcp${' for 5s'.repeat(n / 7)} -> b`],
    ['patterns', (n: number) => `rule a when domain in { ${'"*a*b*", '.repeat(n / 9)} } -> b`],
    [
      'alternatives',
      (n: number) => `rule a when ${'(tcp or udp) and (local.port 1 or remote.port 2) and '.repeat(n / 52)} tcp -> b`,
    ],
    [
      'rules that all compare',
      (n: number) =>
        Array.from({ length: n / 60 }, (_, i) => `rule r${i} when bytes.in > ${n - i}B or age > ${n - i}s -> a\n`).join(
          '',
        ),
    ],
    ['settings', (n: number) => `queue a { ${'share 5% '.repeat(n / 9)}`],
    ['defaults', (n: number) => `default ${'local -> a '.repeat(n / 11)}`],
    [
      'a large set that many rules use',
      (n: number) => {
        const list = Array.from({ length: n / 40 }, (_, i) => `10.${i >> 8}.${i & 255}.1`).join(',');
        const uses = Array.from({ length: n / 80 }, (_, i) => `rule r${i} when remote in s -> a\n`).join('');
        return `queue a { share 5% }\nset s = { ${list} }\n${uses}`;
      },
    ],
  ])(
    'a megabyte of %s is read in seconds',
    (_, make) => {
      const text = make(1 << 20);
      const start = process.cpuUsage();
      const { diagnostics } = parsePolicy(text, 'large.gate');
      const spent = spentSince(start);
      expect(diagnostics.length).toBeGreaterThan(0);
      expect(spent).toBeLessThan(5000);
      for (const d of diagnostics) expect(formatDiagnostic(d, text).length).toBeLessThan(1500);
    },
    120_000,
  );

  test('ten megabytes are read and checked', () => {
    const text = rules(60_000).replaceAll('\n', ` # ${'why '.repeat(20)}\n`);
    expect(text.length).toBeGreaterThan(10_000_000);
    expect(parsePolicy(text, 'large.gate')).toMatchObject({ diagnostics: [], policy: { rules: { length: 60_000 } } });
  }, 120_000);

  test('a text over the bound is not read', () => {
    const text = 'a'.repeat(MAX_TEXT + 1);
    const start = performance.now();
    expect(parsePolicy(text, 'large.gate').diagnostics.map((d) => d.code)).toEqual(['too-long']);
    expect(performance.now() - start).toBeLessThan(100);
  });
});
