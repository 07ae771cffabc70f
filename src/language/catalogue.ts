export type Severity = 'error' | 'warning';

interface Entry {
  readonly severity: Severity;
  /** `{name}` is filled from the finding's fields. */
  readonly message: string;
  /** What is said where nothing more special can be. */
  readonly hint?: string;
  /** For the reference: when it is reported, and why it matters. */
  readonly about: string;
  /** A piece of policy that gets this finding and no other, and one that gets none. See docs/language.md. */
  readonly fails?: string;
  readonly passes?: string;
  /** The examples are whole policies. Others stand behind the lines in {@link EXAMPLE_BASE}. */
  readonly whole?: true;
}

/** What the examples of the catalogue, and the pieces in docs/language.md, stand behind. */
export const EXAMPLE_BASE = `link wan { }
queue local { share 70% }
queue new   { share 10% }
queue seed  { share 5% }
default local -> local  remote -> seed  new -> new
`;

/** `include` in examples finds this file, and no other. */
export const EXAMPLE_INCLUDE = { file: 'lan.gate', text: 'set lan = { 192.168.0.0/16, fd00::/8 }\n' } as const;

const NAME_RULE = 'names begin with a letter a-z and go on with letters, digits, "_" and "-", up to 63 in all';

/**
 * Every finding that a policy can get. docs/language.md lists the same; a test holds both together and runs the
 * examples. Those without examples here (too long, or made of characters that do not show) have them in that test.
 */
export const CATALOGUE = {
  // The characters.
  'control-character': {
    severity: 'error',
    message: 'a control character stands here: {character}',
    hint: 'policies are plain text; delete it',
    about:
      'Tabs and line ends (LF or CR LF) are the only control characters in a policy. A NUL or an escape usually means that the file is no text.',
  },
  'invisible-character': {
    severity: 'error',
    message: 'an invisible character stands here: {character}',
    hint: 'delete it',
    about:
      'Zero-width and direction-changing characters make a text read otherwise than it is; the latter are refused in comments, too.',
  },
  'not-utf8': {
    severity: 'error',
    message: 'this is not UTF-8 text ({character})',
    hint: 'save the file as UTF-8',
    about: 'Bytes that are no UTF-8 were replaced when the file was read.',
  },
  'look-alike': {
    severity: 'error',
    message: '"{found}" is written with {character}, which only looks like "{meant}"',
    hint: 'type it anew with a plain keyboard layout',
    about:
      'Cyrillic, Greek and full-width letters, typographic dashes, quotes and blanks that look like ASCII, as they come from web pages and word processors.',
  },
  'unexpected-character': {
    severity: 'error',
    message: '"{found}" means nothing here',
    about: 'A character that is no part of the language.',
    fails: 'rule web when tcp @ -> local',
    passes: 'rule web when tcp -> local',
  },
  'foreign-operator': {
    severity: 'error',
    message: '"{found}" is not of this language',
    hint: 'write {meant}',
    about: 'Operators of other languages: `&&`, `||`, `!`, `==`, `=>`.',
    fails: 'rule web when tcp && origin local -> local',
    passes: 'rule web when tcp and origin local -> local',
  },
  'foreign-comment': {
    severity: 'error',
    message: 'comments begin with "#"',
    about: 'A comment as in C.',
    fails: '// What I asked for.',
    passes: '# What I asked for.',
  },
  'unclosed-string': {
    severity: 'error',
    message: 'this string has no closing quote on its line',
    about: 'Strings end on the line where they begin.',
    fails: 'link dsl { device "eth0 }',
    passes: 'link dsl { device "eth0" }',
  },
  'too-long': {
    severity: 'error',
    message: 'the policy is {size} characters long; at most {most} are read',
    about: 'A bound against files that are no policies.',
  },
  'too-many': {
    severity: 'warning',
    message: 'and {count} more findings that are not shown',
    about: 'At most 100 errors and 100 warnings of one file are shown.',
  },

  // The form.
  expected: {
    severity: 'error',
    message: 'expected {expected}, but here is {found}',
    about: 'Something is missing, or something else stands in its place.',
    fails: 'rule web when tcp -> ',
    passes: 'rule web when tcp -> local',
  },
  unclosed: {
    severity: 'error',
    message: 'the "{bracket}" that opens here is never closed',
    hint: 'a "{closing}" is missing',
    about: 'Shown where the bracket opens, since that is where to look.',
    fails: 'queue bulk { share 5%\nrule web when tcp -> bulk',
    passes: 'queue bulk { share 5% }\nrule web when tcp -> bulk',
  },
  'unknown-statement': {
    severity: 'error',
    message: 'no statement begins with "{found}"',
    hint: 'statements begin with link, queue, set, let, rule, default, expect, include or marks',
    about: 'The first word of a statement says what it is.',
    fails: 'rul web when tcp -> local',
    passes: 'rule web when tcp -> local',
  },
  'unknown-setting': {
    severity: 'error',
    message: 'a {block} has no setting "{found}"',
    about:
      'A link has `device`, `download`, `upload`, `overhead`, `tree`, `numtxqueues`, `ifb per`, `share tree with`, `bypass`, `replace`, `conntrack`; a queue has `share`, `ceiling`, `leaf`, `fair by`.',
    fails: 'link dsl { uplaod 20mbit }',
    passes: 'link dsl { upload 20mbit }',
  },
  'unknown-word': {
    severity: 'error',
    message: '"{found}" is nothing that a rule can look at',
    hint: 'a rule looks at origin, a protocol, local, remote, their ports, and what docs/language.md lists',
    about: 'Each condition begins with what it looks at.',
    fails: 'rule web when dport 443 -> local',
    passes: 'rule web when remote.port 443 -> local',
  },
  'missing-operator': {
    severity: 'error',
    message: '"and" or "or" is missing before "{found}"',
    about: 'Two conditions stand side by side.',
    fails: 'rule web when tcp remote.port 443 -> local',
    passes: 'rule web when tcp and remote.port 443 -> local',
  },
  'too-deep': {
    severity: 'error',
    message: 'more than {most} parentheses and "not"s within each other',
    about: 'A bound on nesting.',
  },
  'bad-name': {
    severity: 'error',
    message: '"{found}" cannot be a name',
    hint: NAME_RULE,
    about: `Names: ${NAME_RULE.replace('names ', 'they ')}.`,
    fails: 'rule 2fast when udp -> local',
    passes: 'rule fast-2 when udp -> local',
  },
  'reserved-name': {
    severity: 'error',
    message: '"{found}" is a word of the language and cannot be a name',
    about: 'Words that begin statements or join conditions are never names.',
    fails: 'set default = { 80 }',
    passes: 'set web = { 80 }\nrule web when remote.port in web -> local',
  },
  'two-queues': {
    severity: 'error',
    message: 'the rule gives a queue already, so not "{name}", too',
    about: 'A flow is in one queue.',
    fails: 'rule web when tcp -> local, seed',
    passes: 'rule web when tcp -> local, police 10mbit',
  },
  'queue-too-deep': {
    severity: 'error',
    message: 'more than {most} queues within each other',
    about: "HTB has eight levels, and the link's rate takes one.",
  },
  'unknown-fact': {
    severity: 'error',
    message: '"{found}" is nothing that can be said of a flow',
    about: 'What can be said of a flow in `expect` and `--flow`: see there.',
    fails: 'expect tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local colour 7 in local',
    passes: 'expect tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local dscp 7 in local',
  },
  'no-origin': {
    severity: 'error',
    message: 'it is not said who opened this flow',
    hint: 'add: origin local, origin remote or origin new',
    about: 'The origin decides which end is the local one: of `origin remote` it is the second.',
    fails: 'expect tcp 10.0.0.5:40000 -> 1.1.1.1:443 in local',
    passes: 'expect tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local in local',
  },
  'not-of-protocol': {
    severity: 'error',
    message: 'a flow of {protocol} has no {what}',
    hint: 'leave it out',
    about:
      'TCP, UDP, SCTP, DCCP and UDP-Lite have ports, and TCP alone has a TCP state. ICMP has types, which no rule looks at.',
    fails: 'expect icmp 10.0.0.5:40000 -> 1.1.1.1 origin local in local',
    passes: 'expect icmp 10.0.0.5 -> 1.1.1.1 origin local in local',
  },
  'mixed-families': {
    severity: 'error',
    message: 'this end is of another family than the first',
    about: 'A flow is IPv4 or IPv6.',
    fails: 'expect tcp 10.0.0.5:40000 -> [2606:4700::1111]:443 origin local in local',
    passes: 'expect tcp [fd00::5]:40000 -> [2606:4700::1111]:443 origin local in local',
  },

  // Files.
  'include-unreadable': {
    severity: 'error',
    message: '"{path}" cannot be read: {problem}',
    about: 'A path is looked up beside the file that includes.',
    fails: 'include "lann.gate"',
    passes: 'include "lan.gate"\nrule lan when remote in lan -> local',
  },
  'include-outside': {
    severity: 'error',
    message: '"{path}" is no file beside this one or below it',
    hint: 'included files lie in the folder of the file that includes them, or further down',
    about: 'A policy that somebody hands you reads nothing but what came with it.',
    fails: 'include "../lan.gate"',
    passes: 'include "lan.gate"\nrule lan when remote in lan -> local',
  },
  'include-again': {
    severity: 'error',
    message: '"{path}" is part of this policy already',
    hint: 'each file is included once; what it defines is known everywhere',
    about: 'A file that includes itself, at once or by others, or that is included twice.',
    fails: 'include "lan.gate"\ninclude "lan.gate"\nrule lan when remote in lan -> local',
    passes: 'include "lan.gate"\nrule lan when remote in lan -> local',
  },
  'include-too-many': {
    severity: 'error',
    message: 'at most {files} files make a policy, {depth} of them within each other',
    about: 'A bound against folders that lead into themselves.',
  },
  'include-too-long': {
    severity: 'error',
    message: 'with "{path}" the policy is too long',
    about: 'The bound on the length of a policy holds for all of its files together.',
  },

  // Names.
  'duplicate-name': {
    severity: 'error',
    message: '{kind} "{name}" is there already, on line {line}',
    about: 'Two links, queues, sets or rules of one name.',
    fails: 'queue local { share 5% }',
    passes: 'queue games { share 5% }\nrule games when udp -> games',
  },
  'duplicate-setting': {
    severity: 'error',
    message: '{setting} is given already, on line {line}',
    about: 'A setting given twice in one block.',
    fails: 'link dsl { upload 20mbit upload 30mbit }',
    passes: 'link dsl { upload 20mbit download 30mbit }',
  },
  'duplicate-device': {
    severity: 'error',
    message: 'device {device} belongs to link "{link}" already',
    about: 'A device can be of one link only.',
    fails: 'link dsl { device ppp0 }\nlink cable { device ppp0 }',
    passes: 'link dsl { device ppp0 }\nlink cable { device eth1 }',
  },
  'duplicate-default': {
    severity: 'error',
    message: 'the default of {origin} is given already, on line {line}',
    about: 'Each origin has one default.',
    fails: 'default new -> local',
    passes: '# The first one counts, so leave the second one out.',
  },
  'duplicate-marks': {
    severity: 'error',
    message: 'marks are given already, on line {line}',
    about: 'The classes of all flows stand in the same bits.',
    fails: 'marks 0x00fe0000\nmarks 0x7f000000',
    passes: 'marks 0x7f000000',
  },
  'unknown-queue': {
    severity: 'error',
    message: 'there is no queue "{name}"',
    about: 'A rule or default sends flows to a queue that no statement defines.',
    fails: 'rule web when tcp -> sead',
    passes: 'rule web when tcp -> seed',
  },
  'unknown-set': {
    severity: 'error',
    message: 'there is no set "{name}"',
    about: 'A name behind `in` that no `set` statement defines.',
    fails: 'rule web when remote in lan -> local',
    passes: 'set lan = { 10.0.0.0/8 }\nrule web when remote in lan -> local',
  },
  'unused-set': {
    severity: 'warning',
    message: 'no rule uses set "{name}"',
    about: 'It does nothing; perhaps a rule names another set.',
    fails: 'set lan = { 10.0.0.0/8 }',
    passes: 'set lan = { 10.0.0.0/8 }\nrule web when remote in lan -> local',
  },

  'unused-let': {
    severity: 'warning',
    message: 'nothing uses "{name}"',
    about: 'A constant that does nothing; perhaps another one is meant where it should stand.',
    fails: 'let line = 95mbit',
    passes: 'let line = 95mbit\nlink dsl { download line }',
  },
  'unknown-link': {
    severity: 'error',
    message: 'there is no link "{name}"',
    about: 'A link can only share the tree of another link of this policy.',
    fails: 'link dsl { share tree with wann }',
    passes: 'link dsl { share tree with wan }',
  },
  'inner-queue': {
    severity: 'error',
    message: 'queue "{name}" holds queues, and flows go to one of those',
    hint: 'it holds: {inner}',
    about: 'Flows go to queues that hold no others.',
    fails: 'queue p2p { share 5% queue tcp { share 50% } }\nrule a when tcp -> tcp\nrule b when udp -> p2p',
    passes: 'queue p2p { share 5% queue tcp { share 50% } }\nrule a when tcp -> tcp',
  },

  // Values.
  'bad-value': {
    severity: 'error',
    message: '"{found}" is no value',
    about: 'Something that begins like a number and is none.',
    fails: 'rule web when remote.port 80%% -> local',
    passes: 'rule web when remote.port 80 -> local',
  },
  'bad-marks': {
    severity: 'error',
    message: '"{found}" is no field of the mark',
    hint: 'write four to eight bits side by side in hexadecimal: marks 0x7f000000',
    about: 'A class is a number, and stands in bits that are side by side.',
    fails: 'marks 0xf0f00000',
    passes: 'marks 0x0ff00000',
  },
  'narrow-marks': {
    severity: 'error',
    message: '{found} has room for {room} classes, and there are {count} queues',
    hint: 'take more bits: seven have room for every policy',
    about: 'Each queue that flows go to has a number in the mark.',
  },
  'unknown-unit': {
    severity: 'error',
    message: '"{unit}" in "{found}" is no unit',
    hint: 'rates: kbit, mbit, gbit, MB/s; bytes: kB, MB, MiB; durations: ms, s, m, h, d; shares: %',
    about:
      "Rates have tc's units: `bit`, `kbit`, `mbit`, `gbit`, `tbit` (per second, in steps of 1000), or those of bytes with `/s`: `MB/s`. Bytes: `B`, `kB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB`, `TiB`. Durations: `ms`, `s`, `m`, `h`, `d`.",
    fails: 'link dsl { download 100Mb/s }',
    passes: 'link dsl { download 100mbit }',
  },
  'split-value': {
    severity: 'error',
    message: '"{number} {unit}" is written as one word',
    hint: 'write {number}{unit}',
    about: 'A number and its unit stand together.',
    fails: 'link dsl { download 100 mbit }',
    passes: 'link dsl { download 100mbit }',
  },
  'bad-address': {
    severity: 'error',
    message: '"{found}" is not an address or prefix: {why}',
    about: 'IPv4 in four decimal numbers, IPv6 as in RFC 4291, and `/` with the number of leading bits.',
    fails: 'rule web when remote 10.0.0.256 -> local',
    passes: 'rule web when remote 10.0.0.255 -> local',
  },
  'host-bits': {
    severity: 'error',
    message: '"{found}" has bits set behind its first {length}',
    hint: 'write {masked}, or {address} for that one address',
    about: 'A prefix that is written like an address leaves open which of both is meant.',
    fails: 'rule lan when remote in 192.168.1.1/16 -> local',
    passes: 'rule lan when remote in 192.168.0.0/16 -> local',
  },
  'wrong-type': {
    severity: 'error',
    message: '{what} needs {expected}, but "{found}" is {actual}',
    about: 'Values have types; they do not mix.',
    fails: 'link dsl { download 70% }',
    passes: 'link dsl { download 70mbit }',
  },
  'wrong-set': {
    severity: 'error',
    message: '{subject} is compared with {expected}, but set "{name}" holds {actual}',
    about: 'A set of ports where addresses are needed, or the reverse.',
    fails: 'set web = { 80, 443 }\nrule web when remote in web -> local',
    passes: 'set web = { 80, 443 }\nrule web when remote.port in web -> local',
  },
  'mixed-set': {
    severity: 'error',
    message: '"{found}" is {actual}, but "{first}" before it is {expected}',
    hint: 'a set holds prefixes, ports or names; make two sets',
    about: 'A set holds values of one type.',
    fails: 'set lan = { 10.0.0.0/8, 80 }\nrule lan when remote in lan -> local',
    passes: 'set lan = { 10.0.0.0/8, fd00::/8 }\nrule lan when remote in lan -> local',
  },
  'empty-list': {
    severity: 'error',
    message: 'there is nothing between these braces',
    about: 'Nothing could ever be in an empty list.',
    fails: 'rule web when remote.port in { } -> local',
    passes: 'rule web when remote.port in { 80 } -> local',
  },
  'nested-set': {
    severity: 'error',
    message: '"{name}" is a name, and a list holds values only',
    hint: 'join two conditions: ... in {name} or ... in { ... }',
    about: 'Sets do not contain sets.',
    fails: 'set lan = { 10.0.0.0/8 }\nrule lan when remote in lan or remote in { lan, fd00::/8 } -> local',
    passes: 'set lan = { 10.0.0.0/8 }\nrule lan when remote in lan or remote in { fd00::/8 } -> local',
  },
  'unknown-value': {
    severity: 'error',
    message: '"{found}" is not {what}',
    hint: 'known: {known}',
    about: 'A word where only certain words can stand: an origin, a family, a protocol, a leaf.',
    fails: 'rule web when origin outside -> local',
    passes: 'rule web when origin remote -> local',
  },
  'out-of-range': {
    severity: 'error',
    message: '{what} is {range}, not {found}',
    about:
      'Ports are 0 to 65535, protocols 0 to 255, DSCPs 0 to 63; shares and ceilings are above 0% and at most 100%; durations end at a year, windows of rates go from 1s to 10m.',
    fails: 'rule web when remote.port 70000 -> local',
    passes: 'rule web when remote.port 7000 -> local',
  },
  'reversed-range': {
    severity: 'error',
    message: 'the range {first}-{last} is the wrong way round',
    hint: 'write {last}-{first}',
    about: 'Ranges go from the lower to the higher value, both included. Only times of day and days run over the end.',
    fails: 'rule bt when local.port in 6889-6881 -> seed',
    passes: 'rule bt when local.port in 6881-6889 -> seed',
  },
  'no-range': {
    severity: 'error',
    message: '{what} has no ranges',
    about: 'Only ports come in ranges; addresses come in prefixes.',
    fails: 'rule lan when remote in 10.0.0.1-10.0.0.9 -> local',
    passes: 'rule lan when remote in 10.0.0.0/28 -> local',
  },
  'no-order': {
    severity: 'error',
    message: '"{operator}" does not fit {subject}, which has no order',
    hint: 'use in, not in, = or !=',
    about: 'Ports, DSCPs, zones, measures and counts are compared by size; the rest is equal or not.',
    fails: 'rule web when origin > local -> local',
    passes: 'rule web when remote.port > 1023 -> local',
  },
  'one-value': {
    severity: 'error',
    message: '"{operator}" compares with one value',
    hint: 'for several values write in { ... }',
    about: '`<`, `<=`, `>` and `>=` have one number behind them.',
    fails: 'rule web when remote.port > { 80, 443 } -> local',
    passes: 'rule web when remote.port > 443 -> local',
  },
  'no-comparison': {
    severity: 'error',
    message: '{subject} is compared with <, <=, >, >=, = or !=',
    about:
      'Measures and counts change all the time: that they have one certain value is rarely meant, and says so with "=".',
    fails: 'rule bulk when bytes.in 50MB -> seed',
    passes: 'rule bulk when bytes.in > 50MB -> seed',
  },
  'no-moment': {
    severity: 'error',
    message: '{found} is a moment, and time is compared with ranges',
    hint: 'write time in {found}-24:00',
    about: 'A rule that holds for one minute of the day is rarely meant; 12:00-12:01 says so.',
    fails: 'rule night when time 22:00 -> seed',
    passes: 'rule night when time in 22:00-06:00 -> seed',
  },
  'bad-pattern': {
    severity: 'error',
    message: '"{found}" cannot be {what}: {why}',
    about:
      'A name that nothing can have, so that the condition would never hold. `*` stands for any characters, up to eight times in a pattern.',
    fails: 'rule bt when unit qbittorrent -> seed',
    passes: 'rule bt when unit qbittorrent.service -> seed',
  },
  'bad-device': {
    severity: 'error',
    message: '"{found}" cannot be the name of a network device',
    hint: 'at most 15 ASCII characters, without blanks, "/" and ":"',
    about: 'As the kernel has it (dev_valid_name in net/core/dev.c); a name that is no word here is written in quotes.',
    fails: 'link dsl { device "eth 0" }',
    passes: 'link dsl { device "6in4-wan" }',
  },
  'absurd-rate': {
    severity: 'error',
    message: '{setting} {found} is no rate of a link',
    hint: 'links have 8kbit to 1tbit; a unit may be wrong',
    about: 'Almost always a slip in the unit.',
    fails: 'link dsl { download 100bit }',
    passes: 'link dsl { download 100mbit }',
  },
  'bytes-per-second': {
    severity: 'warning',
    message: '"{found}" is in bytes per second: {rate}',
    hint: 'for bits per second write {bits}; to keep it, write {rate}, or MB/s for mbps',
    about: 'tc reads `mbps` as megabytes per second, and so does Headgate; most people mean megabits.',
    fails: 'link dsl { download 100mbps }',
    passes: 'link dsl { download 100mbit }',
  },

  // The machine.
  unserved: {
    severity: 'warning',
    message: 'this machine cannot serve "{subject}": {lack}',
    about:
      'Until that is so the word is not known of a flow, and its rule does not match (`unit` does where a cgroup is named like one). `check` looks at the machine that it runs on; with `--no-machine` it looks at the file alone.',
    fails: 'rule bulk when bytes > 50MB -> local',
    passes: 'rule web when remote.port 443 -> local',
  },

  // The whole.
  'no-link': {
    severity: 'warning',
    message: 'the policy has no link, so nothing is shaped',
    hint: 'add: link wan { device NAME  download RATE  upload RATE }',
    about: 'What is left out of a link block may come from the command line, but the block must be there.',
    fails: 'queue all { share 100% }\ndefault local -> all  remote -> all  new -> all',
    whole: true,
    passes: 'link wan { }\nqueue all { share 100% }\ndefault local -> all  remote -> all  new -> all',
  },
  'no-queue': {
    severity: 'error',
    message: 'the policy has no queue',
    hint: 'add: queue NAME { share 100% }',
    about: 'Every flow needs a queue to go to.',
    fails: 'link wan { }',
    whole: true,
    passes: 'link wan { }\nqueue all { share 100% }\ndefault local -> all  remote -> all  new -> all',
  },
  'no-default': {
    severity: 'error',
    message: 'there is no default for {origins}',
    hint: 'add: default {example}',
    about: 'A flow that no rule matches goes to the default of its origin: local, remote and new each need one.',
    fails: 'link wan { }\nqueue all { share 100% }\ndefault local -> all  remote -> all',
    whole: true,
    passes: 'link wan { }\nqueue all { share 100% }\ndefault local -> all  remote -> all  new -> all',
  },
  'too-many-queues': {
    severity: 'error',
    message: 'this is queue {number}; there is room for {most}',
    about: "A queue's number must fit into our seven bits of the conntrack mark.",
  },
  'missing-share': {
    severity: 'error',
    message: 'queue "{name}" has no share',
    hint: 'add: share 10%',
    about: 'The share is the part of the link that a queue is sure of.',
    fails: 'queue games { ceiling 50% }\nrule games when udp -> games',
    passes: 'queue games { share 5% ceiling 50% }\nrule games when udp -> games',
  },
  'shares-over': {
    severity: 'error',
    message: 'with this queue the shares{where} add up to {sum}%',
    hint: 'shares are what queues are sure of: all together at most 100%; what a queue may take when others leave room is its ceiling',
    about: 'No link can promise more than it has.',
    fails: 'queue games { share 25% }\nrule games when udp -> games',
    passes: 'queue games { share 15% }\nrule games when udp -> games',
  },
  'ceiling-below-share': {
    severity: 'error',
    message: 'queue "{name}" has a ceiling of {ceiling}%, below its share of {share}%',
    about: 'A queue cannot be sure of more than it may have.',
    fails: 'queue games { share 10% ceiling 5% }\nrule games when udp -> games',
    passes: 'queue games { share 5% ceiling 10% }\nrule games when udp -> games',
  },
  'inner-setting': {
    severity: 'warning',
    message: 'queue "{name}" holds queues, so its {setting} does nothing',
    about: 'Packets wait in the queues that hold no others.',
    fails: 'queue p2p { share 5% leaf sfq queue tcp { share 50% } }\nrule a when tcp -> tcp',
    passes: 'queue p2p { share 5% queue tcp { share 50% leaf sfq } }\nrule a when tcp -> tcp',
  },
  'shared-setting': {
    severity: 'error',
    message: 'link "{name}" uses the tree of "{other}", so it has no {setting} of its own',
    about: 'Rates, overhead and kind are those of the tree.',
    fails: 'link dsl { share tree with wan download 50mbit }',
    passes: 'link dsl { share tree with wan device ppp0 }',
  },
  'shared-share': {
    severity: 'error',
    message: 'link "{other}" has no tree of its own: it uses that of "{further}"',
    hint: 'share with the link whose tree it is',
    about: 'Links share the tree of a link that has one.',
    fails: 'link a { share tree with wan }\nlink b { share tree with a }',
    passes: 'link a { share tree with wan }\nlink b { share tree with wan }',
  },
  'too-many-places': {
    severity: 'error',
    message: 'tree {tree} has {most} {places}, too few for {count} queues',
    hint: 'tree htb has room for all',
    about: 'Each queue that flows can go to needs a band of prio, or a tin of cake.',
  },
  'prio-beside-cake': {
    severity: 'error',
    message: 'tree prio of link "{link}" cannot stand beside the tree cake of link "{other}"',
    hint: 'tree htb can stand beside both',
    about: "A flow's number in the conntrack mark is its band in prio, and its tin in cake: the orders differ.",
    fails: 'link dsl { tree cake }\nlink fibre { tree prio }',
    passes: 'link dsl { tree cake }\nlink fibre { tree htb }',
  },
  'tree-ignores': {
    severity: 'warning',
    message: 'tree {tree} of link "{link}" does not keep the {setting} of queue "{name}"',
    about:
      'prio knows the order of the queues alone, not how much they take, unless the leaf is a tbf, whose rate the ceiling is; a tin of cake is its own leaf, without a ceiling.',
    fails: 'link dsl { tree prio }\nqueue web { share 5% ceiling 50% }\nrule web when tcp -> web',
    passes: 'link dsl { tree prio }\nqueue web { share 5% ceiling 50% leaf tbf }\nrule web when tcp -> web',
  },
  'tin-below-share': {
    severity: 'warning',
    message:
      'in the cake of link "{link}" queue "{name}" is tin {tin}, sure of {part}% of the rate and not of its share, {share}%',
    hint: 'tree htb gives each queue its share',
    about: 'The parts of the tins are fixed; each queue gets the one whose part is nearest to its share, all in all.',
    fails: 'link dsl { tree cake }\nqueue web { share 15% }\nrule web when tcp -> web',
    passes: 'link dsl { tree cake }',
  },
  'queue-without-ifb': {
    severity: 'error',
    message: 'queue "{name}" would be on no ifb: no default leads into it, and link "{link}" has an ifb per origin',
    hint: 'nest it in the queue of the origin whose flows it takes',
    about:
      'The ifb of an origin has the outermost queue that the default of this origin leads into, and those nested in it.',
    fails:
      'link dsl { ifb per origin }\nqueue local { share 60% }\nqueue web { share 10% }\nqueue other { share 30% }\nrule web when tcp -> web\ndefault local -> local  remote -> other  new -> other',
    passes:
      'link dsl { ifb per origin }\nqueue outer { share 70%\n  queue local { share 60% }\n  queue web { share 40% }\n}\nqueue other { share 30% }\nrule web when tcp -> web\ndefault local -> local  remote -> other  new -> other',
    whole: true,
  },
  'cake-per-origin': {
    severity: 'error',
    message: 'tree cake of link "{link}" cannot be cut into an ifb per origin',
    hint: 'tree htb and tree prio can',
    about: "A cake's tins are all on one ifb.",
    fails:
      'link dsl { tree cake ifb per origin }\nqueue local { share 70% }\nqueue other { share 30% }\ndefault local -> local  remote -> other  new -> other',
    passes:
      'link dsl { tree prio ifb per origin }\nqueue local { share 70% }\nqueue other { share 30% }\ndefault local -> local  remote -> other  new -> other',
    whole: true,
  },
  'rate-unused': {
    severity: 'warning',
    message: 'nobody has {part}% of the rate of link "{link}": separate ifbs do not borrow what is left',
    hint: 'let the shares of the origins come to 100%',
    about: 'With `ifb per origin` each ifb has the share of its queue, and no more.',
    fails:
      'link dsl { ifb per origin }\nqueue local { share 70% }\nqueue other { share 10% }\ndefault local -> local  remote -> other  new -> other',
    passes:
      'link dsl { ifb per origin }\nqueue local { share 70% }\nqueue other { share 30% }\ndefault local -> local  remote -> other  new -> other',
    whole: true,
  },
  'ceiling-per-origin': {
    severity: 'warning',
    message:
      'queue "{name}" takes its share of link "{link}" and no more, since an ifb per origin lends nothing: its ceiling says nothing',
    about: 'A queue that is nested in another keeps its ceiling: the queues on one ifb borrow from one another.',
    fails:
      'link dsl { ifb per origin }\nqueue local { share 70% ceiling 80% }\nqueue other { share 30% }\ndefault local -> local  remote -> other  new -> other',
    passes:
      'link dsl { ifb per origin }\nqueue local { share 70% }\nqueue other { share 30% }\ndefault local -> local  remote -> other  new -> other',
    whole: true,
  },
  'preset-and-more': {
    severity: 'error',
    message: '"{preset}" says all about the line, so "{found}" is too much',
    hint: 'leave it out, or write the number of bytes instead of the name',
    about: 'A named overhead has its bytes, mpu and layer.',
    fails: 'link dsl { overhead docsis mpu 84 }',
    passes: 'link dsl { overhead 18 mpu 84 }',
  },
  'until-without-queue': {
    severity: 'error',
    message: '"until" leaves a queue, and {name} gives none',
    about: 'What a rule adds to a set ends by its own duration.',
    fails: 'rule slow when udp -> police 1mbit until idle > 5s',
    passes: 'rule slow when udp -> seed, police 1mbit until idle > 5s',
  },
  'failed-expect': {
    severity: 'error',
    message: 'this flow goes to queue "{actual}", not to "{queue}": by {by}',
    about: 'An `expect` line is run with every check; it fails when a change of the rules changes what it says.',
    fails: 'rule web when remote.port 443 -> seed\nexpect tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local in local',
    passes: 'rule web when remote.port 80 -> seed\nexpect tcp 10.0.0.5:40000 -> 1.1.1.1:443 origin local in local',
  },
  'unreached-queue': {
    severity: 'warning',
    message: 'nothing goes to queue "{name}"',
    hint: 'no default names it, nor does a rule that can match',
    about: 'Its share is lent to the others; probably a rule is missing.',
    fails: 'queue games { share 5% }',
    passes: 'queue games { share 5% }\nrule games when udp -> games',
  },
  'shadowed-rule': {
    severity: 'warning',
    message: 'rule "{name}" never decides: rule "{by}" on line {line} matches first',
    hint: 'the first rule that matches decides; put the narrower one above',
    about:
      'Whenever it matches, an earlier rule does: told by comparing ranges, prefixes, sets, measures and times, not by the words.',
    fails: 'rule strangers when origin remote -> seed\nrule web when origin remote and tcp -> local',
    passes: 'rule web when origin remote and tcp -> local\nrule strangers when origin remote -> seed',
  },
  'shadowed-together': {
    severity: 'warning',
    message: 'rule "{name}" never decides: the {count} rules above that match first leave nothing to it',
    about: 'No single earlier rule matches whenever this one does, but one of several always does.',
    fails: 'rule a when tcp -> seed\nrule b when not tcp -> local\nrule c when remote.port 443 -> new',
    passes: 'rule c when remote.port 443 -> new\nrule a when tcp -> seed\nrule b when not tcp -> local',
  },
  contradiction: {
    severity: 'warning',
    message: 'this never holds: "{first}" excludes "{second}"',
    hint: 'did you mean "or"?',
    about:
      'No flow can meet both, joined by `and`: two origins, protocols or families, ports that are apart, prefixes of which none holds the other, amounts above and below, a port of ICMP, a TCP state of UDP.',
    fails: 'rule web when tcp and udp -> local',
    passes: 'rule web when tcp or udp -> local',
  },
  'never-holds': {
    severity: 'warning',
    message: '"{text}" never holds',
    about: 'Nothing is less than nothing, and no flow fails everything.',
    fails: 'rule idle when bytes.in < 0B -> seed',
    passes: 'rule idle when bytes.in = 0B -> seed',
  },
} as const satisfies Record<string, Entry>;

export type DiagnosticCode = keyof typeof CATALOGUE;

type Fields<T> = T extends `${string}{${infer Name}}${infer Rest}` ? WithoutBlanks<Name> | Fields<Rest> : never;
/** `{ ... }` in a template is an example's braces. */
type WithoutBlanks<T extends string> = T extends `${string} ${string}` ? never : T;
/** The fields that a code's templates are filled from. */
export type FieldsOf<C extends DiagnosticCode> =
  | Fields<(typeof CATALOGUE)[C]['message']>
  | ((typeof CATALOGUE)[C] extends { hint: infer H } ? Fields<H> : never);
