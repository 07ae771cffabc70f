import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parsePolicy } from '../../src/language/index.ts';
import { complete, findName, hover, openFile, renameThing, WORDS } from '../../src/language/service.ts';
import * as vocabulary from '../../src/language/vocabulary.ts';
import { COUNT_KEYS } from '../../src/model/index.ts';

const POLICY = `link wan { device eth0  download 95mbit }
link tv  { device eth1  share tree with wan }
let quiet = 10s
queue fast { share 60% }
queue slow {
  share 30%
  queue deep { share 50%  leaf sfq }
}
set lan = { 10.0.0.0/8 }
set banned = { }
rule home when remote in lan and origin local -> fast
rule late when remote in banned or bytes.in > 5MB for quiet -> deep, add remote to banned for 1h until rate.in < 1mbit
default local -> fast  remote -> deep  new -> fast
expect tcp 10.0.0.1:1 -> 1.1.1.1:2 origin local in fast
`;

/** The text with `|` taken out, and where it stood. */
function pointed(text: string) {
  const offset = text.indexOf('|');
  const file = openFile(text.slice(0, offset) + text.slice(offset + 1), 'test.gate');
  return { file, offset };
}

const labels = (text: string): readonly string[] => {
  const { file, offset } = pointed(POLICY + text);
  return complete([file], file, offset).items.map(({ label }) => label);
};

describe('completion', () => {
  test.each([
    ['|', ['rule', 'queue', 'include']],
    ['ru|', ['rule']],
    ['rule x when tcp\n  |', ['and', 'rule']],
    ['link x { |', ['device', 'download', 'overhead', '}']],
    ['link x { device eth0 up|', ['upload']],
    ['link x { tree |', ['htb', 'cake']],
    ['link x { overhead |', ['docsis']],
    ['link x { overhead 18 |', ['mpu', 'atm', 'device']],
    ['link x { share |', ['tree']],
    ['link x { share tree |', ['with']],
    ['link x { share tree with |', ['wan', 'tv']],
    ['queue x { |', ['share', 'leaf', 'queue']],
    ['queue x { leaf |', ['sfq', 'fq_codel']],
    ['link x { ifb |', ['per']],
    ['link x { ifb per |', ['origin']],
    ['queue x { fair |', ['by']],
    ['queue x { fair by |', ['flow', 'host']],
    ['queue x { share 5% queue y { share 5% } |', ['ceiling']],
    ['queue x { share 5% queue y { share 5% } } |', ['rule']],
    ['set x = |', []],
    ['rule x |', ['when', '->']],
    ['rule x when |', ['origin', 'tcp', 'local.port', 'not', 'tcp.state']],
    ['rule x when local.|', ['local.port']],
    ['rule x when tcp |', ['and', 'or', '->', 'for']],
    ['rule x when (tcp or |', ['udp']],
    ['rule x when origin |', ['local', 'remote', 'new', 'in']],
    ['rule x when origin in { local, |', ['remote', 'new']],
    ['rule x when remote |', ['in', 'not in', 'lan', 'banned']],
    ['rule x when remote not |', ['in']],
    ['rule x when remote not in |', ['lan', 'banned', 'quiet']],
    ['rule x when bytes.in |', ['>', '<=']],
    ['rule x when rate |', ['over', '>']],
    ['rule x when age > |', ['quiet']],
    ['rule x when day in { mon, |', ['tue']],
    ['rule x when tcp.state |', ['established']],
    ['rule x when count|', ['count']],
    ['rule x when count(|', ['flows', 'peers']],
    ['rule x when count(peers |', ['by']],
    ['rule x when count(peers by |', COUNT_KEYS],
    ['rule x when count(peers by unit) |', ['>']],
    ['rule x when tcp -> |', ['fast', 'deep', 'add', 'police']],
    ['rule x when tcp -> fast|', ['fast']],
    ['rule x when tcp -> fast |', ['until', ',']],
    ['rule x when tcp -> fast, |', ['add', 'mirror']],
    ['rule x when tcp -> add |', ['local', 'remote']],
    ['rule x when tcp -> add remote to |', ['banned', 'lan']],
    ['rule x when tcp -> fast until |', ['rate.in']],
    ['default |', ['local', 'remote', 'new']],
    ['default local |', ['->']],
    ['default local -> |', ['fast', 'deep']],
    ['default local -> fast |', ['remote']],
    ['expect |', ['tcp', 'udp']],
    ['expect tcp 1.1.1.1:1 -> 2.2.2.2:2 |', ['origin', 'age', 'in']],
    ['expect tcp 1.1.1.1:1 -> 2.2.2.2:2 origin |', ['local']],
    ['expect tcp 1.1.1.1:1 -> 2.2.2.2:2 origin local in |', ['fast']],
  ])('%s', (text, expected) => {
    const found = labels(text);
    for (const label of expected) expect(found).toContain(label);
    if (expected.length === 0) expect(found).toEqual([]);
  });

  test.each([
    ['a queue where a set can stand', 'rule x when remote in |', 'fast'],
    ['a set where a queue can stand', 'rule x when tcp -> |', 'lan'],
    ['a statement within a rule', 'rule x when |', 'queue'],
    ['a word behind a whole condition', 'rule x when tcp |', 'origin'],
    ['an arrow in until', 'rule x when tcp -> fast until tcp |', '->'],
    ['a setting of a queue in a link', 'link x { |', 'ceiling'],
  ])('offers no %s', (_, text, label) => expect(labels(text)).not.toContain(label));

  test.each(['# a comment |', 'link x { device "et|h0"', 'rule |', 'rule x when age > 5|'])(
    'offers nothing in %s',
    (text) => {
      const offered = labels(text).filter((label) => !['quiet'].includes(label));
      expect(offered).toEqual([]);
    },
  );

  test('replaces the word that is begun, and says what it means', () => {
    const { file, offset } = pointed(`${POLICY}rule x when local.po|`);
    const { span, items } = complete([file], file, offset);
    expect(file.source.slice(span)).toBe('local.po');
    expect(items.find(({ label }) => label === 'local.port')).toEqual({
      label: 'local.port',
      kind: 'word',
      about: WORDS['local.port'],
    });
    const queue = labels('rule x -> |');
    expect(queue.filter((label) => label === 'fast')).toHaveLength(1);
  });

  test('of every word there is something to say', () => {
    const words = [
      ...vocabulary.RESERVED,
      ...Object.keys(vocabulary.SUBJECTS),
      ...Object.values(vocabulary.SETTINGS).flat(),
      ...vocabulary.EFFECTS,
      ...vocabulary.COUNTED,
      ...vocabulary.FAIRNESS,
    ];
    expect(words.filter((word) => !(word in WORDS))).toEqual([]);
  });

  test('any beginning of any pieces: no crash, and what is replaced ends at the place', () => {
    const piece = fc.constantFrom(
      ...POLICY.split(/(\s+|[(){},;])/).filter(Boolean),
      '"',
      "'",
      '[',
      'лан',
      '😀',
      '\u0000',
      '->',
      'not',
      '(',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 50 }), fc.nat(), (pieces, at) => {
        const text = pieces.join(' ');
        const offset = at % (text.length + 1);
        const file = openFile(text, 'test.gate');
        const { span } = complete([file], file, offset);
        expect(span.end).toBe(offset);
        expect(span.start).toBeLessThanOrEqual(offset);
        hover([file], file, offset);
        const thing = findName([file], file, offset);
        if (thing) renameThing([file], thing, 'other');
      }),
      { numRuns: 2000 },
    );
  });
});

describe('names', () => {
  const usesOf = (text: string, name = 'renamed') => {
    const { file, offset } = pointed(text);
    const thing = findName([file], file, offset)!;
    const renaming = renameThing([file], thing, name);
    if ('problem' in renaming) return renaming.problem;
    let out = file.source.text;
    for (const { start, end } of renaming.places.toSorted((a, b) => b.start - a.start))
      out = out.slice(0, start) + name + out.slice(end);
    return out;
  };

  test.each([
    ['queue', 'queue de|ep'],
    ['queue', 'remote -> de|ep'],
    ['queue', '-> de|ep, add'],
    ['set', 'set ban|ned'],
    ['set', 'remote to ban|ned'],
    ['let', 'for qui|et'],
    ['link', 'with wa|n'],
    ['rule', 'rule ho|me'],
  ])('a %s is renamed from %s, in all its places, and the policy means the same', (kind, at) => {
    const text = POLICY.replace(at.replace('|', ''), at);
    expect(text).not.toBe(POLICY);
    const { file, offset } = pointed(text);
    expect(findName([file], file, offset)?.kind).toBe(kind);
    const name = findName([file], file, offset)!.name;
    const renamed = usesOf(text);
    const { policy, diagnostics } = parsePolicy(renamed, 'test.gate');
    const before = parsePolicy(POLICY, 'test.gate');
    expect(diagnostics.filter((d) => d.severity === 'error')).toEqual([]);
    expect(renamed).not.toMatch(new RegExp(`(?<![\\w.-])${name}(?![\\w-])`));
    const plain = (value: unknown, from: string) => JSON.stringify(value).replace(new RegExp(`\\b${from}"`, 'g'), '*"');
    expect(plain(policy, 'renamed')).toBe(plain(before.policy, name));
  });

  test('a word of the language is no name, even where one is called like it', () => {
    const text = `${POLICY}let local = 5s\nrule x when origin loc|al -> fast\n`;
    const { file, offset } = pointed(text);
    expect(findName([file], file, offset)).toBeUndefined();
  });

  test.each([
    ['when', /a word of the language/],
    ['2fast', /cannot be a name/],
    ['a b', /cannot be a name/],
    ['a-', /cannot be a name/],
    ['', /cannot be a name/],
    ['deep', /there is a queue "deep" already/],
  ])('is not renamed to %j', (name, problem) =>
    expect(usesOf(POLICY.replace('queue fast', 'queue fa|st'), name)).toMatch(problem),
  );

  test('a set is not given the name of a constant, which stands at the same places', () => {
    expect(usesOf(POLICY.replace('set lan', 'set la|n'), 'quiet')).toMatch(/already/);
  });

  test('nothing is renamed while the file has mistakes of form', () => {
    expect(usesOf(`${POLICY.replace('queue fast', 'queue fa|st')}rule`)).toMatch(/has mistakes/);
  });
});

describe('hover', () => {
  const over = (at: string): string | undefined => {
    const { file, offset } = pointed(POLICY.replace(at.replace('|', ''), at));
    const { policy } = parsePolicy(POLICY, 'test.gate');
    return hover([file], file, offset, { policy, formatKernelRule: (rule) => `nft of ${rule.name}` })?.text;
  };

  test('a kernel rule: tier, what was understood, its form in the kernel', () => {
    const text = over('ru|le home')!;
    expect(text).toContain('**kernel rule** `home`');
    expect(text).toContain('when remote in 10.0.0.0/8 and origin local\n-> fast');
    expect(text).toContain('nft of home');
    expect(over('rule ho|me')).toBe(text);
  });

  test('a live rule: because of which words', () => {
    const text = over('rule la|te')!;
    expect(text).toContain('**live rule** `late`');
    for (const word of ['remote in banned', 'bytes.in', 'for', 'until', 'add']) expect(text).toContain(`\`${word}\``);
    expect(text).toContain('-> deep, add remote to banned for 3600s');
    expect(text).not.toContain('nft of');
  });

  test('a queue: its parts, and who goes there', () => {
    const text = over('remote -> de|ep')!;
    expect(text).toContain('**queue** `deep` in `slow`: sure of 50 %');
    expect(text).toContain('rule `late`');
    expect(text).toContain('is `remote`');
  });

  test('a set and a constant: how they are defined', () => {
    expect(over('remote in la|n and')).toContain('set lan = { 10.0.0.0/8 }');
    expect(over('for qui|et')).toContain('let quiet = 10s');
  });

  test('a word: what it means; a number, or nothing: nothing', () => {
    expect(over('bytes|.in > 5MB')).toBe(`\`bytes.in\`: ${WORDS['bytes.in']}`);
    expect(over('> 5M|B')).toBeUndefined();
    expect(over('\n|queue fast')).toContain('**queue** `fast`');
  });
});
