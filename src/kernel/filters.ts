import { type Count, formatMark } from '../model/index.ts';
import {
  type FilterSigns,
  isOurFilter,
  type TcAction,
  type TcFilter,
  type TcMatch,
  type U32Key,
} from '../shape/index.ts';
import { isGone, run, type Where } from './command.ts';

/** A tc filter as the kernel tells it. */
export interface Filter extends FilterSigns, Pick<TcFilter, 'protocol'> {
  /** Of kinds that have numbers for them; fw has the mark. */
  readonly handle?: number | undefined;
  /** BPF: for getBpfCounters. */
  readonly programId?: number | undefined;
  /** What it has redirected to which device. */
  readonly redirected?: (Count & { readonly to: string }) | undefined;
  /** What it does, where it is of a kind that we make ourselves, and says nothing that ours do not. */
  readonly filter?: TcFilter | undefined;
}

/** Filters of all chains at `ingress` or `egress` of a device's clsact, or at a qdisc such as `7fe1:`. One entry a filter. */
export async function listFilters(device: string, parent: string, where: Where = {}): Promise<Filter[]> {
  const at = parent.endsWith('gress') ? [parent] : ['parent', parent];
  const argv = ['tc', '-statistics', '-json', 'filter', 'show', 'dev', device, ...at] as const;
  return readFilters(await run(argv, where).catch(ifGone));
}

/** Numbers of the chains at a device's `ingress`, also of those without filters. */
export async function listChains(device: string, where: Where = {}): Promise<number[]> {
  const text = await run(['tc', 'chain', 'show', 'dev', device, 'ingress'], where).catch(ifGone);
  return [...text.matchAll(/\bchain (\d+)/g)].map(([, number]) => Number(number));
}

/** Devices come and go, each container brings some: one that has gone since it was listed has nothing. */
function ifGone(error: unknown): string {
  if (isGone(error)) return '';
  throw error;
}

/** Reads what `tc -json filter show` prints. */
export function readFilters(text: string): Filter[] {
  const filters = text.trim() === '' ? [] : (JSON.parse(mend(text)) as TcJson[]);
  return (
    filters
      // tc prints a head for each pref, and for each table of u32, before the filters below it.
      .filter(({ options }) => options !== undefined && !('ht_divisor' in options))
      .map(({ kind, pref, protocol, chain = 0, options = {} }) => {
        const match = readMatch(kind, options);
        const actions = (options.actions ?? []).map(readAction);
        const known = match !== undefined && actions.every((action) => action !== undefined);
        const classid = options.flowid ?? options.classid;
        return {
          kind,
          pref,
          chain,
          protocol,
          handle: readHandle(options),
          bpfName: options.bpf_name,
          goesTo: (options.actions ?? []).find((action) => action.control_action?.chain !== undefined)?.control_action
            ?.chain,
          programId: options.prog?.id,
          redirected: (options.actions ?? []).map(readRedirected).find((redirected) => redirected),
          filter: known ? { chain, pref, protocol, match, classid, actions } : undefined,
        };
      })
  );
}

/** As {@link isOurFilter}, of one filter as `tc filter show` prints it. */
export function isOurPrinted(text: string): boolean {
  const [, pref, kind, chain] = /\bpref (\d+) (\S+)(?: chain (\d+))?/.exec(text) ?? [];
  const goesTo = /\bgoto chain (\d+)/.exec(text)?.[1];
  return isOurFilter({
    pref: Number(pref),
    kind: kind ?? '',
    chain: Number(chain ?? 0),
    bpfName: /\S+:\[\w+\]/.exec(text)?.[0],
    goesTo: goesTo === undefined ? undefined : Number(goesTo),
  });
}

/**
 * iproute2 (6.1 at least) prints the handle of fw as bare words (f_fw.c), and all keys of a u32 filter under one name (f_u32.c).
 */
function mend(text: string): string {
  let keys = 0;
  return text
    .replace(/"options":\{([^"}]+)(["}])/g, (_, words: string, next: string) => {
      const value = JSON.stringify(words.trim());
      return `"options":{"words":${value}${next === '"' ? ',"' : '}'}`;
    })
    .replace(/"match":\{/g, () => `"match${keys++}":{`);
}

interface TcJson {
  readonly kind: string;
  readonly pref: number;
  readonly protocol: string;
  readonly chain?: number;
  readonly options?: TcOptions;
}
interface TcOptions {
  readonly handle?: string | number;
  /** Of u32: `TABLE:BUCKET:NODE`, hexadecimal, without zeros. */
  readonly fh?: string;
  readonly bpf_name?: string;
  readonly prog?: { readonly id?: number };
  readonly words?: string;
  readonly flowid?: string;
  readonly classid?: string;
  readonly keys?: Readonly<Record<string, unknown>>;
  readonly actions?: readonly TcJsonAction[];
}
interface TcJsonAction {
  readonly kind: string;
  readonly control_action?: { readonly type: string; readonly chain?: number };
  readonly cpmark?: string;
  readonly priority?: string;
  readonly mark?: number;
  readonly mask?: string;
  readonly mirred_action?: string;
  readonly direction?: string;
  readonly to_dev?: string;
  readonly stats?: Count;
  readonly zone?: number;
  /** Of ct: what it does besides looking up. */
  readonly action?: string;
}

/** Of u32: 12, 8 and 12 bits (TC_U32_HTID() and others in linux/pkt_cls.h). */
function readHandle({ handle, fh }: TcOptions): number | undefined {
  if (fh === undefined) return handle === undefined ? undefined : Number(handle);
  const [table, bucket, node] = fh.split(':').map((part) => Number(`0x${part || '0'}`));
  return ((table! << 20) | (bucket! << 12) | node!) >>> 0;
}

const readRedirected = ({ mirred_action, to_dev, stats }: TcJsonAction): Filter['redirected'] =>
  mirred_action === 'redirect' && to_dev !== undefined && stats
    ? { to: to_dev, packets: stats.packets, bytes: stats.bytes }
    : undefined;

function readMatch(kind: string, options: TcOptions): TcMatch | undefined {
  switch (kind) {
    case 'u32':
      return { kind, keys: readU32Keys(options) };
    case 'flower':
      return { kind, keys: readFlowerKeys(options.keys ?? {}) };
    case 'fw': {
      const [, mark, mask] = /handle (0x[0-9a-f]+)\/(0x[0-9a-f]+)/.exec(options.words ?? '') ?? [];
      return mask === undefined ? undefined : { kind, mark: Number(mark), mask: Number(mask) };
    }
    case 'bpf': {
      const [, object, section] = /^(.*):\[(.*)\]$/.exec(options.bpf_name ?? '') ?? [];
      return section === undefined ? undefined : { kind, object: object!, section };
    }
    default:
      return undefined;
  }
}

function readU32Keys(options: object): U32Key[] {
  const keys = Object.entries(options).filter(([name]) => /^match\d+$/.test(name));
  return (keys as [string, { value: string; mask: string; off: number }][])
    .map(([, { value, mask, off }]) => ({ value: Number(`0x${value}`), mask: Number(`0x${mask}`), at: off }))
    .filter(({ mask }) => mask !== 0);
}

/** As tc takes them; what is not written so by us stays as tc prints it. */
function readFlowerKeys(keys: Readonly<Record<string, unknown>>): Record<string, string> {
  const read: Record<string, string> = {};
  for (const [name, value] of Object.entries(keys)) {
    if (name === 'ct_mark_mask') continue;
    if (name === 'ct_mark') read[name] = `${formatMark(Number(value))}/0x${keys.ct_mark_mask}`;
    else if (name === 'ip_flags') read[name] = Object.keys(value as object).join('/');
    else read[name] = String(value);
  }
  return read;
}

/** Anything but a look into the default zone, and making an entry there, is none of ours. */
const readCt = ({ zone, action }: TcJsonAction): TcAction | undefined =>
  zone || (action !== undefined && action !== 'commit') ? undefined : { kind: 'ct', ...(action && { commit: true }) };

function readAction(action: TcJsonAction): TcAction | undefined {
  switch (action.kind) {
    case 'gact':
      if (action.control_action?.type === 'pass') return { kind: 'pass' };
      return action.control_action?.chain === undefined
        ? undefined
        : { kind: 'goto', chain: action.control_action.chain };
    case 'ct':
      return readCt(action);
    case 'connmark':
      return action.zone ? undefined : { kind: action.kind };
    case 'ctinfo':
      return action.cpmark === undefined ? undefined : { kind: action.kind, cpmark: Number(action.cpmark) };
    case 'skbedit':
      return action.priority === undefined || action.mask !== undefined
        ? undefined
        : { kind: 'skbedit', priority: action.priority, mark: action.mark };
    case 'mirred':
      return action.mirred_action === 'redirect' && action.direction === 'egress' && action.to_dev !== undefined
        ? { kind: 'redirect', device: action.to_dev }
        : undefined;
    default:
      return undefined;
  }
}
