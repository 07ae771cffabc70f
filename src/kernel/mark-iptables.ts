import { type MarkUse, softwareOf, WHOLE_MARK } from '../model/index.ts';

/** What `iptables-save` tells that concerns marks. */
export interface IptablesMarks {
  readonly uses: readonly MarkUse[];
  /** Names of chains. */
  readonly names: readonly string[];
}

type Use = Omit<MarkUse, 'who' | 'where'>;

/** Reads what `iptables-save`, or `ip6tables-save`, prints: iptables-extensions(8), mark, connmark, MARK, CONNMARK, TPROXY, HMARK. */
export function readIptablesMarks(text: string, tool: 'iptables' | 'ip6tables'): IptablesMarks {
  const uses = new Map<string, MarkUse>();
  const names: string[] = [];
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    if (line.startsWith(':')) names.push(line.slice(1).split(' ', 1)[0]!);
    if (!line.startsWith('-A ')) continue;
    const chain = line.split(' ', 2)[1]!;
    const software = /--comment "?wg-quick\(8\)/.test(line) ? 'wg-quick' : softwareOf(chain);
    const where = `${tool} table ${table} chain ${chain}`;
    for (const use of readRule(line))
      if (use.bits !== 0 || use.whole)
        uses.set(JSON.stringify([where, use]), { who: software ?? `${tool} table ${table}`, where, ...use });
  }
  return { uses: [...uses.values()], names };
}

function* readRule(line: string): Generator<Use> {
  for (const [, module, value, mask] of line.matchAll(MATCH)) {
    const of = module === 'connmark' ? 'ct' : 'packet';
    yield mask === undefined ? { of, bits: Number(value), whole: 'compares' } : { of, bits: Number(mask) };
  }
  const [, target, options = ''] = / -[jg] (\S+)(.*)/.exec(line) ?? [];
  const [, value, mask] = OPTION.exec(options) ?? [];
  if (target === 'MARK' && value !== undefined) yield { of: 'packet', bits: bitsOf(value, mask) };
  if (target === 'TPROXY' && value !== undefined) yield { of: 'packet', bits: bitsOf(value, mask) };
  if (target === 'HMARK') {
    const most =
      Number(/--hmark-mod (\S+)/.exec(options)?.[1]) + Number(/--hmark-offset (\S+)/.exec(options)?.[1] ?? 0);
    yield { of: 'packet', bits: 2 ** (32 - Math.clz32(most)) - 1 };
  }
  if (target === 'CONNMARK') yield* readConnmark(options, value, mask);
}

function* readConnmark(options: string, value: string | undefined, mask: string | undefined): Generator<Use> {
  if (value !== undefined) {
    const whole = Number(mask ?? WHOLE_MARK) === WHOLE_MARK;
    yield { of: 'ct', bits: bitsOf(value, mask), whole: whole ? 'overwrites' : undefined };
    return;
  }
  const both = /--mask (\S+)/.exec(options)?.[1];
  const ct = Number(/--ctmask (\S+)/.exec(options)?.[1] ?? both ?? WHOLE_MARK);
  const packet = Number(/--nfmask (\S+)/.exec(options)?.[1] ?? both ?? WHOLE_MARK);
  const save = options.includes('--save-mark');
  // What is copied with all bits says nothing of which are used: who sets and compares them does.
  const of = (bits: number) => (bits === WHOLE_MARK ? 0 : bits);
  yield { of: 'ct', bits: of(ct), whole: save && ct === WHOLE_MARK ? 'overwrites' : undefined };
  yield { of: 'packet', bits: of(packet), whole: !save && ct === WHOLE_MARK ? 'restores' : undefined };
}

const MATCH = / -m (mark|connmark) (?:! )?--mark (0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+|\d+))?/g;
const OPTION = / --(?:set-xmark|set-mark|or-mark|xor-mark|tproxy-mark) (0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+|\d+))?/;

/** A mask of all bits means the value alone, in the place of whatever was there. */
const bitsOf = (value: string, mask: string | undefined): number => {
  const bits = Number(mask ?? WHOLE_MARK);
  return (bits === WHOLE_MARK ? Number(value) : Number(value) | bits) >>> 0;
};
