import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import peggy from 'peggy';
import { describe, expect, test } from 'vitest';
import { Diagnostics } from '../../src/language/diagnostic.ts';
import { parse } from '../../src/language/parser.ts';
import { Source } from '../../src/language/source.ts';
import { listExamples, REFERENCE } from './language-reference.ts';

const oracle = peggy.generate(readFileSync(new URL('language.peggy', import.meta.url), 'utf8'));

/** Why the grammar refuses a text; undefined where it is of the language. */
function refusedByGrammar(text: string): string | undefined {
  try {
    oracle.parse(text);
    return undefined;
  } catch (error) {
    return String(error);
  }
}

/** Why the parser refuses a text: its form alone, not what it means. */
function refusedByParser(text: string): string | undefined {
  const source = new Source(text, 'x.gate');
  const diagnostics = new Diagnostics(source);
  parse(source, diagnostics);
  const [first] = diagnostics.list();
  return first && `${first.code} ${first.range.start.line}:${first.range.start.column} ${first.message}`;
}

/** mulberry32: small, and the same everywhere for a seed. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Writes a policy as tokens, of good form; where a statement begins stands a line end. */
class Writer {
  private readonly below: (n: number) => number;
  constructor(below: (n: number) => number) {
    this.below = below;
  }

  one<T>(...choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  some(make: () => string[], least = 0, most = 3): string[] {
    return Array.from({ length: least + this.below(most - least + 1) }, make).flat();
  }

  maybe(...tokens: string[]): string[] {
    return this.below(2) ? tokens : [];
  }

  name = (): string =>
    this.one('a', 'b2', 'c-d', 'local', 'new', 'tcp', 'add', 'mirror', 'police', 'over', 'port', 'share', 'mon-fri');
  value = (): string =>
    this.one(
      '5',
      '80%',
      '10mbit',
      '50MB',
      '30s',
      '10.0.0.0/8',
      'fd00::/8',
      '01:00',
      'a:b',
      '1.5',
      '[fd00::1]:5',
      '10.0.0.1:80',
      '::',
    );
  string = (): string => this.one('"x y"', "'z'", '""', '"*.org"');
  amount = (): string => this.one(this.value(), this.name());

  policy = (): string[] => this.some(this.statement, 1, 4);

  statement = (): string[] => [
    '\n',
    ...this.one(
      () => ['link', this.name(), '{', ...this.some(this.linkSetting), '}'],
      () => this.queue(2),
      () => ['set', this.name(), '=', ...this.operand(true)],
      () => ['let', this.name(), '=', ...this.operand(true)],
      this.rule,
      this.rule,
      this.rule,
      () => [
        'default',
        ...this.some(() => [this.one('local', 'remote', 'new'), '->', this.name(), ...this.maybe(',')], 1),
      ],
      () => ['expect', ...this.flow(), 'in', this.name()],
      () => ['include', this.string()],
      () => ['marks', this.one('0x7f000000', this.value())],
      () => [';'],
    )(),
  ];

  linkSetting = (): string[] =>
    this.one(
      () => ['device', this.one('eth0', 'download', '"6in4"', '5')],
      () => [
        this.one('download', 'upload', 'tree', 'numtxqueues', 'bypass', 'replace', 'conntrack'),
        this.one(this.value(), 'x'),
      ],
      () => ['overhead', ...this.one(['docsis'], ['18'], ['-', '4'], ['5', 'mpu', '64'], ['5', 'atm', 'mpu', '6'])],
      () => ['share', 'tree', 'with', 'x'],
      () => ['ifb', 'per', 'origin'],
      () => [this.one(';', ',')],
    )();

  queue = (depth: number): string[] => [
    'queue',
    this.name(),
    '{',
    ...this.some(() =>
      this.one(
        () => [this.one('share', 'ceiling', 'leaf'), this.one('5%', 'sfq')],
        () => ['fair', 'by', 'host'],
        () => (depth > 0 ? this.queue(depth - 1) : [';']),
      )(),
    ),
    '}',
  ];

  rule = (): string[] => [
    'rule',
    this.name(),
    ...(this.below(5) ? ['when', ...this.condition(3)] : []),
    '->',
    ...this.action(),
    ...this.some(() => [',', ...this.action()], 0, 2),
    ...(this.below(4) ? [] : ['until', ...this.condition(1)]),
  ];

  action = (): string[] =>
    this.one(
      () => [this.name()],
      () => ['add', this.one('local', 'remote'), 'to', this.name(), 'for', this.amount()],
      () => ['mirror', 'to', this.one(this.name(), this.string())],
      () => ['police', this.amount()],
    )();

  condition = (depth: number): string[] => {
    const term = (): string[] =>
      depth === 0
        ? this.predicate()
        : this.one(
            this.predicate,
            this.predicate,
            () => ['not', ...this.condition(0)],
            () => ['(', ...this.condition(depth - 1), ')'],
            () => [...this.predicate(), 'for', this.amount()],
          )();
    return [...term(), ...this.some(() => [this.one('and', 'or'), ...term()], 0, 2)];
  };

  predicate = (): string[] =>
    this.one(
      () => [this.one('tcp', 'udp', 'icmpv6', 'esp')],
      () => [
        this.one(
          'origin',
          'family',
          'local',
          'remote',
          'local.port',
          'dscp',
          'zone',
          'nat',
          'bytes',
          'bytes.in',
          'age',
          'ratio',
          'tcp.state',
          'time',
          'day',
          'protocol',
        ),
        ...this.operator(),
        ...this.operand(false),
      ],
      () => [
        this.one('device', 'mac', 'unit', 'domain', 'user', 'process', 'cgroup', 'helper'),
        ...this.operator(),
        ...this.operand(true),
      ],
      () => [
        this.one('rate', 'rate.in', 'rate.out'),
        ...this.maybe('over', this.amount()),
        ...this.operator(),
        ...this.operand(false),
      ],
      () => ['count', '(', this.one('peers', 'x'), 'by', 'local.port', ')', ...this.operator(), this.value()],
    )();

  operator = (): string[] => this.one([], ['in'], ['not', 'in'], ['='], ['!='], ['<'], ['<='], ['>'], ['>=']);

  operand = (strings: boolean): string[] => {
    const plain = (): string[] =>
      this.one(
        () => [this.value()],
        () => [this.name()],
        () => ['5', '-', '9'],
        () => [strings ? this.string() : '7'],
      )();
    if (this.below(3)) return plain();
    return ['{', ...this.some(() => [...plain(), ',']), ...this.maybe(...plain()), '}'];
  };

  flow = (): string[] => [
    ...this.one(['tcp'], ['protocol', '47'], ['protocol', 'tcp']),
    '10.0.0.1:5',
    '->',
    this.one('10.0.0.2', '[fd00::1]:5'),
    ...this.some(() =>
      this.one(
        () => [
          this.one('origin', 'age', 'bytes.in', 'domain', 'held', 'dscp', 'day'),
          ...this.maybe('='),
          ...this.operand(true),
        ],
        () => ['remote', 'in', 'a'],
        () => ['count', '(', 'flows', 'by', 'unit', ')', '4'],
        () => ['rate.in', ...this.maybe('over', '5s'), '5mbit'],
      )(),
    ),
  ];
}

const STRAYS = [
  '{',
  '}',
  '(',
  ')',
  '->',
  '-',
  '=',
  '<',
  ',',
  ';',
  'and',
  'or',
  'not',
  'in',
  'for',
  'until',
  'when',
  'rule',
  'queue',
  'set',
  'let',
  'x',
  'local',
  'port',
  '5',
  '100 mbit',
  '"s"',
  '%',
  'to',
  'by',
  'over',
  'tcp',
  'add',
  'police',
  'mpu',
  'device',
  '@',
  '!',
  '\n',
];

/** A token left out, doubled, put in, replaced or moved, a few times. */
function mangle(tokens: string[], below: (n: number) => number): string[] {
  const mangled = [...tokens];
  for (let n = below(4); n > 0 && mangled.length > 0; n--) {
    const at = below(mangled.length);
    const stray = STRAYS[below(STRAYS.length)]!;
    const change = below(5);
    if (change === 0) mangled.splice(at, 1);
    else if (change === 1) mangled.splice(at, 0, mangled[at]!);
    else if (change === 2) mangled.splice(at, 0, stray);
    else if (change === 3) mangled[at] = stray;
    else mangled.splice(below(mangled.length), 0, ...mangled.splice(at, 1));
  }
  return mangled;
}

/** Puts blanks, line ends and comments between tokens. */
function lay(tokens: readonly string[], below: (n: number) => number): string {
  let text = '';
  for (const token of tokens) {
    if (token === '\n') text += below(6) ? '\n' : ' ';
    else {
      if (below(8) === 0) text += `${below(3) ? '' : ' # note'}\n${' '.repeat(below(12))}`;
      else if (below(6) > 0 || /[\w"'*]$/.test(text)) text += ' ';
      text += token;
    }
  }
  return text;
}

describe('the grammar', () => {
  test('and the parser accept the same texts and refuse the same, near the language', () => {
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const below = random(seed);
        const tokens = new Writer(below).policy();
        const text = lay(below(3) ? mangle(tokens, below) : tokens, below);
        const byParser = refusedByParser(text);
        const byGrammar = refusedByGrammar(text);
        if ((byParser === undefined) !== (byGrammar === undefined))
          throw new Error(`${text}\nparser: ${byParser}\ngrammar: ${byGrammar}`);
        if (byParser === undefined) accepted++;
        else refused++;
      }),
      { numRuns: Number(process.env.HEADGATE_FUZZ_RUNS ?? 3000) },
    );
    expect(accepted).toBeGreaterThan(500);
    expect(refused).toBeGreaterThan(500);
  }, 120_000);

  test.each(readdirSync('rules').filter((name) => name.endsWith('.gate')))('knows rules/%s', (name) => {
    expect(refusedByGrammar(readFileSync(`rules/${name}`, 'utf8'))).toBeUndefined();
  });

  const examples = listExamples(readFileSync(REFERENCE, 'utf8'));
  test.each(examples)('agrees on the example in line $line', ({ body }) => {
    expect(refusedByGrammar(body) === undefined).toBe(refusedByParser(body) === undefined);
  });
});
