import type { Place, Range, Trial } from './probe-trials.ts';
import type { Scratch } from './scratch.ts';

/** The packet counters of the scratch namespace. */
export interface Readings {
  /** Packets that each device took in: of an ifb, those that were redirected or copied to it. */
  readonly received: ReadonlyMap<string, number>;
  /** The root qdisc of each device, and what left through it. */
  readonly roots: ReadonlyMap<string, { readonly kind: string; readonly packets: number }>;
  /** nft's named counters. */
  readonly counters: ReadonlyMap<string, number>;
}

interface IpLink {
  readonly ifname: string;
  readonly stats64: { readonly rx: { readonly packets: number } };
}
interface TcQdisc {
  readonly dev: string;
  readonly kind: string;
  readonly root?: boolean;
  readonly packets: number;
}
interface NftList {
  readonly nftables: readonly { readonly counter?: { readonly name: string; readonly packets: number } }[];
}

export async function getReadings(scratch: Scratch): Promise<Readings> {
  const [links, qdiscs, counters] = await Promise.all([
    scratch.run(['ip', '-s', '-json', 'link', 'show']),
    scratch.run(['tc', '-s', '-json', 'qdisc', 'show']),
    // A kernel without nftables has none.
    scratch.run(['nft', '-json', 'list', 'counters']).catch(() => '{"nftables": []}'),
  ]);
  return {
    received: new Map((JSON.parse(links) as IpLink[]).map((l) => [l.ifname, l.stats64.rx.packets])),
    roots: new Map((JSON.parse(qdiscs) as TcQdisc[]).flatMap((q) => (q.root ? [[q.dev, q]] : []))),
    counters: new Map(
      (JSON.parse(counters) as NftList).nftables.flatMap(({ counter }) =>
        counter ? [[counter.name, counter.packets]] : [],
      ),
    ),
  };
}

/** What of a trial's proof the counters do not show. */
export interface Unmet {
  readonly how: string;
  /** More packets cannot change it. */
  readonly final: boolean;
}

/** Undefined where the counters show all that the trial has to show. */
export function unmetBy(readings: Readings, trial: Trial, { device, ifb, ...place }: Place): Unmet | undefined {
  if (trial.root !== undefined) {
    const root = readings.roots.get(device);
    if (root?.kind !== trial.root) return { how: `its root qdisc is ${root?.kind ?? 'none'}`, final: true };
    if (root.packets < 1) return { how: 'it sent no packet', final: false };
  }
  const named = trial.counter ? [trial.counter({ device, ifb, ...place })] : [];
  const counters = [...(trial.arrives ?? []).map((_, i) => `${device}-${i}`), ...named];
  for (const name of counters)
    if ((readings.counters.get(name) ?? 0) < 1) return { how: 'its nft counter is 0', final: false };
  return trial.ifb && outside(trial.ifb, readings.received.get(ifb) ?? 0);
}

function outside({ least, most }: Range, packets: number): Unmet | undefined {
  const how = `the ifb took in ${packets} of them`;
  if (packets < least) return { how, final: false };
  return most !== undefined && packets > most ? { how, final: true } : undefined;
}
