import { readFile } from 'node:fs/promises';
import { maskAddress, type Prefix, parseAddress, type Rate } from '../model/index.ts';
import { run } from './command.ts';
import { listDevices } from './netdev.ts';
import { getSysctl } from './sysctl.ts';

/** What the kernel tells of a box, for somebody who is about to write a policy for it. */
export interface Survey {
  /** Devices of the default routes, the preferred first, IPv4 before IPv6; each once. */
  readonly uplinks: readonly string[];
  readonly devices: readonly SurveyedDevice[];
  /** It forwards packets between devices, in one family at least. */
  readonly forwards: boolean;
  /** Sockets that anybody may reach, by port; those of the loopback are not listed. */
  readonly listeners: readonly Listener[];
}

export interface SurveyedDevice {
  readonly name: string;
  /** `ifb`, `veth`, `bridge`, ...; absent for hardware. */
  readonly kind?: string | undefined;
  readonly up: boolean;
  /** What the card says of its own speed; absent where it says nothing, as most virtual ones. The line behind may be slower. */
  readonly speed?: Rate | undefined;
  /** Its own addresses, of global scope. */
  readonly addresses: readonly Prefix[];
  /** The networks that these are in. */
  readonly networks: readonly Prefix[];
}

export interface Listener {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  /** Name of the process, where we may see it: as root, or where it is our own. */
  readonly process?: string | undefined;
}

/**
 * Asks the kernel what box this is: `ip route`, `ip address`, `ss -tulnp`, /sys/class/net/DEVICE/speed. Changes
 * nothing; what cannot be read is left out. Needs no root, but then most processes stay nameless.
 *
 * @throws HeadgateError HG_NO_TOOL
 */
export async function survey(): Promise<Survey> {
  const [uplinks, devices, listeners, forwards] = await Promise.all([
    getUplinks(),
    getDevices(),
    listListeners(),
    Promise.all(['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding'].map(getSysctl)),
  ]);
  return { uplinks, devices, listeners, forwards: forwards.some((value) => Number(value ?? 0) > 0) };
}

interface IpRoute {
  readonly dev?: string;
  readonly metric?: number;
  readonly nexthops?: readonly { readonly dev?: string }[];
}

/** Devices of the default routes, the preferred first, IPv4 before IPv6; each once. */
export async function getUplinks(): Promise<string[]> {
  const families = await Promise.all(
    ['-4', '-6'].map((family) => json<IpRoute>(['ip', family, '-json', 'route', 'show', 'default'])),
  );
  const devices = families.flatMap((routes) =>
    routes
      .toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0))
      .flatMap(({ dev, nexthops }) => dev ?? nexthops?.map((hop) => hop.dev) ?? []),
  );
  return [...new Set(devices.filter((device) => device !== undefined && device !== 'lo'))] as string[];
}

interface IpAddress {
  readonly ifname: string;
  readonly addr_info: readonly { readonly local?: string; readonly prefixlen: number; readonly scope: string }[];
}

async function getDevices(): Promise<SurveyedDevice[]> {
  const [devices, addresses] = await Promise.all([listDevices(), json<IpAddress>(['ip', '-json', 'address', 'show'])]);
  return Promise.all(
    devices
      .filter(({ name }) => name !== 'lo')
      .map(async ({ name, kind, up }) => {
        const own = (addresses.find(({ ifname }) => ifname === name)?.addr_info ?? []).flatMap(
          ({ local, prefixlen, scope }) => {
            const address = scope === 'global' ? parseAddress(local ?? '') : undefined;
            return address ? [{ address, length: prefixlen }] : [];
          },
        );
        return {
          name,
          kind,
          up,
          speed: await getSpeed(name),
          addresses: own.map(({ address }) => ({ address, length: address.length * 8 })),
          networks: own.map(({ address, length }) => ({ address: maskAddress(address, length), length })),
        };
      }),
  );
}

/** `/sys/class/net/DEVICE/speed` is in mbit, -1 or unreadable where it is not known. The caller's namespace alone has it. */
export async function getSpeed(device: string): Promise<Rate | undefined> {
  const text = await readFile(`/sys/class/net/${device}/speed`, 'utf8').catch(() => '');
  const mbit = Number(text);
  return Number.isInteger(mbit) && mbit > 0 ? mbit * 1e6 : undefined;
}

async function listListeners(): Promise<Listener[]> {
  const lines = (await run(['ss', '-H', '-tulnp'])).split('\n');
  const listeners = lines.flatMap((line) => parseListener(line) ?? []);
  const byPort = new Map(listeners.map((l) => [`${l.protocol} ${l.port} ${l.process ?? ''}`, l]));
  return [...byPort.values()].sort((a, b) => a.port - b.port || a.protocol.localeCompare(b.protocol));
}

/** One line of `ss -H -tulnp`, such as `tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))`; undefined for one of the loopback. */
export function parseListener(line: string): Listener | undefined {
  const match = /^(tcp|udp)\s+\S+\s+\d+\s+\d+\s+(\S+):(\d+)\s+\S+(?:\s+users:\(\("([^"]*)")?/.exec(line);
  if (!match) return undefined;
  const [, protocol, place, port, process] = match;
  const address = place!.replace(/^\[|\]$|%.*$/g, '');
  const loopback = /^127\.|^::1$|^::ffff:127\./.test(address);
  return loopback ? undefined : { protocol: protocol as 'tcp' | 'udp', port: Number(port), process };
}

async function json<T>(argv: readonly [string, ...string[]]): Promise<T[]> {
  // A kernel without IPv6 fails here; then there are no routes of it.
  const text = await run(argv).catch((error) => {
    if ((error as { code?: string }).code === 'HG_NO_TOOL') throw error;
    return '';
  });
  return text.trim() === '' ? [] : (JSON.parse(text) as T[]);
}
