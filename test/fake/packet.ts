// Packets as the fake kernel (kernel.ts) knows them, and how they are read from frames: by the RFCs, sharing nothing with
// what Headgate itself has for that.

export interface Packet {
  readonly source: string;
  readonly destination: string;
  /** IANA's number. */
  readonly protocol: number;
  readonly sourcePort?: number | undefined;
  readonly destinationPort?: number | undefined;
  /** What kind of ICMP it is; of an error, what it is about. An echo's id stands in both ports. */
  readonly icmp?: 'request' | 'reply' | 'error' | 'other' | undefined;
  readonly about?: Packet | undefined;
  /** Fragments that it comes in. */
  readonly pieces: number;
  /** What runs the link itself: ARP, neighbour discovery, MLD, IGMP, DHCP. */
  readonly control?: true | undefined;
  /** Nobody takes it: behind a VLAN tag or in PPPoE, where there is no such device. */
  readonly stray?: true | undefined;
  /** Behind two tags, or in PPPoE. */
  readonly deep?: true | undefined;
  /** A wrong checksum. */
  readonly broken?: true | undefined;
}

export const [ICMP, IGMP, TCP, UDP, ESP, ICMPV6] = [1, 2, 6, 17, 50, 58] as const;

const CONTROL: Packet = { source: '', destination: '', protocol: 0, pieces: 1, control: true };

/** Reads an Ethernet frame. */
export function readFrame(frame: Uint8Array): Packet {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  let [at, tags, session] = [12, 0, false];
  for (; [0x8100, 0x88a8].includes(view.getUint16(at)); at += 4) tags++;
  let type = view.getUint16(at);
  at += 2;
  if (type === 0x8864) {
    session = true;
    type = { 33: 0x0800, 87: 0x86dd }[view.getUint16(at + 6)] ?? 0;
    at += 8;
  }
  if (type !== 0x0800 && type !== 0x86dd) return CONTROL;
  const ip = readIp(new DataView(frame.buffer, frame.byteOffset + at));
  return {
    ...ip,
    ...((tags > 0 || session) && { stray: true }),
    ...((tags > 1 || session) && { deep: true }),
  };
}

function readIp(ip: DataView): Packet {
  const version = ip.getUint8(0) >> 4;
  const [from, to, size] = version === 4 ? [12, 16, 4] : [8, 24, 16];
  let [protocol, at] = version === 4 ? [ip.getUint8(9), (ip.getUint8(0) & 15) * 4] : [ip.getUint8(6), 40];
  // Hop-by-hop and destination options, and routing headers (RFC 8200).
  while (version === 6 && [0, 43, 60].includes(protocol!))
    [protocol, at] = [ip.getUint8(at), at + (ip.getUint8(at + 1) + 1) * 8];
  const base = { source: address(ip, from, size), destination: address(ip, to, size), protocol, pieces: 1 };
  if (protocol === IGMP) return { ...base, control: true };
  if (protocol === ICMPV6) return readIcmpv6(base, ip.getUint8(at), ip.getUint8(7));
  if (protocol !== UDP) return base;
  const [sourcePort, destinationPort, length] = [0, 2, 4].map((i) => ip.getUint16(at + i));
  const dhcp = version === 4 ? [67, 68] : [546, 547];
  let sum = UDP + length!;
  for (let i = from; i < to + size; i += 2) sum += ip.getUint16(i);
  for (let i = 0; i < length!; i += 2) sum += ip.getUint16(at + i);
  return {
    ...base,
    ...{ sourcePort, destinationPort },
    ...(dhcp.includes(destinationPort!) && { control: true }),
    ...(sum % 0xffff !== 0 && { broken: true }),
  };
}

/** Neighbour discovery comes from the link itself, with hop limit 255 (RFC 4861); multicast listeners with 1 (RFC 3810). */
function readIcmpv6(base: Packet, type: number, hopLimit: number): Packet {
  const discovery = type >= 133 && type <= 137 && hopLimit === 255;
  const listeners = [130, 131, 132, 143].includes(type) && hopLimit === 1;
  return { ...base, icmp: 'other', ...((discovery || listeners) && { control: true }) };
}

/** As people write it, of the test's own addresses: the longest run of zeros is left out. */
function address(ip: DataView, at: number, size: number): string {
  if (size === 4) return [0, 1, 2, 3].map((i) => ip.getUint8(at + i)).join('.');
  const words = [0, 2, 4, 6, 8, 10, 12, 14].map((i) => ip.getUint16(at + i).toString(16)).join(':');
  return words.replace(/(^|:)0(:0)+(:|$)/, '::');
}
