import { namedSet, readItems } from './check-operand.ts';
import { isDeviceName } from './check-value.ts';
import type { Token } from './lexer.ts';
import type { Condition } from './policy.ts';
import { resolveLet, type Scope } from './scope.ts';
import type { CompareSyntax, OperandSyntax } from './syntax.ts';
import { reportStranger } from './unserved.ts';
import type { SubjectOf } from './vocabulary.ts';

/** Longest pattern, and most stars in one: what comparing costs has to end. */
const MAX_PATTERN = 255;
const MAX_STARS = 8;
/** Highest user number: the last stands for none (uapi/linux/capability.h, (uid_t) -1). */
const MAX_USER = 2 ** 32 - 2;

interface Kind {
  /** How a message calls it. */
  readonly what: string;
  /** Why the text, in the form that is compared, is none; undefined where it is one. */
  readonly refuse: (text: string) => string | undefined;
  readonly normalize?: (text: string) => string;
}

const unless = (good: boolean, why: string): string | undefined => (good ? undefined : why);
const hasStar = (text: string): boolean => text.includes('*');

const KINDS: Readonly<Record<SubjectOf<'name'>, Kind>> = {
  device: {
    what: 'the name of a network device',
    refuse: (text) => unless(isDeviceName(text), 'it has at most 15 characters, without blanks, "/" and ":"'),
  },
  mac: {
    what: 'a hardware address',
    normalize: (text) => text.toLowerCase(),
    refuse: (text) =>
      unless(
        hasStar(text) ? /^[0-9a-f:*]{1,17}$/.test(text) : /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(text),
        'it has six pairs of hexadecimal digits: 02:00:5e:10:00:01',
      ),
  },
  helper: {
    what: 'the name of a conntrack helper',
    refuse: (text) => unless(/^[\w.*-]{1,15}$/.test(text), 'it has at most 15 letters and digits: ftp, sip, tftp'),
  },
  process: {
    what: 'the name of a process',
    refuse: (text) =>
      unless(
        hasStar(text) || new TextEncoder().encode(text).length <= 15,
        `the kernel keeps 15 bytes of it: write "${[...text].slice(0, 15).join('')}"`,
      ),
  },
  unit: {
    what: 'the name of a systemd unit',
    refuse: (text) => unless(hasStar(text) || text.includes('.'), `it ends in its type: ${text}.service`),
  },
  cgroup: {
    what: 'the path of a cgroup',
    refuse: (text) => unless(/^[/*]/.test(text), 'it begins with "/"'),
  },
  domain: {
    what: 'a domain name',
    normalize: (text) => text.toLowerCase().replace(/\.$/, ''),
    refuse: (text) =>
      unless(
        text.split('.').every((label) => /^[a-z0-9_*][a-z0-9_*-]{0,62}$/.test(label)),
        'it has letters, digits, hyphens and dots; others as xn--...',
      ),
  },
};

/** What is compared with names: words, or texts in quotes, in which `*` stands for any run of characters. */
export function checkPatterns({ subject, operand }: CompareSyntax, scope: Scope): Condition | undefined {
  const kind = subject.text as SubjectOf<'name'>;
  const patterns = readItems(operand, scope, (item) => {
    const value = resolveLet(item, scope);
    // The name of a set, unless a list holds it: sets do not nest.
    if (value.kind === 'word' && operand.kind !== 'list' && scope.sets.has(value.token.text)) {
      const names = namedSet(kind, 'name', value.token, scope);
      return names?.map((name) => readName({ ...value.token, text: name }, kind, scope));
    }
    return [readNameItem(value, kind, scope)];
  })?.flat();
  if (!patterns?.every((pattern) => pattern !== undefined)) return undefined;
  return { kind, patterns: [...new Set(patterns)] };
}

function readNameItem(item: OperandSyntax, kind: SubjectOf<'name'>, scope: Scope): string | undefined {
  if (item.kind === 'range') scope.diagnostics.add('no-range', item, { what: kind });
  if (item.kind === 'range' || item.kind === 'list' || item.kind === 'error') return undefined;
  return readName(item.token, kind, scope);
}

/** The name in the form in which it is compared. */
export function readName(token: Token, kind: SubjectOf<'name'>, scope: Scope): string | undefined {
  const { what, normalize, refuse } = KINDS[kind];
  const text = normalize ? normalize(token.text) : token.text;
  const stars = text.split('*').length - 1;
  const why =
    text.length === 0 || text.length > MAX_PATTERN
      ? `it has 1 to ${MAX_PATTERN} characters`
      : stars > MAX_STARS
        ? `it has at most ${MAX_STARS} stars`
        : refuse(text);
  if (why === undefined) return text;
  scope.diagnostics.add('bad-pattern', token, { found: token.text, what, why });
  return undefined;
}

/** Users by number or by name. */
export function checkUser({ operand }: CompareSyntax, scope: Scope): Condition | undefined {
  const users = readItems(operand, scope, (item) => readUser(resolveLet(item, scope), scope));
  return users && { kind: 'user', users: [...new Set(users)] };
}

export function readUser(item: OperandSyntax, scope: Scope): number | string | undefined {
  if (item.kind === 'range') scope.diagnostics.add('no-range', item, { what: 'user' });
  if (item.kind === 'range' || item.kind === 'list' || item.kind === 'error') return undefined;
  const { text, kind } = item.token;
  if (kind === 'literal' && /^\d+$/.test(text) && Number(text) <= MAX_USER) return Number(text);
  // As useradd(8) has it by default, and capitals, which some directories have.
  if (kind !== 'literal' && /^[A-Za-z_][\w.@-]{0,30}\$?$/.test(text)) {
    reportStranger(item, text, scope);
    return text;
  }
  scope.diagnostics.add('bad-pattern', item, {
    found: text,
    what: 'a user',
    why: `it is a name, or a number up to ${MAX_USER}`,
  });
  return undefined;
}
