import { lastValueFrom, takeWhile, tap } from 'rxjs';
import { run } from './command.ts';
import { type ConntrackDumpOptions, conntrackDump } from './sources.ts';

/** A flowtable of nft, by which established flows go past netfilter. */
export interface Flowtable {
  /** `inet fw f`. */
  readonly name: string;
  readonly devices: readonly string[];
  /** Its flows may go into the card, past the kernel. */
  readonly hardware: boolean;
  /** It tells conntrack what its flows carry. */
  readonly counter: boolean;
}

/** What of the traffic goes past netfilter, as conntrack tells. */
export interface OffloadReading {
  readonly flowtables: readonly Flowtable[];
  /** Flows with IPS_OFFLOAD, and with IPS_HW_OFFLOAD. */
  readonly offloaded: number;
  readonly hardware: number;
  /**
   * Entries that were looked at for what they carried: the first {@link SAMPLE}, and none where none is offloaded. Of these: their bytes
   * where they are counted (nf_conntrack_acct), the offloaded ones' bytes, and how many are counted. Of the bytes that the card has sent not all are.
   */
  readonly looked: number;
  readonly bytes: number;
  readonly offloadedBytes: number;
  readonly counted: number;
}

/** linux/netfilter/nf_conntrack_common.h. */
const IPS_OFFLOAD = 1 << 14;
const IPS_HW_OFFLOAD = 1 << 15;

/** Entries that are looked at, of a table that may have millions: it is hashed, so the first are as good as any. */
const SAMPLE = 65_536;

/** Looks at the caller's flowtables and its conntrack table. @throws HeadgateError HG_KERNEL, HG_NOT_ROOT */
export async function getOffload(): Promise<OffloadReading> {
  // A kernel without flowtables calls the question invalid.
  const flowtables = readFlowtables(await run(['nft', 'list', 'flowtables']).catch(() => ''));
  const { offloaded, hardware } = await sum({ status: IPS_OFFLOAD });
  const sample = await sum({}, offloaded > 0 ? SAMPLE : 0);
  return { ...sample, flowtables, offloaded, hardware };
}

type Total = { -readonly [K in keyof Omit<OffloadReading, 'flowtables'>]: number };

/** Adds up the entries that the kernel tells of, the first `most` of them. */
async function sum(options: ConntrackDumpOptions, most = Infinity): Promise<Total> {
  const total = { looked: 0, offloaded: 0, hardware: 0, bytes: 0, offloadedBytes: 0, counted: 0 };
  if (most === 0) return total;
  const counting = conntrackDump(options).pipe(
    tap((batch) => {
      for (const { kind, status = 0, bytes } of batch)
        if (kind === 'dumpStart') for (const key of Object.keys(total)) total[key as keyof typeof total] = 0;
        else if (kind === 'dumped') add(total, status, bytes);
    }),
    takeWhile(() => total.looked < most),
  );
  await lastValueFrom(counting, { defaultValue: undefined });
  return total;
}

/** One entry of conntrack, to the sums. */
export function add(total: Total, status: number, bytes: number | undefined): void {
  const hardware = (status & IPS_HW_OFFLOAD) !== 0;
  const offloaded = hardware || (status & IPS_OFFLOAD) !== 0;
  total.looked++;
  if (offloaded) total.offloaded++;
  if (hardware) total.hardware++;
  if (bytes === undefined) return;
  total.counted++;
  total.bytes += bytes;
  if (offloaded) total.offloadedBytes += bytes;
}

/** Reads what `nft list flowtables` prints. Its JSON leaves the devices out (nft 1.0.6). */
export function readFlowtables(text: string): Flowtable[] {
  const tables: { name: string; devices: string[]; hardware: boolean; counter: boolean }[] = [];
  let table = '';
  for (const line of text.split('\n')) {
    table = /^table (\S+ \S+) \{/.exec(line)?.[1] ?? table;
    const name = /^\s*flowtable (\S+) \{/.exec(line)?.[1];
    if (name !== undefined) tables.push({ name: `${table} ${name}`, devices: [], hardware: false, counter: false });
    const last = tables.at(-1);
    if (!last) continue;
    const devices = /\bdevices = \{([^}]*)\}/.exec(line)?.[1];
    if (devices !== undefined) last.devices = devices.split(',').map((device) => device.trim().replaceAll('"', ''));
    if (/^\s*flags offload\b/.test(line)) last.hardware = true;
    if (/^\s*counter$/.test(line)) last.counter = true;
  }
  return tables;
}
