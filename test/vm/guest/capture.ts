/** The numbers of the datagrams (host.mjs) in a capture of Ethernet frames (pcap-savefile(5), of this machine's byte order). */
export function readCapture(file: Buffer): number[] {
  const numbers: number[] = [];
  const [FILE_HEADER, RECORD_HEADER, ETHERNET, UDP] = [24, 16, 14, 8];
  for (let at = FILE_HEADER; at + RECORD_HEADER <= file.length; ) {
    const length = file.readUInt32LE(at + 8);
    const ip = at + RECORD_HEADER + ETHERNET;
    const header = file[ip]! >> 4 === 6 ? 40 : (file[ip]! & 15) * 4;
    numbers.push(file.readUInt32BE(ip + header + UDP));
    at += RECORD_HEADER + length;
  }
  return numbers;
}
