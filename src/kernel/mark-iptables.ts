import { type MarkUse, softwareOf, WHOLE_MARK } from '../model/index.ts';
import { and, compared, constant, joined, markOf, shifted, span, type Use, type Value, written } from './mark-value.ts';

/** What `iptables-save` tells that concerns marks. */
export interface IptablesMarks {
  readonly uses: readonly MarkUse[];
  /** Names of chains. */
  readonly names: readonly string[];
  /** Rules on marks that are not understood, as phrases. */
  readonly unseen: readonly string[];
}

/** Reads what `iptables-save`, or `ip6tables-save`, prints: iptables-extensions(8), mark, connmark, MARK, CONNMARK, TPROXY, HMARK. */
export function readIptablesMarks(text: string, tool: 'iptables' | 'ip6tables'): IptablesMarks {
  const uses = new Map<string, MarkUse>();
  const names: string[] = [];
  const unseen = new Set<string>();
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    if (line.startsWith(':')) names.push(line.slice(1).split(' ', 1)[0]!);
    if (!line.startsWith('-A ')) continue;
    const chain = line.split(' ', 2)[1]!;
    const software = /--comment "?wg-quick\(8\)/.test(line) ? 'wg-quick' : softwareOf(chain);
    const where = `${tool} table ${table} chain ${chain}`;
    const rule = readRule(line.replace(FREE_TEXT, ''));
    for (const use of rule.uses)
      if (use.bits !== 0 || use.whole)
        uses.set(JSON.stringify([where, use]), { who: software ?? `${tool} table ${table}`, where, ...use });
    if (!rule.understood)
      unseen.add(`a rule on marks in ${where}, which is not understood: ${line.slice(0, MOST_TEXT)}`);
  }
  return { uses: [...uses.values()], names, unseen: [...unseen] };
}

/** Characters of a rule that a person is shown. */
const MOST_TEXT = 200;

function readRule(line: string): { readonly uses: readonly Use[]; readonly understood: boolean } {
  const uses: Use[] = [];
  for (const [, module, value, mask] of line.matchAll(MATCH))
    uses.push(
      ...compared(and(markOf(module === 'connmark' ? 'ct' : 'packet'), Number(mask ?? WHOLE_MARK)), () =>
        Number(value),
      ),
    );
  const rest = line.replaceAll(MATCH, '');
  const [, target = '', options = ''] = / -[jg] (\S+)(.*)/.exec(rest) ?? [];
  const read = Object.hasOwn(TARGETS, target) ? TARGETS[target] : undefined;
  const effect = read?.(options);
  if (effect) uses.push(...effect);
  const others = [...rest.matchAll(MARKISH)].filter(
    ([, word]) => !(read && OF_TARGETS.test(word!)) && !HARMLESS.has(word!),
  );
  return { uses, understood: others.length === 0 && (read === undefined || effect !== undefined) };
}

/** What a target does by its options; undefined where they are not understood. */
const TARGETS: Readonly<Record<string, (options: string) => Iterable<Use> | undefined>> = {
  MARK: (options) => setPacket(options),
  TPROXY: (options) => (options.includes('--tproxy-mark') ? setPacket(options) : []),
  HMARK: (options) => {
    const mod = Number(/--hmark-mod (\S+)/.exec(options)?.[1]);
    const offset = Number(/--hmark-offset (\S+)/.exec(options)?.[1] ?? 0);
    return mod > 0 ? written('packet', constant(span(offset, offset + mod - 1))) : undefined;
  },
  CONNMARK: readConnmark,
};

function setPacket(options: string): Iterable<Use> | undefined {
  const set = readSet(options);
  return set && written('packet', replaced('packet', set.mask, constant(set.value)));
}

/** Words of a target that sets a mark: xt_MARK.c, xt_connmark.c, xt_TPROXY.c. */
function readSet(options: string): { readonly value: number; readonly mask: number } | undefined {
  const [, value, mask] = SET.exec(options) ?? [];
  if (value === undefined) return undefined;
  return { value: Number(value), mask: Number(mask ?? WHOLE_MARK) };
}

/** As connmark_tg_shift() does it (net/netfilter/xt_connmark.c): one mark, after a mask, is shifted and put in the place of bits of the other. */
function readConnmark(options: string): Iterable<Use> | undefined {
  const by = Number(/--left-shift-mark (\d+)/.exec(options)?.[1] ?? 0);
  const back = Number(/--right-shift-mark (\d+)/.exec(options)?.[1] ?? 0);
  const set = readSet(options);
  // Here the whole mark is shifted, when the value is in it.
  if (set) return written('ct', shifted(replaced('ct', set.mask, constant(set.value)), by - back));
  const both = /--mask (\S+)/.exec(options)?.[1];
  const ct = Number(/--ctmask (\S+)/.exec(options)?.[1] ?? both ?? WHOLE_MARK);
  const packet = Number(/--nfmask (\S+)/.exec(options)?.[1] ?? both ?? WHOLE_MARK);
  if (/ --save-mark\b/.test(options))
    return written('ct', replaced('ct', ct, shifted(and(markOf('packet'), packet), by - back)));
  if (/ --restore-mark\b/.test(options))
    return written('packet', replaced('packet', packet, shifted(and(markOf('ct'), ct), by - back)));
  return undefined;
}

/** `(mark & ~mask) ^ value`: of two registers, or a number, nothing cancels itself out. */
const replaced = (of: Use['of'], mask: number, value: Value): Value => joined(and(markOf(of), ~mask), value, '^')!;

const MATCH = / -m (mark|connmark) (?:! )?--mark (0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+|\d+))?(?= |$)/g;
const SET = / --(?:set-xmark|set-mark|or-mark|xor-mark|tproxy-mark) (0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+|\d+))?(?= |$)/;
/** What people write as they like. */
const FREE_TEXT = / --(?:comment|log-prefix|nflog-prefix) (?:"(?:[^"\\]|\\.)*"|\S+)/g;
/** Modules and options that are named after marks. */
const MARKISH = / (-m \S*mark\S*|--\S*mark\S*)(?= |$)/g;
/** Those of the targets that are read. */
const OF_TARGETS =
  /^--(?:(?:set-x|set-|or-|xor-|tproxy-|save-|restore-|left-shift-|right-shift-)mark|hmark-(?:tuple|mod|offset|rnd|(?:src|dst)-prefix|(?:sport|dport|spi|proto)(?:-mask)?))$/;
/** A packet that gets its socket's mark; a look at the routes, whose rules are read. */
const HARMLESS: ReadonlySet<string> = new Set(['--restore-skmark', '--validmark']);
