import { readFile } from 'node:fs/promises';
import { arrivalCounter, ownCounter } from './probe-nft.ts';
import type { Attempt } from './probe-trial.ts';
import type { Scratch } from './scratch.ts';

/** The packet counters of the scratch namespace. */
export interface Readings {
  /** Packets that each device took in: an ifb, those that were redirected or copied to it. */
  readonly received: ReadonlyMap<string, number>;
  /** Qdiscs as `DEVICE KIND`, and what went through them. */
  readonly qdiscs: ReadonlyMap<string, number>;
  /** nft's named counters. */
  readonly counters: ReadonlyMap<string, number>;
}

interface TcQdisc {
  readonly dev: string;
  readonly kind: string;
  readonly packets: number;
}
interface NftList {
  readonly nftables: readonly { readonly counter?: { readonly name: string; readonly packets: number } }[];
}

export async function getReadings(scratch: Scratch): Promise<Readings> {
  const [devices, qdiscs, counters] = await Promise.all([
    readFile(scratch.deviceStatistics, 'utf8'),
    scratch.run(['tc', '-s', '-json', 'qdisc', 'show']),
    // A kernel without nftables has none.
    scratch.run(['nft', '-json', 'list', 'counters']).catch(() => '{"nftables": []}'),
  ]);
  return {
    // proc_pid_net(5): received bytes, then packets.
    received: new Map(
      [...devices.matchAll(/^ *(\S+): *\d+ +(\d+)/gm)].map(([, name, packets]) => [name!, Number(packets)]),
    ),
    qdiscs: new Map((JSON.parse(qdiscs) as TcQdisc[]).map((q) => [`${q.dev} ${q.kind}`, q.packets])),
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
  /** More packets will not change it. */
  readonly final: boolean;
}

/** Undefined where the counters show all that the trial has to show. */
export function unmetBy(readings: Readings, { trial, place }: Attempt): Unmet | undefined {
  if (trial.qdisc) {
    const { kind, packets: least } = trial.qdisc;
    const packets = readings.qdiscs.get(`${place.device} ${kind}`);
    if (packets === undefined) return { how: 'it is not there when read back', final: true };
    if (packets < least) return { how: 'it counted no packet', final: false };
  }
  const counters = [
    ...(trial.arrives ?? []).map((_, i) => arrivalCounter(place, i)),
    ...(trial.counts ? [ownCounter(place)] : []),
  ];
  if (counters.some((name) => !readings.counters.get(name))) return { how: 'its nft counter is 0', final: false };
  if (!trial.ifb) return undefined;
  const { least, most } = trial.ifb;
  const packets = readings.received.get(place.ifb) ?? 0;
  const how = `the ifb took in ${packets}`;
  if (packets < least) return { how, final: false };
  return most !== undefined && packets > most ? { how, final: true } : undefined;
}
