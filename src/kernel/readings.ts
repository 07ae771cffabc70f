import type { Rate } from '../model/index.ts';
import { execute } from './command.ts';
import { listDevices } from './netdev.ts';
import { getOffload, type OffloadReading } from './reading-offload.ts';
import { isClockSynchronised } from './shim/index.ts';
import { conntrackEvents, DEFAULT_RECEIVE_BUFFER } from './sources.ts';
import { getSpeed } from './survey.ts';
import { getSysctl } from './sysctl.ts';

/** What of a box bears on shaping, in numbers; absent: it could not be read. */
export interface Readings {
  readonly offload: OffloadReading;
  readonly devices: readonly DeviceReading[];
  readonly conntrack: { readonly count?: number | undefined; readonly max?: number | undefined };
  readonly bridge: {
    /** net.bridge.bridge-nf-call-iptables, -ip6tables: the families whose bridged packets netfilter sees. */
    readonly families: readonly ('IPv4' | 'IPv6')[];
    readonly bridges: readonly string[];
  };
  /** Bytes of a socket for conntrack's events: what was asked for, and what the kernel gave. */
  readonly receiveBuffer: { readonly asked: number; readonly given?: number | undefined };
  /** Something keeps the clock right. */
  readonly clock?: boolean | undefined;
}

export interface DeviceReading {
  readonly name: string;
  /** Packets; of the queue where a tree's unclassified ones wait. */
  readonly txqueuelen?: number | undefined;
  /** What the card says of itself. */
  readonly speed?: Rate | undefined;
  /** Features of ethtool(8) that are on; absent without ethtool. */
  readonly features?: ReadonlySet<string> | undefined;
}

/** Reads them in the caller's network namespace, for these devices. Changes nothing. */
export async function getReadings(devices: readonly string[]): Promise<Readings> {
  const [offload, links, count, max, ip, ip6] = await Promise.all([
    getOffload(),
    listDevices(),
    getNumber('net/netfilter/nf_conntrack_count'),
    getNumber('net/netfilter/nf_conntrack_max'),
    getNumber('net/bridge/bridge-nf-call-iptables'),
    getNumber('net/bridge/bridge-nf-call-ip6tables'),
  ]);
  return {
    offload,
    devices: await Promise.all(
      devices.map(async (name) => {
        const { txqueuelen } = links.find((link) => link.name === name) ?? {};
        return { name, txqueuelen, speed: await getSpeed(name), features: await getFeatures(name) };
      }),
    ),
    conntrack: { count, max },
    bridge: {
      families: [...(ip ? (['IPv4'] as const) : []), ...(ip6 ? (['IPv6'] as const) : [])],
      bridges: links.filter(({ kind }) => kind === 'bridge').map(({ name }) => name),
    },
    receiveBuffer: { asked: DEFAULT_RECEIVE_BUFFER, given: getReceiveBuffer() },
    clock: isClockSynchronised(),
  };
}

const getNumber = async (name: string): Promise<number | undefined> => {
  const value = Number((await getSysctl(name)) ?? Number.NaN);
  return Number.isNaN(value) ? undefined : value;
};

/** `generic-receive-offload: on [fixed]`. */
async function getFeatures(device: string): Promise<ReadonlySet<string> | undefined> {
  try {
    const { status, stdout } = await execute(['ethtool', '-k', device]);
    return status === 0 ? new Set([...stdout.matchAll(/^\s*([\w-]+): on\b/gm)].map((match) => match[1]!)) : undefined;
  } catch {
    return undefined;
  }
}

/** Opens the socket as the service does, and closes it. The kernel counts twice what it gives (socket(7)). */
function getReceiveBuffer(): number | undefined {
  let given: number | undefined;
  conntrackEvents({
    groups: ['destroy'],
    opened: (getStats) => {
      given = getStats().receiveBuffer / 2;
    },
  })
    .subscribe({ error: () => {} })
    .unsubscribe();
  return given;
}
