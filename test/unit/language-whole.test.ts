import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  EXAMPLE_BASE,
  evaluate,
  formatCondition,
  formatDiagnostic,
  type Policy,
  parseFlow,
  parsePolicy,
  type ReadInclude,
  type Rule,
} from '../../src/language/index.ts';
import { formatAddress, formatPrefix } from '../../src/model/index.ts';

const said = (piece: string): string => {
  const text = EXAMPLE_BASE + piece;
  const { diagnostics } = parsePolicy(text, 'test.gate');
  return diagnostics.map(({ message, hint }) => (hint === undefined ? message : `${message} (${hint})`)).join('\n');
};

function read(piece: string, base = EXAMPLE_BASE): Policy {
  const { policy, diagnostics, texts } = parsePolicy(base + piece, 'test.gate');
  if (!policy) throw new Error(diagnostics.map((d) => formatDiagnostic(d, texts.get(d.file)!)).join('\n'));
  return policy;
}

const rule = (text: string, before = ''): Rule => read(`${before}\nrule r ${text}\n`).rules[0]!;
const when = (text: string, before = '') => rule(`when ${text} -> local`, before).when;

describe('a condition on', () => {
  test.each([
    // who
    ['device eth1', 'device "eth1"'],
    ['device in { eth1, "wg*" }', 'device in { "eth1", "wg*" }'],
    ['device 6in4', 'device "6in4"'],
    ['mac AA:bb:0C:dd:ee:ff', 'mac "aa:bb:0c:dd:ee:ff"'],
    ['mac "aa:bb:cc:*"', 'mac "aa:bb:cc:*"'],
    ['dscp ef', 'dscp in 46'],
    ['dscp in { cs1, 12-14, af11 }', 'dscp in { 8, 10, 12-14 }'],
    ['dscp >= cs6', 'dscp in 48-63'],
    ['zone != 5', 'not zone in 5'],
    ['nat in { source, destination }', 'nat source or nat destination'],
    ['helper ftp', 'helper "ftp"'],
    ['user in { 1000, alice, "www-data" }', 'user in { 1000, "alice", "www-data" }'],
    ['process "qbittorrent-nox*"', 'process "qbittorrent-nox*"'],
    ['unit qbittorrent.service', 'unit "qbittorrent.service"'],
    ["cgroup '/system.slice/*'", 'cgroup "/system.slice/*"'],
    ['domain WWW.Example.ORG', 'domain "www.example.org"'],
    ['domain not in { "*.example.org", "example.org." }', 'not domain in { "*.example.org", "example.org" }'],
    // memory
    ['bytes > 50MB', 'bytes > 50MB'],
    ['bytes.in >= 1536B', 'bytes.in >= 1536B'],
    ['bytes.out <= 1.5KiB', 'bytes.out <= 1536B'],
    ['bytes.in = 0B', 'bytes.in = 0B'],
    ['packets.out != 3', 'packets.out != 3'],
    ['rate.in < 1mbit', 'rate.in < 1mbit'],
    ['rate over 10s > 12.5MB/s', 'rate over 10s > 100mbit'],
    ['rate.out over 5000ms > 1kbit', 'rate.out > 1kbit'],
    ['age > 90s', 'age > 90s'],
    ['idle > 1.5m', 'idle > 90s'],
    ['age > 120m', 'age > 2h'],
    ['size < 200B', 'size < 200B'],
    ['ratio > 0.0000001', 'ratio > 0.0000001'],
    ['tcp.state in { established, syn_sent }', 'tcp.state in { syn_sent, established }'],
    // company
    ['count(peers by local.port) > 20', 'count(peers by local.port) > 20'],
    ['count ( flows by unit ) <= 3', 'count(flows by unit) <= 3'],
    // clock
    ['time in 22:00-06:30', 'time in 22:00-06:30'],
    ['time in { 00:00-24:00, 23:00-00:00 }', 'time in { 00:00-24:00, 23:00-24:00 }'],
    ['day in mon-wed', 'day in { mon, tue, wed }'],
    ['day in { fri-sun, wed }', 'day in { sun, wed, fri, sat }'],
    ['day sun', 'day in sun'],
    // time that something has held
    ['rate.in < 1mbit for 10s', 'rate.in < 1mbit for 10s'],
    ['not tcp for 10s', 'not tcp for 10s'],
    ['not (tcp for 10s)', 'not (tcp for 10s)'],
    ['udp and (idle > 1s or age > 5s) for 2m or tcp', 'udp and (idle > 1s or age > 5s) for 2m or tcp'],
    ['(tcp for 1s) for 2s', '(tcp for 1s) for 2s'],
  ])('%s', (written, meant) => {
    const condition = when(written);
    expect(formatCondition(condition)).toBe(meant);
    const again = when(formatCondition(condition));
    expect(again).toEqual(condition);
  });

  test('minutes of the day end before the second time', () => {
    expect(when('time in 22:00-06:30')).toEqual({ kind: 'time', ranges: [{ first: 1320, last: 389 }] });
    expect(when('time in 00:00-24:00')).toEqual({ kind: 'time', ranges: [{ first: 0, last: 1439 }] });
  });

  test('`for` binds the term before it, after `not` and before `and`', () => {
    expect(when('not tcp and udp for 3s')).toMatchObject({
      kind: 'and',
      terms: [{ kind: 'not' }, { kind: 'held', for: 3000, term: { kind: 'protocol' } }],
    });
    expect(when('not tcp for 3s')).toMatchObject({ kind: 'held', term: { kind: 'not' } });
  });

  test('timers are numbered over the whole policy', () => {
    const { rules } = read(
      'rule a when tcp for 1s and udp for 2s -> local until tcp for 3s\nrule b when icmp for 4s -> seed\n',
    );
    const timers = JSON.stringify(rules)
      .match(/"timer":\d+/g)!
      .map((t) => Number(t.slice(8)));
    expect(timers.sort()).toEqual([0, 1, 2, 3]);
  });
});

describe('constants', () => {
  test('stand for a value, a range or a name, wherever one can stand', () => {
    const before = `let line = 95mbit\nlet web = 443\nlet p2p = 6881-6889\nlet lan = 10.0.0.0/8\nlet much = 50MB
let long = 30s\nlet night = 22:00-06:00\nlet box = "eth7"\nlet part = 5%\nlet soon = 5m
link dsl { device box download line }\nqueue q { share part }\nset all = { p2p, web }\nset banned = { }\n`;
    const policy = read(
      `${before}rule a when remote.port in { web, p2p } and local.port in all and remote in lan and bytes > much -> q
rule b when rate over long > line and time in night and device box for soon -> q, police line, add remote to banned for soon
rule c when remote.port > web and local.port web -> q\n`,
    );
    expect(policy.links[1]).toMatchObject({ device: 'eth7', download: 95e6 });
    expect(policy.queues.at(-1)!.share).toBe(0.05);
    expect(policy.rules.map((r) => formatCondition(r.when))).toEqual([
      'remote.port in { 443, 6881-6889 } and local.port in { 443, 6881-6889 } and remote in 10.0.0.0/8 and bytes > 50MB',
      'rate over 30s > 95mbit and time in 22:00-06:00 and device "eth7" for 5m',
      'remote.port in 444-65535 and local.port in 443',
    ]);
    expect(policy.rules[1]!.effects).toEqual([
      { kind: 'police', rate: 95e6 },
      { kind: 'add', end: 'remote', set: 'banned', for: 300_000 },
    ]);
  });

  test('keep their type, and a word of the language is itself', () => {
    expect(said('let x = 30s\nrule a when bytes > x -> local')).toBe(
      'bytes needs an amount of bytes, but "30s" is a duration (for example 50MB)',
    );
    expect(said('let x = 1-2\nlink dsl { download x }')).toBe('download has no ranges');
    expect(formatCondition(when('protocol in { tcp, x }', 'let x = 47'))).toBe('tcp or gre');
    expect(said('let tcp = 47\nrule a when protocol tcp -> local')).toBe('nothing uses "tcp"');
  });

  test('are one value each', () => {
    expect(said('let a = { 1, 2 }')).toContain('write set NAME');
    expect(said('let a = eth0')).toContain('write "eth0" in quotes');
    expect(said('let a = 1\nlet b = a\nrule r when local.port a -> local')).toContain('write the value itself');
    expect(said('let a = 1\nset a = { 2 }\nrule r when local.port a -> local')).toContain('let "a" is there already');
  });
});

describe('sets', () => {
  test('of names, and such that rules fill', () => {
    const policy = read(
      `set tv = { "*.example.org", "video.example.com" }\nset banned = { 10.0.0.1, fd00::/8 }\nset empty = { }
rule tv when domain in tv -> local
rule out when remote in banned or local not in empty -> seed
rule on when count(peers by remote) > 20 -> seed, add remote to banned for 1h, add local to empty for 2d\n`,
    );
    expect(policy.rules[0]!.when).toEqual({ kind: 'domain', patterns: ['*.example.org', 'video.example.com'] });
    expect(formatCondition(policy.rules[1]!.when)).toBe('remote in banned or not local in empty');
    expect(policy.sets.map(({ name, prefixes }) => [name, prefixes.map(formatPrefix)])).toEqual([
      ['banned', ['10.0.0.1/32', 'fd00::/8']],
      ['empty', []],
    ]);
  });

  test('hold addresses where rules add to them', () => {
    expect(said('set s = { 80 }\nrule r when tcp -> add remote to s for 1h')).toContain('set "s" holds ports');
    expect(said('rule r when tcp -> add remote to s for 1h')).toContain('there is no set "s"');
    expect(said('set s = { }\nrule r when remote in s -> local')).toContain('nothing between these braces');
    expect(said('set s = { "a" }\nrule r when remote in s -> local')).toContain('set "s" holds names');
    expect(said('set s = { 80 }\nrule r when process in s -> local')).toContain(
      'compared with names, but set "s" holds ports',
    );
  });
});

describe('what a rule does', () => {
  test('is one queue, and any of the other effects', () => {
    const both = rule('when udp -> seed, police 2mbit, mirror to tap0 until idle > 5s for 10s');
    expect(both).toMatchObject({
      queue: 'seed',
      effects: [
        { kind: 'police', rate: 2e6 },
        { kind: 'mirror', tap: 'tap0' },
      ],
      until: { kind: 'held', for: 10_000 },
    });
    const none = rule('-> mirror to "tap1"');
    expect(none.queue).toBeUndefined();
    expect(none.effects).toEqual([{ kind: 'mirror', tap: 'tap1' }]);
  });

  test('queues may be called like effects', () => {
    const policy = read(
      'queue add { share 1% }\nqueue mirror { share 1% }\nqueue police { share 1% }\nrule a when tcp -> add\nrule b when udp -> mirror\nrule c when icmp -> police until udp\n',
    );
    expect(policy.rules.map((r) => r.queue)).toEqual(['add', 'mirror', 'police']);
  });

  test.each([
    ['when tcp -> seed and police 1mbit', 'what a rule does is separated by commas'],
    ['when tcp -> seed, new', 'gives a queue already, so not "new"'],
    ['when tcp -> mirror tap0', 'write mirror to TAP'],
    ['when tcp -> add banned for 1h', 'write add remote to SET for DURATION'],
    ['when tcp -> police 5MB', 'did you mean 5MB/s?'],
    ['when tcp -> seed for 10s', 'no statement begins with "for"'],
    ['when tcp for 0s -> seed', 'for is above 0s and at most 366d, not 0s'],
    ['when tcp for 10 -> seed', 'did you mean 10s?'],
    ['when tcp -> mirror to "a/b"', 'cannot be the name of a network device'],
  ])('%s', (text, expected) => expect(said(`rule r ${text}`)).toContain(expected));
});

describe('the tier of a rule', () => {
  test.each([
    ['when tcp and origin remote and family ipv4 and local in 10.0.0.0/8 and local.port 5 -> local', undefined],
    ['when dscp ef and zone 1 and mac aa:bb:cc:dd:ee:ff and device in { eth1, "wg*" } -> local', undefined],
    ['when tcp -> police 1mbit, mirror to tap0', undefined],
    ['-> seed', undefined],
    ['when bytes.in > 5MB and not age > 5s -> local', ['bytes.in', 'age']],
    ['when count(peers by local.port) > 5 and time in 01:00-02:00 -> local', ['count', 'time']],
    ['when tcp for 10s -> local', ['for']],
    ['when tcp -> seed until age > 5s', ['until']],
    ['when nat source or helper ftp or tcp.state established -> local', ['nat', 'helper', 'tcp.state']],
    ['when device "e*h" or mac "aa:*" -> local', ['device "e*h"', 'mac "aa:*"']],
    ['when unit a.service and user 1 and domain "*.org" -> local', ['unit', 'user', 'domain']],
  ])('%s', (text, because) => {
    expect(rule(text).tier).toEqual(because ? { kind: 'live', because } : { kind: 'kernel' });
  });

  test('a set that rules fill is live, and what adds to it', () => {
    const { rules } = read('set s = { }\nrule a when remote in s -> seed\nrule b when tcp -> add remote to s for 1h');
    expect(rules.map((r) => r.tier)).toEqual([
      { kind: 'live', because: ['remote in s'] },
      { kind: 'live', because: ['add'] },
    ]);
  });
});

describe('what a policy needs', () => {
  const needs = (text: string) => {
    const { events, ...sources } = read(text).needs;
    return [...events, ...Object.entries(sources).flatMap(([source, needed]) => (needed ? [source] : []))].join(' ');
  };
  test.each([
    ['rule a when tcp and mac aa:bb:cc:dd:ee:ff -> seed', ''],
    ['rule a when bytes > 1MB -> seed', 'new destroy counters'],
    ['rule a when age > 1m -> seed', 'new destroy timers'],
    ['rule a when idle > 1m -> seed', 'new destroy counters timers'],
    ['rule a when tcp -> seed until rate < 1mbit', 'new destroy counters timers'],
    ['rule a when tcp.state established -> seed', 'new update destroy'],
    ['rule a when domain "*.org" -> seed\nrule b when dscp ef -> local', 'new destroy dns packets'],
    ['rule a when count(flows by unit) > 3 -> seed', 'new destroy sockets company'],
    ['rule a when user 1000 and day sat -> seed', 'new destroy sockets clock'],
    ['set s = { }\nrule a when tcp -> add remote to s for 1m', 'new destroy timers'],
    ['rule a when (ratio > 2 or size < 100B) for 1m -> seed', 'new destroy counters timers'],
  ])('%s', (text, expected) => expect(needs(text)).toBe(expected));
});

describe('links and queues', () => {
  const BASE = 'queue a { share 50% }\ndefault local -> a remote -> a new -> a\n';

  test('overhead by name and by number', () => {
    const overhead = (text: string) => read(`link wan { overhead ${text} }`, BASE).links[0]!.overhead;
    expect(overhead('docsis')).toEqual({ preset: 'docsis', bytes: 18, mpu: 64, linkLayer: 'ethernet' });
    expect(overhead('pppoe-ptm tree htb')).toMatchObject({ bytes: 30, linkLayer: 'ptm' });
    expect(overhead('18 mpu 64')).toEqual({ bytes: 18, mpu: 64, linkLayer: 'ethernet' });
    expect(overhead('-4 atm')).toEqual({ bytes: -4, mpu: 0, linkLayer: 'atm' });
    expect(overhead('0 ptm mpu 10 device eth0')).toEqual({ bytes: 0, mpu: 10, linkLayer: 'ptm' });
  });

  test.each([
    ['link wan { overhead docsi }', 'did you mean "docsis"?'],
    ['link wan { overhead 300 }', 'an overhead is -64 to 256 bytes, not 300'],
    ['link wan { overhead -65 }', 'an overhead is -64 to 256 bytes, not -65'],
    ['link wan { overhead 18 mpu }', 'expected the number of bytes of mpu'],
    ['link wan { overhead 18B }', 'overhead needs a number of bytes'],
    ['link wan { numtxqueues 0 }', 'numtxqueues is a whole number from 1 to 256, not 0'],
    ['link wan { tree hbt }', 'did you mean "htb"?'],
    ['link wan { bypass netdev-ingres }', 'did you mean "netdev-ingress"?'],
    ['link wan { bypass firewall }', 'known: netdev-ingress'],
    ['link wan { replace rootqdisc }', 'did you mean "root-qdisc"?'],
    ['link wan { conntrack creat }', 'did you mean "create"?'],
    ['link wan { conntrack ask }', 'known: query, create'],
    ['link wan { ifb origin }', 'write ifb per origin'],
    ['link wan { ifb per orgin }', 'did you mean "origin"?'],
    ['link wan { } link b { share tree with wan ifb per origin }', 'so it has no ifb of its own'],
    ['link wan { share 10% }', 'write share tree with LINK'],
    ['link wan { share tree with wan }', 'link "wan" has no tree of its own: it uses that of "wan"'],
    ['link wan { } link b { share tree with c }', 'there is no link "c"'],
    ['link wan { } queue q { share 5% fair host }', 'write fair by host'],
    ['link wan { } queue q { share 5% fair by hosts }', 'did you mean "host"?'],
    ['link wan { } queue q { share 5% ceiling 120% }', 'a ceiling is a part of the link, or of the queue around it'],
  ])('%s', (text, expected) => {
    const { diagnostics } = parsePolicy(BASE + text, 'test.gate');
    expect(diagnostics.map(({ message, hint }) => `${message} ${hint}`).join('\n')).toContain(expected);
  });

  test('a tree without queues yet', () => {
    const { diagnostics } = parsePolicy('link wan { tree cake }', 'test.gate');
    expect(diagnostics.map(({ code }) => code)).toContain('no-queue');
  });

  test('a link that shares a tree, and trees of three kinds', () => {
    const { links } = read(
      'link wan { tree cake download 5mbit }\nlink b { device eth1 share tree with wan bypass netdev-ingress }\nlink c { numtxqueues 4 ifb per origin  replace root-qdisc  conntrack create }',
      BASE,
    );
    expect(links).toMatchObject([
      { tree: 'cake' },
      { tree: 'htb', shareTreeWith: 'wan', bypass: 'netdev-ingress' },
      { numtxqueues: 4, ifbPer: 'origin', replace: 'root-qdisc', conntrack: 'create' },
    ]);
  });

  test('queues within queues: each before those within it, shares for each level', () => {
    const { queues } = read(
      `link wan { }
queue out {
  share 60%
  queue tcp { share 100% fair by host
    queue fast { share 50% leaf cake } queue slow { share 50% ceiling 80% }
  }
}
queue rest { share 40% }
default local -> fast remote -> slow new -> rest`,
      '',
    );
    expect(queues.map(({ name, parent, share, fair, leaf }) => [name, parent, share, fair, leaf])).toEqual([
      ['out', undefined, 0.6, undefined, undefined],
      ['tcp', 'out', 1, 'host', undefined],
      ['fast', 'tcp', 0.5, undefined, 'cake'],
      ['slow', 'tcp', 0.5, undefined, undefined],
      ['rest', undefined, 0.4, undefined, undefined],
    ]);
  });

  test('shares within a queue are at most all of it', () => {
    expect(
      said(
        'queue q { share 5% queue a { share 60% } queue b { share 50% } }\nrule r when tcp -> a\nrule s when udp -> b',
      ),
    ).toBe(
      'with this queue the shares in queue "q" add up to 110% (shares are what queues are sure of: all together at most 100%; what a queue may take when others leave room is its ceiling)',
    );
  });
});

describe('include', () => {
  const files: Record<string, string> = {
    'p/lan.gate': 'set lan = { 10.0.0.0/8 }\ninclude "more/ports.gate"\n',
    'p/more/ports.gate': 'set web = { 443 }\nrule early when remote.port in web -> seed\n',
    'p/loop.gate': 'include "loop.gate"\n',
    'p/one.gate': 'include "two.gate"\n',
    'p/two.gate': 'include "one.gate"\n',
    'p/bad.gate': 'set x = { 10.0.0.1/8 }\nrule bad when remote in lna -> seed\n',
  };
  const include: ReadInclude = (file) =>
    Object.hasOwn(files, file) ? { text: files[file]! } : { problem: 'no such file' };
  const parse = (text: string) => parsePolicy(text, 'p/main.gate', { include });

  test('stands for the statements of the file, in its place', () => {
    const { policy, diagnostics, texts } = parse(
      `${EXAMPLE_BASE}rule first when udp -> new\ninclude "lan.gate"\nrule last when remote in lan -> seed\n`,
    );
    expect(diagnostics).toEqual([]);
    expect(policy?.rules.map(({ name, file, line }) => [name, file, line])).toEqual([
      ['first', 'p/main.gate', 6],
      ['early', 'p/more/ports.gate', 2],
      ['last', 'p/main.gate', 8],
    ]);
    expect([...texts.keys()]).toEqual(['p/main.gate', 'p/lan.gate', 'p/more/ports.gate']);
  });

  test('findings are shown in the file that they are in, and name others by file', () => {
    const { diagnostics, texts } = parse(`${EXAMPLE_BASE}set x = { 10.0.0.0/8 }\ninclude "bad.gate"\n`);
    expect(diagnostics.map((d) => formatDiagnostic(d, texts.get(d.file)!)).join('\n')).toMatchInlineSnapshot(`
      "p/bad.gate:1:5: error: set "x" is there already, on line 6 of p/main.gate [duplicate-name]
        1 | set x = { 10.0.0.1/8 }
          |     ^
      p/bad.gate:2:25: error: there is no set "lna" [unknown-set]
        2 | rule bad when remote in lna -> seed
          |                         ^^^
          = known: x"
    `);
  });

  test.each([
    ['loop.gate', 'p/loop.gate 1:9 "loop.gate" is part of this policy already'],
    ['one.gate', 'p/two.gate 1:9 "one.gate" is part of this policy already'],
    ['main.gate', 'p/main.gate 1:9 "main.gate" is part of this policy already'],
    ['none.gate', 'p/main.gate 1:9 "none.gate" cannot be read: no such file'],
    ['../p/lan.gate', 'p/main.gate 1:9 "../p/lan.gate" is no file beside this one or below it'],
    ['more/../../lan.gate', 'p/main.gate 1:9 "more/../../lan.gate" is no file beside this one or below it'],
    ['/etc/passwd', 'p/main.gate 1:9 "/etc/passwd" is no file beside this one or below it'],
    ['', 'p/main.gate 1:9 "" is no file beside this one or below it'],
  ])('%s is a finding at the include, and sets off nothing else', (path, expected) => {
    const { policy, diagnostics } = parse(`include "${path}"\nrule a when remote in there -> elsewhere\n`);
    expect(policy).toBeUndefined();
    expect(diagnostics.map((d) => `${d.file} ${d.range.start.line}:${d.range.start.column} ${d.message}`)).toEqual([
      expected,
    ]);
  });

  test('without somebody who reads files nothing is included', () => {
    const { diagnostics } = parsePolicy(`${EXAMPLE_BASE}include "lan.gate"`, 'x.gate');
    expect(diagnostics.map((d) => d.code)).toEqual(['include-unreadable']);
  });

  test('many files, deep files and long files end', () => {
    const many: ReadInclude = (file) => {
      const n = Number(/\d+/.exec(file)?.[0] ?? 0);
      return { text: `include "${n + 1}.gate"\ninclude "x${n}.gate"\n${'#'.repeat(1 << 18)}` };
    };
    const { diagnostics } = parsePolicy('include "1.gate"', 'main.gate', { include: many });
    expect(new Set(diagnostics.map((d) => d.code))).toEqual(
      new Set(
        ['include-too-many', 'include-too-long', 'include-again'].filter((code) =>
          diagnostics.some((d) => d.code === code),
        ),
      ),
    );
    expect(diagnostics.length).toBeGreaterThan(0);
  });
});

describe('a flow', () => {
  const facts = (text: string) => {
    const { facts: found, diagnostics } = parseFlow(text);
    if (!found) throw new Error(diagnostics.map((d) => d.message).join('\n'));
    return found;
  };

  test('the opener comes first, whichever end it is', () => {
    const local = facts('tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local bytes.in 60MB age 40s');
    expect([formatAddress(local.local.address), local.local.port]).toEqual(['10.0.0.5', 40000]);
    expect([formatAddress(local.remote.address), local.remote.port]).toEqual(['1.1.1.1', 443]);
    expect(local).toMatchObject({ origin: 'local', protocol: 6, bytes: { in: 60e6 }, age: 40_000 });
    expect(local.bytes!.out).toBeUndefined();
    const fresh = facts('udp 10.0.0.5:53 -> 1.1.1.1:443 origin new');
    expect([formatAddress(fresh.local.address), formatAddress(fresh.remote.address)]).toEqual(['10.0.0.5', '1.1.1.1']);
    const remote = facts('udp [2606:4700::1111]:53 -> [fd00::5]:40000 origin remote');
    expect([formatAddress(remote.local.address), remote.local.port]).toEqual(['fd00::5', 40000]);
    expect(facts('icmp 10.0.0.5 -> 1.1.1.1 origin new').local.port).toBeUndefined();
    expect(facts('protocol 89 fd00::5 -> [fd00::1] origin new').protocol).toBe(89);
  });

  test('every fact can be given', () => {
    const all = facts(
      `tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local device eth1 mac AA:BB:cc:dd:ee:ff dscp ef zone 7 nat both helper ftp
       user 1000 process qbt unit q.service cgroup "/a/b" domain { example.org, WWW.example.org } bytes.in 1MB bytes.out 2MB
       packets.in 10 packets.out 20 age 1m idle 2s rate.in 5mbit rate.out 1mbit tcp.state established
       count(peers by local.port) 21 count(flows by remote) 3 time 23:30 day sat held 10s`,
    );
    expect(all).toMatchObject({
      device: 'eth1',
      mac: 'aa:bb:cc:dd:ee:ff',
      dscp: 46,
      zone: 7,
      nat: { source: true, destination: true },
      helper: 'ftp',
      user: { id: 1000 },
      process: 'qbt',
      unit: 'q.service',
      cgroup: '/a/b',
      domains: ['example.org', 'www.example.org'],
      bytes: { in: 1e6, out: 2e6 },
      packets: { in: 10, out: 20 },
      age: 60_000,
      idle: 2000,
      tcpState: 'established',
      clock: { minute: 1410, day: 6 },
    });
    expect([all.rate!('in', 5000), all.rate!('total', 1000)]).toEqual([5e6, 6e6]);
    expect([all.count!('peers', 'local.port'), all.count!('flows', 'remote'), all.count!('flows', 'local')]).toEqual([
      21,
      3,
      undefined,
    ]);
    expect(all.held!(0)).toBe(10_000);
  });

  test('a rate is of its direction, and of its window where it has one', () => {
    const one = facts('tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local rate.in 5mbit rate.in over 30s 1mbit');
    expect([one.rate!('in', 5000), one.rate!('in', 30_000), one.rate!('out', 5000)]).toEqual([5e6, 1e6, undefined]);
    expect(one.rate!('total', 5000)).toBeUndefined();
    const both = facts('tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local rate.in over 30s 1mbit rate.out 2mbit');
    expect([both.rate!('in', 5000), both.rate!('total', 30_000)]).toEqual([undefined, 3e6]);
  });

  test('may be in a set that rules fill', () => {
    const policy = read(
      'set banned = { }\nrule a when remote in banned -> seed\nrule b when tcp -> add remote to banned for 1h',
    );
    const { facts: inside } = parseFlow('udp 10.0.0.1:1 -> 10.0.0.2:2 origin local remote in banned', '-', policy);
    expect(evaluate(policy.rules[0]!.when, inside!)).toBe(true);
    const { diagnostics } = parseFlow('udp 10.0.0.1:1 -> 10.0.0.2:2 origin local remote in banned');
    expect(diagnostics[0]!.message).toBe('there is no set "banned"');
  });

  test.each([
    ['', 'expected a protocol, but here is the end of the file'],
    ['tcp', 'expected the end that opened the flow'],
    ['tcp 10.0.0.5:1 -> 1.1.1.1:443', 'it is not said who opened this flow'],
    ['tcp 10.0.0.5:1 -> 1.1.1.1:443 origin lokal', '"lokal" is not an origin'],
    ['tcp 10.0.0.5:99999 -> 1.1.1.1:443 origin local', 'a port is at most 65535'],
    ['icmp 10.0.0.5:1 -> 1.1.1.1 origin local', 'a flow of icmp has no ports'],
    ['icmpv6 fd00::5 -> [fd00::1]:1 origin local', 'a flow of icmpv6 has no ports'],
    ['udp 10.0.0.5:1 -> 1.1.1.1:443 origin local tcp.state established', 'a flow of udp has no TCP state'],
    ['tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local rate.in over 1h 1mbit', 'the window of a rate is from 1s to 10m'],
    ['tcp 10.0.0.0/8 -> 1.1.1.1:443 origin local', '"10.0.0.0/8" is a prefix'],
    ['tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local origin remote', 'origin is given already'],
    ['tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local bytes 5MB', '"bytes" is nothing that can be said of a flow'],
    ['tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local age 5', 'age needs a duration'],
    ['tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local in seed', 'expected a fact of the flow'],
    [`tcp ${'1'.repeat(20_000)}`, 'at most 10000 are read'],
  ])('%s', (text, expected) => {
    const { facts: found, diagnostics } = parseFlow(text);
    expect(found).toBeUndefined();
    expect(diagnostics.map((d) => d.message).join('\n')).toContain(expected);
  });

  test('any text at all gives findings or facts', () => {
    const words = fc.constantFrom(
      ...'tcp udp -> 10.0.0.1:5 [fd00::1]:5 origin local remote in count ( ) peers by bytes.in 5MB { } , age 5s time 12:00 day sat " held zone 4 -'.split(
        ' ',
      ),
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 30 }), (parts) => {
        const { facts: found, diagnostics } = parseFlow(parts.join(' '));
        expect(found === undefined).toBe(diagnostics.length > 0);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('expectations', () => {
  const RULES = `rule bulk when origin local and bytes.in > 50MB -> seed
rule web when local.port 8080 and not udp -> new
`;
  const why = (flow: string, queue: string) => said(`${RULES}expect ${flow} in ${queue}`);

  test('hold, or say which rule decided instead, and why', () => {
    const flow = 'tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local';
    expect(why(`${flow} bytes.in 60MB`, 'seed')).toBe('');
    expect(why(`${flow} bytes.in 60MB`, 'local')).toBe(
      'this flow goes to queue "seed", not to "local": by rule "bulk" on line 6 (it matches, since origin local and bytes.in > 50MB)',
    );
    expect(why(flow, 'new')).toBe(
      'this flow goes to queue "local", not to "new": by the default of local (no rule matches; rule "web" needs local.port in 8080 (it is 40000))',
    );
    expect(why(flow, 'seed')).toContain('bytes.in > 50MB (not known)');
  });

  test('are kept as data', () => {
    const { expects } = read(`${RULES}expect tcp 10.0.0.5:1  ->\n 1.1.1.1:443 origin local in local`);
    expect(expects).toMatchObject([
      { text: 'tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local', queue: 'local', file: 'test.gate', line: 8 },
    ]);
  });

  test('know the queues', () => {
    expect(why('tcp 10.0.0.5:1 -> 1.1.1.1:443 origin local', 'sead')).toContain('did you mean "seed"?');
  });
});
