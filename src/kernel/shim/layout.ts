import { endianness } from 'node:os';

/**
 * The records of native-shim/include/headgate.h, stated once: decoders read through these offsets, and
 * test/unit/shim-layout.test.ts compiles a probe that compares every one of them with the header.
 */
export type CType = 'uint8_t' | 'uint16_t' | 'uint32_t' | 'uint64_t' | 'int32_t' | 'char';

export interface Field {
  /** Bytes from the start of the whole record. */
  readonly offset: number;
  readonly type: CType;
  /** Elements of an array; 1 for a plain field. */
  readonly length: number;
}

/** A struct's members by their C names: fields, or structs inside it. */
export interface Fields {
  readonly [name: string]: Field | Fields;
}

export interface Layout<F extends Fields = Fields> {
  /** The C struct's tag. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly fields: F;
}

/** The records are in host byte order. */
export const LITTLE_ENDIAN = endianness() === 'LE';

export const SIZE_OF: Readonly<Record<CType, number>> = {
  uint8_t: 1,
  uint16_t: 2,
  uint32_t: 4,
  uint64_t: 8,
  int32_t: 4,
  char: 1,
};

export const isField = (member: Field | Fields): member is Field => typeof member.offset === 'number';

const u8 = (offset: number, length = 1): Field => ({ offset, type: 'uint8_t', length });
const u16 = (offset: number): Field => ({ offset, type: 'uint16_t', length: 1 });
const u32 = (offset: number): Field => ({ offset, type: 'uint32_t', length: 1 });
const u64 = (offset: number): Field => ({ offset, type: 'uint64_t', length: 1 });
const i32 = (offset: number): Field => ({ offset, type: 'int32_t', length: 1 });
const char = (offset: number, length: number): Field => ({ offset, type: 'char', length });

const layout = <F extends Fields>(name: string, size: number, fields: F): Layout<F> => ({ name, size, fields });

const head = { kind: u16(0), flags: u16(2), count: u32(4), time_ns: u64(8) };

const tuple = (at: number) => ({
  src: u8(at, 16),
  dst: u8(at + 16, 16),
  src_port: u16(at + 32),
  dst_port: u16(at + 34),
  icmp_id: u16(at + 36),
  icmp_type: u8(at + 38),
  icmp_code: u8(at + 39),
});
export type TupleFields = ReturnType<typeof tuple>;

export const ERROR = layout('hg_error', 256, { code: i32(0), what: char(4, 60), text: char(64, 192) });

export const FLOW = layout('hg_flow', 184, {
  head,
  id: u32(16),
  status: u32(20),
  mark: u32(24),
  timeout: u32(28),
  start_ns: u64(32),
  stop_ns: u64(40),
  original_packets: u64(48),
  original_bytes: u64(56),
  reply_packets: u64(64),
  reply_bytes: u64(72),
  zone: u16(80),
  family: u8(82),
  protocol: u8(83),
  original: tuple(84),
  reply: tuple(124),
  tcp_state: u8(164),
  helper: char(165, 16),
  pad: u8(181, 3),
});

export const PACKET = layout('hg_packet', 96, {
  head,
  mark: u32(16),
  in_ifindex: u32(20),
  out_ifindex: u32(24),
  length: u32(28),
  group: u16(32),
  ethertype: u16(34),
  hook: u8(36),
  family: u8(37),
  protocol: u8(38),
  dscp: u8(39),
  hop_limit: u8(40),
  tcp_flags: u8(41),
  mac: u8(42, 6),
  tuple: tuple(48),
  prefix: char(88, 8),
});

export const PAYLOAD = layout('hg_payload', 4176, {
  head,
  tuple: tuple(16),
  sequence: u32(56),
  size: u32(60),
  length: u32(64),
  group: u16(68),
  family: u8(70),
  protocol: u8(71),
  tcp_flags: u8(72),
  pad: u8(73, 7),
  data: u8(80, 4096),
});

export const LINK = layout('hg_link', 72, {
  head,
  ifindex: u32(16),
  flags: u32(20),
  mtu: u32(24),
  type: u16(28),
  family: u8(30),
  prefix_length: u8(31),
  address: u8(32, 16),
  name: char(48, 16),
  table: u32(64),
  pad: u32(68),
});

export const MARK_REQUEST = layout('hg_mark_request', 52, {
  zone: u16(0),
  family: u8(2),
  protocol: u8(3),
  original: tuple(4),
  mark: u32(44),
  mask: u32(48),
});

export const SOCKET_QUERY = layout('hg_socket_query', 40, {
  family: u8(0),
  protocol: u8(1),
  pad: u16(2),
  local_port: u16(4),
  remote_port: u16(6),
  local: u8(8, 16),
  remote: u8(24, 16),
});

export const SOCKET = layout('hg_socket', 24, {
  status: i32(0),
  uid: u32(4),
  inode: u32(8),
  pad: u32(12),
  cgroup: u64(16),
});

export const TC_STAT = layout('hg_tc_stat', 96, {
  handle: u32(0),
  parent: u32(4),
  is_class: u32(8),
  drops: u32(12),
  overlimits: u32(16),
  qlen: u32(20),
  backlog: u32(24),
  pad: u32(28),
  bytes: u64(32),
  packets: u64(40),
  rate: u64(48),
  ceil: u64(56),
  kind: char(64, 32),
});

export const SOURCE_STATS = layout('hg_source_stats', 40, {
  records: u64(0),
  overruns: u64(8),
  ring_full: u64(16),
  receive_buffer: u32(24),
  waiting: u32(28),
  ring_bytes: u32(32),
  pad: u32(36),
});

export const LAYOUTS: readonly Layout[] = [
  ERROR,
  FLOW,
  PACKET,
  PAYLOAD,
  LINK,
  MARK_REQUEST,
  SOCKET_QUERY,
  SOCKET,
  TC_STAT,
  SOURCE_STATS,
];

/** A flow's identity: zone, family, protocol and original tuple, in one piece, alike in hg_flow and hg_mark_request. */
export const KEY_BYTES = 44;

/** enum hg_kind. */
export const KIND = {
  new: 1,
  update: 2,
  destroy: 3,
  dumped: 4,
  dumpStart: 5,
  dumpEnd: 6,
  packet: 7,
  link: 8,
  linkGone: 9,
  address: 10,
  addressGone: 11,
  route: 12,
  routeGone: 13,
  payload: 14,
  tcGone: 15,
  tableGone: 16,
  overrun: 32,
  failed: 33,
} as const;

/** enum hg_flag. */
export const FLAG = {
  counters: 1 << 0,
  start: 1 << 1,
  stop: 1 << 2,
  mark: 1 << 3,
  timeout: 1 << 4,
  tcpState: 1 << 5,
  interrupted: 1 << 7,
  ports: 1 << 8,
  icmp: 1 << 9,
  fragment: 1 << 10,
  status: 1 << 11,
  mac: 1 << 12,
  helper: 1 << 13,
} as const;
