import type { Listener, Survey, SurveyedDevice } from '../kernel/index.ts';
import { type BoxPlan, MAX_SEED_PORTS, type PortRange } from '../language/index.ts';
import { type Prefix, prefixContains, type Rate } from '../model/index.ts';

/** What the person says; it goes before what the kernel does. */
export interface BoxWishes {
  readonly device?: string | undefined;
  readonly download?: Rate | undefined;
  readonly upload?: Rate | undefined;
  readonly lan?: readonly Prefix[] | undefined;
  readonly seedPorts?: readonly PortRange[] | undefined;
  readonly adminPorts?: readonly number[] | undefined;
}

/** Part of the card's speed that the policy says: packets have to queue here. */
const PART_OF_CARD = 0.95;
/** Devices that no hosts are behind. */
const NO_NETWORK = new Set(['ifb', 'dummy', 'vcan']);
/** As /proc/PID/comm cuts them, at 15 characters. */
const TORRENT_CLIENTS = /^(transmission|qbittorrent|rtorrent|deluge|aria2c|ktorrent|ctorrent|btpd|rqbit)/;
const SSH_SERVERS = /^(sshd|dropbear)/;
const SSH = 22;
/** What clients listen on unless they are told otherwise: the old range, and Transmission's. */
const TORRENT_PORTS: readonly PortRange[] = [
  { first: 6881, last: 6889 },
  { first: 51413, last: 51413 },
];

/** What a first policy for the surveyed box says. Pure. */
export function planBox(box: Survey, wishes: BoxWishes): BoxPlan {
  const device = wishes.device ?? box.uplinks.find(canBeWritten);
  const card = box.devices.find(({ name }) => name === device);
  const guess = card?.speed && Math.round(card.speed * PART_OF_CARD);
  const guessed = guess !== undefined && (wishes.download === undefined || wishes.upload === undefined);
  const seedPorts = joinRanges(wishes.seedPorts ?? torrentPorts(box.listeners));
  const adminPorts = [...new Set(wishes.adminPorts ?? sshPorts(box.listeners))];
  return {
    device,
    otherUplinks: box.uplinks.filter((name) => name !== device),
    download: wishes.download ?? guess,
    upload: wishes.upload ?? guess,
    cardSpeed: guessed ? card?.speed : undefined,
    lan: outermost(
      wishes.lan ?? (box.forwards ? box.devices.filter((d) => isInside(d, box, device)).flatMap(networksOf) : []),
    ),
    address: card?.addresses[0]?.address,
    adminPorts,
    seedPorts,
    others: box.listeners.filter(
      ({ protocol, port, process }) =>
        !(protocol === 'tcp' && adminPorts.includes(port)) &&
        !seedPorts.some((r) => r.first <= port && port <= r.last) &&
        !HOUSEKEEPING.has(`${protocol} ${port}`) &&
        !TORRENT_CLIENTS.test(process ?? ''),
    ),
  };
}

/** What answers the link or the LAN itself: DHCP, mDNS, LLMNR, router discovery. */
const HOUSEKEEPING = new Set(['udp 67', 'udp 68', 'udp 546', 'udp 547', 'udp 5353', 'udp 5355', 'tcp 5355']);

/** The language's names of devices, and nothing that would end the quotes around it. */
export const canBeWritten = (device: string): boolean => /^[!#-~]{1,15}$/.test(device) && !/[/:]|^\.\.?$/.test(device);

const isInside = ({ name, kind, up }: SurveyedDevice, box: Survey, device: string | undefined): boolean =>
  up && name !== device && !box.uplinks.includes(name) && !NO_NETWORK.has(kind ?? '');

/** A network of one address is a host's, not one of hosts. */
const networksOf = ({ networks }: SurveyedDevice): Prefix[] =>
  networks.filter(({ address, length }) => length > 0 && length < address.length * 8);

/** Those that lie in no other. */
function outermost(prefixes: readonly Prefix[]): Prefix[] {
  return prefixes.filter((p, i) =>
    prefixes.every(
      (q, j) => i === j || !prefixContains(q, p.address) || q.length > p.length || (q.length === p.length && i < j),
    ),
  );
}

function sshPorts(listeners: readonly Listener[]): number[] {
  const named = listeners.filter(({ protocol, process }) => protocol === 'tcp' && SSH_SERVERS.test(process ?? ''));
  // Without root the process has no name.
  const usual = listeners.filter(({ protocol, port }) => protocol === 'tcp' && port === SSH);
  return [...new Set([...named, ...usual].map(({ port }) => port))];
}

/**
 * A client takes its peers on one port by TCP and by UDP (uTP); its pages for the person are TCP alone. Where
 * processes have no names, the usual ports tell.
 */
function torrentPorts(listeners: readonly Listener[]): PortRange[] {
  const udp = new Set(listeners.filter(({ protocol }) => protocol === 'udp').map(({ port }) => port));
  const isUsual = (port: number) => TORRENT_PORTS.some((r) => r.first <= port && port <= r.last);
  return listeners
    .filter(
      ({ protocol, port, process }) =>
        protocol === 'tcp' && (isUsual(port) || (TORRENT_CLIENTS.test(process ?? '') && udp.has(port))),
    )
    .slice(0, MAX_SEED_PORTS)
    .map(({ port }) => ({ first: port, last: port }));
}

/** In order, with neighbours joined. */
export function joinRanges(ranges: readonly PortRange[]): PortRange[] {
  const joined: PortRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const last = joined.at(-1);
    if (last && range.first <= last.last + 1)
      joined[joined.length - 1] = { first: last.first, last: Math.max(last.last, range.last) };
    else joined.push(range);
  }
  return joined;
}
