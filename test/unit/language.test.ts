import { describe, expect, test } from 'vitest';
import {
  type Condition,
  EXAMPLE_BASE,
  formatCondition,
  formatDiagnostic,
  overrideLink,
  type Policy,
  parsePolicy,
} from '../../src/language/index.ts';
import { HeadgateError, parseRate } from '../../src/model/index.ts';

/** Everything that is said of a text, as a person sees it. */
const said = (text: string): string =>
  parsePolicy(text, 'test.gate')
    .diagnostics.map((d) => formatDiagnostic(d, text))
    .join('\n');

/** The same for a piece behind EXAMPLE_BASE, which has five lines. */
const saidOf = (piece: string): string => said(EXAMPLE_BASE + piece);

const codesOf = (piece: string): string[] =>
  parsePolicy(EXAMPLE_BASE + piece, 'test.gate').diagnostics.map(
    ({ code, range }) => `${code} ${range.start.line - 5}:${range.start.column}`,
  );

function read(text: string): Policy {
  const { policy } = parsePolicy(text, 'test.gate');
  if (!policy) throw new Error(said(text));
  return policy;
}

const when = (condition: string): Condition =>
  read(`${EXAMPLE_BASE}rule r when ${condition} -> local\n`).rules[0]!.when;

describe('a policy', () => {
  const text = `link wan { device eth0  download 95mbit  upload 2.5gbit }
queue local { share 70%  ceiling 90%  leaf fq_codel }
queue seed { share 5% }
set torrents = { 6881-6889, 6880, 51413 }
# What strangers want.
rule seeders when origin remote
             and local.port in torrents -> seed
default local -> local  remote -> seed  new -> local
`;

  test('is read to a value', () => {
    const { checked, ...parsed } = parsePolicy(text, 'test.gate');
    expect(checked).toBe(parsed.policy);
    expect(parsed).toEqual({
      diagnostics: [],
      texts: new Map([['test.gate', text]]),
      policy: {
        file: 'test.gate',
        links: [{ name: 'wan', device: 'eth0', download: 95e6, upload: 2.5e9, tree: 'htb' }],
        queues: [
          { name: 'local', share: 0.7, ceiling: 0.9, leaf: 'fq_codel' },
          { name: 'seed', share: 0.05, ceiling: 1, leaf: undefined },
        ],
        sets: [],
        expects: [],
        needs: {
          events: [],
          counters: false,
          timers: false,
          dns: false,
          sockets: false,
          p2p: false,
          packets: false,
          clock: false,
          company: false,
        },
        rules: [
          {
            name: 'seeders',
            queue: 'seed',
            effects: [],
            tier: { kind: 'kernel' },
            file: 'test.gate',
            line: 6,
            when: {
              kind: 'and',
              terms: [
                { kind: 'origin', origin: 'remote' },
                {
                  kind: 'port',
                  end: 'local',
                  ranges: [
                    { first: 6880, last: 6889 },
                    { first: 51413, last: 51413 },
                  ],
                },
              ],
            },
          },
        ],
        defaults: { local: 'local', remote: 'seed', new: 'local' },
      },
    });
  });

  test('is frozen all the way down', () => {
    const policy = read(text);
    const open: string[] = [];
    const visit = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
      if (!Object.isFrozen(value)) open.push(path);
      for (const [key, part] of Object.entries(value)) visit(part, `${path}.${key}`);
    };
    visit(policy, 'policy');
    expect(open).toEqual([]);
  });

  test('reads the same with CR LF, with a byte order mark, on one line, and with semicolons', () => {
    const lines = text.split('\n').filter((line) => !line.startsWith('#'));
    const policy = read(text);
    expect(read(text.replaceAll('\n', '\r\n'))).toEqual(policy);
    expect(read(`\ufeff${text}`)).toEqual(policy);
    const { rules, ...rest } = policy;
    for (const joined of [lines.join(' '), lines.join('\n;\n').replace('remote\n;', 'remote\n')]) {
      const other = read(joined);
      expect({ ...other, rules: [] }).toEqual({ ...rest, rules: [] });
      expect(other.rules.map((r) => ({ ...r, line: 6 }))).toEqual(rules);
    }
  });

  test('reads the same wherever its lines end', () => {
    const piece = `${text}set busy = { 10.9.0.0/16 }
queue p2p { share 5% queue udp { share 50% } queue tcp { share 50% fair by host } }
rule a when rate.in over 30s > 1mbit for 5s and not ( remote in busy ) -> add remote to busy for 1h, mirror to tap, police 1mbit, udp until idle > 5s
rule b when count ( peers by local.port ) > 20 -> tcp
expect tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local bytes.in 60MB in local
`;
    const strip = ({ rules, expects, ...rest }: Policy) => ({
      ...rest,
      rules: rules.map((rule) => ({ ...rule, line: 0 })),
      expects: expects.map((one) => ({ ...one, line: 0, facts: JSON.stringify(one.facts) })),
    });
    const lines = piece.replaceAll(/^#.*\n/gm, '').replaceAll(/\s+(?=and local)/g, ' ');
    const broken = lines.replaceAll(/[ \n]+/g, '\n');
    expect(strip(read(broken))).toEqual(strip(read(lines)));
    expect(strip(read(broken.replaceAll('\n', '  # why\n  ')))).toEqual(strip(read(lines)));
  });

  test('knows queues within queues by their braces, and by the layout where one is missing', () => {
    const inner = 'queue p2p { share 5%\nqueue tcp { share 50% }\n}\nrule a when tcp -> tcp';
    expect(codesOf(inner)).toEqual([]);
    expect(codesOf(inner.replace('\n}', ''))).toEqual(['unclosed 1:11']);
    expect(codesOf(inner.replace('\nqueue', '\n  queue').replace('\n}', ''))).toEqual(['unclosed 1:11']);
  });

  test('needs neither blanks around arrows nor commas at line ends', () => {
    const { rules } = read(
      `${EXAMPLE_BASE}set s = {\n  80\n  90-99,\n}\nrule a when remote.port in s->local;rule b->seed`,
    );
    expect(rules.map((rule) => `${rule.name}: ${formatCondition(rule.when)} -> ${rule.queue}`)).toEqual([
      'a: remote.port in { 80, 90-99 } -> local',
      'b:  -> seed',
    ]);
  });
});

describe('a condition', () => {
  test.each([
    ['tcp or udp and not icmp', 'tcp or udp and not icmp'],
    ['(tcp or udp) and not icmp', '(tcp or udp) and not icmp'],
    ['not (tcp or udp)', 'not (tcp or udp)'],
    ['not not tcp', 'not not tcp'],
    ['((((tcp))))', 'tcp'],
    ['origin in { local, new }', 'origin local or origin new'],
    ['protocol 47 or protocol sctp or protocol = 89', 'gre or sctp or protocol 89'],
    ['protocol not in { tcp, 17 }', 'not (tcp or udp)'],
    ['family ipv6 and family != ipv4', 'family ipv6 and not family ipv4'],
    ['local 10.0.0.1', 'local in 10.0.0.1'],
    ['remote = 10.0.0.0/8', 'remote in 10.0.0.0/8'],
    ['remote not in { fd00::/8, 10.0.0.0/8, 10.1.0.0/16 }', 'not remote in { 10.0.0.0/8, fd00::/8 }'],
    ['local.port in { 6885-6889, 6881-6886, 22 }', 'local.port in { 22, 6881-6889 }'],
    ['remote.port > 1023', 'remote.port in 1024-65535'],
    ['remote.port >= 1024', 'remote.port in 1024-65535'],
    ['remote.port < 1024', 'remote.port in 0-1023'],
    ['remote.port <= 0', 'remote.port in 0'],
    ['remote.port != 80', 'not remote.port in 80'],
    ['local in ::ffff:0:0/96', 'local in ::ffff:0:0/96'],
  ])('%s', (written, meant) => expect(formatCondition(when(written))).toBe(meant));
});

describe('what is said of mistakes', () => {
  test('three in one file: all three, with their places and what was meant', () => {
    const text = `link wan { device eth0  download 100mb }
queue local { share 70% }
queue seed { share 5% }
set lan = { 192.168.1.1/24 }
rule night when remote in lan -> sead
default local -> local  remote -> seed  new -> local
`;
    expect(parsePolicy(text, 'test.gate').policy).toBeUndefined();
    expect(said(text)).toMatchInlineSnapshot(`
      "test.gate:1:34: error: "mb" in "100mb" is no unit [unknown-unit]
        1 | link wan { device eth0  download 100mb }
          |                                  ^^^^^
          = did you mean 100mbit?
      test.gate:4:13: error: "192.168.1.1/24" has bits set behind its first 24 [host-bits]
        4 | set lan = { 192.168.1.1/24 }
          |             ^^^^^^^^^^^^^^
          = write 192.168.1.0/24, or 192.168.1.1 for that one address
      test.gate:5:34: error: there is no queue "sead" [unknown-queue]
        5 | rule night when remote in lan -> sead
          |                                  ^^^^
          = did you mean "seed"?"
    `);
  });

  test('names of devices that cannot be, or are to be quoted, each once', () => {
    const link = (device: string) => said(`link wan { device ${device}  download 9mbit }\n`).split('\n');
    expect(link('é0').filter((line) => line.includes('[bad-'))).toEqual([
      'test.gate:1:19: error: "é0" cannot be the name of a network device [bad-device]',
    ]);
    expect(link('é0').join()).toContain('at most 15 ASCII characters');
    expect(link('a;b').find((line) => line.includes('='))).toContain('written in quotes: device "a;b"');
    expect(link('"a;b"').filter((line) => /bad-|unknown-/.test(line))).toEqual([]);
  });

  test('brackets left open are shown where they open, and the rest is still looked at', () => {
    expect(
      saidOf(`set ports = { 80, 443
queue bulk {
  share 5%
rule a when (tcp or udp and not (sctp -> bulk
rule b when tcp -> sead
`),
    ).toMatchInlineSnapshot(`
      "test.gate:6:13: error: the "{" that opens here is never closed [unclosed]
        6 | set ports = { 80, 443
          |             ^
          = a "}" is missing
      test.gate:7:12: error: the "{" that opens here is never closed [unclosed]
        7 | queue bulk {
          |            ^
          = a "}" is missing
      test.gate:9:13: error: the "(" that opens here is never closed [unclosed]
        9 | rule a when (tcp or udp and not (sctp -> bulk
          |             ^
          = a ")" is missing
      test.gate:9:33: error: the "(" that opens here is never closed [unclosed]
        9 | rule a when (tcp or udp and not (sctp -> bulk
          |                                 ^
          = a ")" is missing
      test.gate:10:20: error: there is no queue "sead" [unknown-queue]
        10 | rule b when tcp -> sead
           |                    ^^^^
           = did you mean "seed"?"
    `);
  });

  test('units: both sides are named', () => {
    expect(
      saidOf(`link a { download 50MB upload 70% }
link b { download 100 upload 20 mbit }
link c { download 100Mbit/s upload 30s }
queue q { share 10mbit ceiling 50 % }
rule a when remote.port in 10.0.0.0/8 -> q
rule b when remote in { 80, 10.0.0.5:80, 01:00 } and local 50MBand -> q
rule c when origin 5 or protocol 70% -> q
`),
    ).toMatchInlineSnapshot(`
      "test.gate:6:19: error: download needs a rate, but "50MB" is an amount of bytes [wrong-type]
        6 | link a { download 50MB upload 70% }
          |                   ^^^^
          = did you mean 50MB/s?
      test.gate:6:31: error: upload needs a rate, but "70%" is a percentage [wrong-type]
        6 | link a { download 50MB upload 70% }
          |                               ^^^
          = for example 100mbit
      test.gate:7:19: error: download needs a rate, but "100" is a plain number [wrong-type]
        7 | link b { download 100 upload 20 mbit }
          |                   ^^^
          = a unit is missing: did you mean 100mbit?
      test.gate:7:30: error: "20 mbit" is written as one word [split-value]
        7 | link b { download 100 upload 20 mbit }
          |                              ^^^^^^^
          = write 20mbit
      test.gate:8:19: error: "Mbit/s" in "100Mbit/s" is no unit [unknown-unit]
        8 | link c { download 100Mbit/s upload 30s }
          |                   ^^^^^^^^^
          = did you mean 100Mbit? It is per second already.
      test.gate:8:36: error: upload needs a rate, but "30s" is a duration [wrong-type]
        8 | link c { download 100Mbit/s upload 30s }
          |                                    ^^^
          = for example 100mbit
      test.gate:9:17: error: share needs a percentage, but "10mbit" is a rate [wrong-type]
        9 | queue q { share 10mbit ceiling 50 % }
          |                 ^^^^^^
      test.gate:9:32: error: "50 %" is written as one word [split-value]
        9 | queue q { share 10mbit ceiling 50 % }
          |                                ^^^^
          = write 50%
      test.gate:10:28: error: remote.port needs a port or a range of ports, but "10.0.0.0/8" is an address [wrong-type]
        10 | rule a when remote.port in 10.0.0.0/8 -> q
           |                            ^^^^^^^^^^
      test.gate:11:25: error: remote needs addresses, but "80" is a plain number [wrong-type]
        11 | rule b when remote in { 80, 10.0.0.5:80, 01:00 } and local 50MBand -> q
           |                         ^^
      test.gate:11:29: error: remote needs addresses, but "10.0.0.5:80" is an address with a port [wrong-type]
        11 | rule b when remote in { 80, 10.0.0.5:80, 01:00 } and local 50MBand -> q
           |                             ^^^^^^^^^^^
      test.gate:11:42: error: remote needs addresses, but "01:00" is a time of day [wrong-type]
        11 | rule b when remote in { 80, 10.0.0.5:80, 01:00 } and local 50MBand -> q
           |                                          ^^^^^
      test.gate:11:60: error: "MBand" in "50MBand" is no unit [unknown-unit]
        11 | rule b when remote in { 80, 10.0.0.5:80, 01:00 } and local 50MBand -> q
           |                                                            ^^^^^^^
           = a space is missing: 50MB and
      test.gate:12:20: error: origin needs one of local, remote, new, but "5" is a plain number [wrong-type]
        12 | rule c when origin 5 or protocol 70% -> q
           |                    ^
      test.gate:12:34: error: protocol needs a number from 0 to 255, or a name, but "70%" is a percentage [wrong-type]
        12 | rule c when origin 5 or protocol 70% -> q
           |                                  ^^^"
    `);
  });

  test('what other tools would write', () => {
    expect(
      saidOf(`rule a when tcp dport 443 -> local
rule b when remote port 443 -> local
rule c when orgin local && !tcp -> local
rule d when remote in "10.0.0.0/8" -> local
rule e tcp -> local
rule f when udp => queue local
rule g when remote in lan or local in {{ 10.0.0.1 } -> local
rule h when remote → local
queue "games" = { share: 5% }
`),
    ).toMatchInlineSnapshot(`
      "test.gate:6:17: error: "and" or "or" is missing before "dport" [missing-operator]
        6 | rule a when tcp dport 443 -> local
          |                 ^^^^^
      test.gate:6:17: error: "dport" is nothing that a rule can look at [unknown-word]
        6 | rule a when tcp dport 443 -> local
          |                 ^^^^^
          = write local.port or remote.port, by the end whose port it is
      test.gate:7:20: error: "port" is nothing that a rule can look at [unknown-word]
        7 | rule b when remote port 443 -> local
          |                    ^^^^
          = write remote.port in one word
      test.gate:8:13: error: "orgin" is nothing that a rule can look at [unknown-word]
        8 | rule c when orgin local && !tcp -> local
          |             ^^^^^
          = did you mean "origin"?
      test.gate:8:25: error: "&&" is not of this language [foreign-operator]
        8 | rule c when orgin local && !tcp -> local
          |                         ^^
          = write and
      test.gate:8:28: error: "!" is not of this language [foreign-operator]
        8 | rule c when orgin local && !tcp -> local
          |                            ^
          = write not
      test.gate:9:23: error: expected a value, but here is the string "10.0.0.0/8" [expected]
        9 | rule d when remote in "10.0.0.0/8" -> local
          |                       ^^^^^^^^^^^^
          = values are written without quotes
      test.gate:10:8: error: expected "when", but here is "tcp" [expected]
        10 | rule e tcp -> local
           |        ^^^
      test.gate:11:17: error: "=>" is not of this language [foreign-operator]
        11 | rule f when udp => queue local
           |                 ^^
           = write ->
      test.gate:11:20: error: expected the name of a queue, but here is "queue" [expected]
        11 | rule f when udp => queue local
           |                    ^^^^^
           = leave out the word "queue"
      test.gate:12:23: error: there is no set "lan" [unknown-set]
        12 | rule g when remote in lan or local in {{ 10.0.0.1 } -> local
           |                       ^^^
      test.gate:12:40: error: expected a value, but here is "{" [expected]
        12 | rule g when remote in lan or local in {{ 10.0.0.1 } -> local
           |                                        ^
           = lists hold values; they do not nest
      test.gate:13:20: error: "→" is not of this language [foreign-operator]
        13 | rule h when remote → local
           |                    ^
           = write ->
      test.gate:13:20: error: expected what "remote" is compared with, but here is "->" [expected]
        13 | rule h when remote → local
           |                    ^
           = write remote in PREFIX, or origin remote
      test.gate:14:7: error: "games" cannot be a name [bad-name]
        14 | queue "games" = { share: 5% }
           |       ^^^^^^^
           = write games without quotes
      test.gate:14:15: error: expected "{", but here is "=" [expected]
        14 | queue "games" = { share: 5% }
           |               ^
           = blocks are written without "="
      test.gate:14:24: error: expected the value of share, but here is ":" [expected]
        14 | queue "games" = { share: 5% }
           |                        ^
           = it is written right behind, without a sign between"
    `);
  });

  test('a place behind tabs, in a long line, and with what a terminal would obey', () => {
    const long = `rule long when ${'tcp or '.repeat(40)}sead -> local`;
    expect(
      saidOf(`\t\trule tabs\twhen tcp\t-> sead\n${long}\nrule esc when remote in "\x1b[31m" -> local\n`),
    ).toMatchInlineSnapshot(`
      "test.gate:6:25: error: there is no queue "sead" [unknown-queue]
        6 | 		rule tabs	when tcp	-> sead
          | 		         	        	   ^^^^
          = did you mean "seed"?
      test.gate:7:296: error: "sead" is nothing that a rule can look at [unknown-word]
        7 | p or tcp or tcp or tcp or tcp or tcp or sead -> local
          |                                         ^^^^
          = a rule looks at origin, a protocol, local, remote, their ports, and what docs/language.md lists
      test.gate:8:25: error: expected a value, but here is the string "␛[31m" [expected]
        8 | rule esc when remote in "␛[31m" -> local
          |                         ^^^^^^^
          = values are written without quotes
      test.gate:8:26: error: a control character stands here: U+001B ESC [control-character]
        8 | rule esc when remote in "␛[31m" -> local
          |                          ^
          = policies are plain text; delete it"
    `);
  });

  test('the end of the file', () => {
    expect(said('')).toMatchInlineSnapshot(`
      "test.gate:1:1: warning: the policy has no link, so nothing is shaped [no-link]
        1 | 
          | ^
          = add: link wan { device NAME  download RATE  upload RATE }
      test.gate:1:1: error: the policy has no queue [no-queue]
        1 | 
          | ^
          = add: queue NAME { share 100% }"
    `);
    expect(said('rule')).toMatchInlineSnapshot(`
      "test.gate:1:5: error: expected a name for the rule, but here is the end of the file [expected]
        1 | rule
          |     ^
      test.gate:1:5: warning: the policy has no link, so nothing is shaped [no-link]
        1 | rule
          |     ^
          = add: link wan { device NAME  download RATE  upload RATE }
      test.gate:1:5: error: the policy has no queue [no-queue]
        1 | rule
          |     ^
          = add: queue NAME { share 100% }"
    `);
    expect(said(`${EXAMPLE_BASE}rule a when`)).toMatchInlineSnapshot(`
      "test.gate:6:12: error: expected a condition, but here is the end of the file [expected]
        6 | rule a when
          |            ^"
    `);
  });

  test('one mistake sets off no others', () => {
    expect(codesOf('rule a when -> local')).toEqual(['expected 1:13']);
    expect(codesOf('rule when tcp -> local')).toEqual(['expected 1:6']);
    expect(codesOf('rule a when tcp local')).toEqual(['expected 1:17']);
    expect(codesOf('rule a when tcp and -> local')).toEqual(['expected 1:21']);
    expect(codesOf('rule a when (tcp or) and udp -> local')).toEqual(['expected 1:20']);
    expect(codesOf('rule a when remote in { 10.0.0.0/33 } -> local')).toEqual(['bad-address 1:25']);
    expect(codesOf('rule a when remote in { 10.0.0.0/8 fd00::/8 } -> local')).toEqual(['expected 1:36']);
    expect(codesOf('rule a when tcp -> local local')).toEqual(['unknown-statement 1:26']);
    expect(codesOf('}\nrule a when tcp -> local')).toEqual(['expected 1:1']);
    expect(codesOf('rulle a when tcp -> local')).toEqual(['unknown-statement 1:1']);
    expect(codesOf('queue b ( share 5% )\nrule a when tcp -> b')).toEqual(['expected 1:9']);
    expect(codesOf('set s { 80 }\nrule a when remote.port in s -> local')).toEqual(['expected 1:7']);
    expect(codesOf('set s = { 80, x }\nrule a when remote in s -> local')).toEqual(['nested-set 1:15']);
    for (const mistyped of [
      'rule a ^whn tcp -> local',
      'rule a when bytes.in > 5MB ^fro 10s -> seed',
      'rule a when tcp ^adn remote.port 80 -> seed',
      'rule a when tcp\n ^adn remote.port 80 -> seed',
      'rule a when tcp ^ro udp -> seed',
      'rule a when ^nto tcp -> seed',
      'rule a when remote.port ^inn 80 -> seed',
      'rule a when remote.port ^on { 80, 443 } -> seed',
      'rule a when rate.in ^ovr 5s > 1mbit -> seed',
      'rule a when count(peers ^bye local.port) > 3 -> seed',
      'rule a when ^cont(peers by local.port) > 3 -> seed',
      'rule a when tcp -> seed ^util rate.in < 1mbit for 10s',
      'rule a when tcp -> ^polic 1mbit, seed',
      'rule a when tcp -> ^mirro to tap, seed',
      'rule a when tcp -> mirror ^ot tap, seed',
      'set s = { 10.0.0.0/8 } rule a when tcp -> ^ad remote to s for 1h, seed',
      'set s = { 10.0.0.0/8 } rule a when tcp -> add ^remot to s for 1h, seed',
      'set s = { 10.0.0.0/8 } rule a when tcp -> add remote ^ot s for 1h, seed',
      'set s = { 10.0.0.0/8 } rule a when tcp -> add remote to s ^fro 1h, seed',
      'link x { share ^tre with wan }',
      'link x { share tree ^wiht wan }',
      'expect tcp 10.0.0.5:4 -> 1.1.1.1:443 ^orgin local in local',
      'expect tcp 10.0.0.5:4 -> 1.1.1.1:443 origin local ^inn local',
      'rule a when unit ^"x.service and tcp -> seed',
    ]) {
      const column = mistyped.slice(mistyped.lastIndexOf('\n', mistyped.indexOf('^')) + 1).indexOf('^') + 1;
      const line = mistyped.slice(0, mistyped.indexOf('^')).split('\n').length;
      const places = codesOf(mistyped.replace('^', '')).map((found) => found.replace(/^\S+ /, ''));
      expect([mistyped, ...places]).toEqual([mistyped, `${line}:${column}`]);
    }
    expect(codesOf('rule größe when tcp -> local')).toEqual(['bad-name 1:6']);
    expect(codesOf('rule a when remote in 10.0.0.1–10.0.0.9 -> local')).toEqual(['no-range 1:23', 'look-alike 1:31']);
    expect(codesOf('rule a when user “x” -> local')).toEqual(['look-alike 1:18', 'look-alike 1:20']);
    expect(codesOf('rule a when process "a\u009b31m" -> local')).toEqual(['control-character 1:23']);
  });

  test('colours stand around the text, and only when asked for', () => {
    const text = `${EXAMPLE_BASE}rule a when tcp -> sead\n`;
    const [finding] = parsePolicy(text, 'test.gate').diagnostics;
    const colored = formatDiagnostic(finding!, text, { color: true });
    expect(colored).toContain('\x1b[1;31merror:\x1b[0m');
    expect(colored.replace(/\x1b\[[\d;]*m/g, '')).toBe(formatDiagnostic(finding!, text));
  });
});

describe('overrideLink', () => {
  const two = read(`${EXAMPLE_BASE}link dsl { device ppp0 download 10mbit }`);
  const one = read(EXAMPLE_BASE);

  test('fills the only link, and leaves what is not given', () => {
    const rated = overrideLink(one, { device: 'eth0', download: parseRate('50mbit') });
    expect(rated.links).toEqual([{ name: 'wan', device: 'eth0', download: 50e6, upload: undefined, tree: 'htb' }]);
    expect(overrideLink(rated, { upload: 1e6 }).links).toEqual([
      { name: 'wan', device: 'eth0', download: 50e6, upload: 1e6, tree: 'htb' },
    ]);
    expect(overrideLink(rated, {})).toBe(rated);
    expect(Object.isFrozen(rated) && Object.isFrozen(rated.links) && Object.isFrozen(rated.links[0])).toBe(true);
    expect(one.links[0]!.device).toBeUndefined();
  });

  test('with several links the device says which', () => {
    expect(overrideLink(two, { device: 'ppp0', upload: 2e6 }).links[1]).toEqual({
      name: 'dsl',
      device: 'ppp0',
      download: 10e6,
      upload: 2e6,
      tree: 'htb',
    });
  });

  test.each([{ upload: 1e6 }, { device: 'eth9', download: 1e6 }])('%o is ambiguous with several links', (override) => {
    expect(() => overrideLink(two, override)).toThrow(
      expect.objectContaining({ code: 'HG_USAGE', message: expect.stringContaining('wan, dsl (ppp0)') }),
    );
    expect(() => overrideLink(two, override)).toThrow(HeadgateError);
  });
});
