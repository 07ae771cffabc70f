/** The two ends of a trial's flow, in a network of its own below 198.18.0.0/15, which is for trials (RFC 2544). */
export interface Ends {
  /** Of the trial's device. */
  readonly here: string;
  /** Of whom its packets come from; nobody has it. */
  readonly there: string;
}

export const endsOf = (trial: number): Ends => ({ here: `198.18.${trial}.1`, there: `198.18.${trial}.2` });

/** Of every trial's device; that of its peer. */
export const MAC_HERE = '02:00:00:00:00:01';
export const MAC_THERE = '02:00:00:00:00:02';

/** discard (RFC 863): where requests go to. */
export const PORT_HERE = 9;
export const PORT_THERE = 49_152;

/** A UDP packet from `there` to `here`, as hex: it opens the flow. */
export const request = (ends: Ends, payload?: number): string =>
  frame(ends.there, PORT_THERE, ends.here, PORT_HERE, payload);

/**
 * A packet of the same flow that runs in its reply direction and arrives all the same, as the answers to one's own
 * requests do. No router lets it pass; tc sees it before the routes are asked.
 */
export const reply = (ends: Ends): string => frame(ends.here, PORT_HERE, ends.there, PORT_THERE);

function frame(source: string, sourcePort: number, destination: string, destinationPort: number, payload = 18): string {
  const bytes = Buffer.alloc(14 + 20 + 8 + payload);
  for (const [at, mac] of [MAC_HERE, MAC_THERE].entries()) bytes.write(mac.replaceAll(':', ''), at * 6, 'hex');
  bytes.writeUInt16BE(0x0800, 12);
  const ip = bytes.subarray(14, 34);
  ip.writeUInt8(0x45, 0);
  ip.writeUInt16BE(bytes.length - 14, 2);
  ip.writeUInt8(64, 8);
  ip.writeUInt8(17, 9);
  ip.set(source.split('.').map(Number), 12);
  ip.set(destination.split('.').map(Number), 16);
  ip.writeUInt16BE(checksum(ip), 10);
  bytes.writeUInt16BE(sourcePort, 34);
  bytes.writeUInt16BE(destinationPort, 36);
  // Its own checksum stays 0: none (RFC 768).
  bytes.writeUInt16BE(8 + payload, 38);
  return bytes.toString('hex');
}

/** RFC 791, of a header whose checksum is 0 yet. */
function checksum(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
