import { createRequire } from 'node:module';
import { HeadgateError } from '../../model/index.ts';
import { SHIM_LIBRARY } from '../built.ts';

/** HG_ABI of the header that the layouts were written from. */
const ABI = 8;

/** A C pointer as koffi hands it out; null for NULL. */
export type Pointer = bigint;

/** The functions of native-shim/include/headgate.h; see there. Buffers are the caller's, and used during the call only. */
export interface Shim {
  hg_conntrack_open(
    netns: string | null,
    groups: number,
    receiveBuffer: number,
    mostBuffer: number,
    copier: string | null,
    ring: number,
    error: Uint8Array,
  ): Pointer | null;
  hg_conntrack_dump(
    netns: string | null,
    family: number,
    mark: number,
    mask: number,
    status: number,
    attempts: number,
    ring: number,
    error: Uint8Array,
  ): Pointer | null;
  hg_packets_open(
    netns: string | null,
    group: number,
    receiveBuffer: number,
    ring: number,
    error: Uint8Array,
  ): Pointer | null;
  hg_payloads_open(
    netns: string | null,
    group: number,
    receiveBuffer: number,
    ring: number,
    error: Uint8Array,
  ): Pointer | null;
  hg_links_open(netns: string | null, ring: number, error: Uint8Array): Pointer | null;
  hg_tables_open(netns: string | null, ring: number, error: Uint8Array): Pointer | null;
  hg_source_doorbell(source: Pointer): number;
  hg_source_take(source: Pointer, records: Uint8Array, max: number): number;
  hg_source_get_stats(source: Pointer, stats: Uint8Array): void;
  hg_source_close(source: Pointer): void;
  hg_marks_open(netns: string | null, error: Uint8Array): Pointer | null;
  hg_marks_write(marks: Pointer, requests: Uint8Array, count: number, results: Int32Array): number;
  hg_marks_close(marks: Pointer): void;
  hg_sockets_open(netns: string | null, error: Uint8Array): Pointer | null;
  hg_sockets_find(sockets: Pointer, queries: Uint8Array, count: number, results: Uint8Array): number;
  hg_sockets_close(sockets: Pointer): void;
  hg_tc_stats(netns: string | null, ifindex: number, stats: Uint8Array, max: number, error: Uint8Array): number;
  hg_filter_del(
    netns: string | null,
    ifindex: number,
    pref: number,
    kind: string,
    handle: number,
    error: Uint8Array,
  ): number;
  hg_bpf_counters(progId: number, map: string, values: BigUint64Array, max: number, error: Uint8Array): number;
  hg_bpf_get(progId: number, map: string, value: BigUint64Array): number;
  hg_bpf_set(progId: number, map: string, value: bigint): number;
  hg_lock(fd: number): number;
  hg_peer(fd: number, ids: Uint32Array, max: number): number;
  hg_notify(path: string, text: string): number;
  hg_exec_with(keep: bigint, path: string, argv: readonly (string | null)[], error: Uint8Array): number;
  hg_clock_state(): number;
}

/** The same as C prototypes; structs cross as bytes, which the layouts describe. */
const PROTOTYPES: Readonly<Record<keyof Shim, string>> = {
  hg_conntrack_open:
    'void *hg_conntrack_open(const char *netns, uint32_t groups, uint32_t receive_buffer, uint32_t most_buffer, const char *copier, uint32_t ring, void *error)',
  hg_conntrack_dump:
    'void *hg_conntrack_dump(const char *netns, uint8_t family, uint32_t mark, uint32_t mask, uint32_t status, uint32_t attempts, uint32_t ring, void *error)',
  hg_packets_open:
    'void *hg_packets_open(const char *netns, uint16_t group, uint32_t receive_buffer, uint32_t ring, void *error)',
  hg_payloads_open:
    'void *hg_payloads_open(const char *netns, uint16_t group, uint32_t receive_buffer, uint32_t ring, void *error)',
  hg_links_open: 'void *hg_links_open(const char *netns, uint32_t ring, void *error)',
  hg_tables_open: 'void *hg_tables_open(const char *netns, uint32_t ring, void *error)',
  hg_source_doorbell: 'int32_t hg_source_doorbell(void *source)',
  hg_source_take: 'int32_t hg_source_take(void *source, void *records, uint32_t max)',
  hg_source_get_stats: 'void hg_source_get_stats(void *source, void *stats)',
  hg_source_close: 'void hg_source_close(void *source)',
  hg_marks_open: 'void *hg_marks_open(const char *netns, void *error)',
  hg_marks_write: 'int32_t hg_marks_write(void *marks, const void *requests, uint32_t count, void *results)',
  hg_marks_close: 'void hg_marks_close(void *marks)',
  hg_sockets_open: 'void *hg_sockets_open(const char *netns, void *error)',
  hg_sockets_find: 'int32_t hg_sockets_find(void *sockets, const void *queries, uint32_t count, void *results)',
  hg_sockets_close: 'void hg_sockets_close(void *sockets)',
  hg_tc_stats: 'int32_t hg_tc_stats(const char *netns, uint32_t ifindex, void *stats, uint32_t max, void *error)',
  hg_filter_del:
    'int32_t hg_filter_del(const char *netns, uint32_t ifindex, uint16_t pref, const char *kind, uint32_t handle, void *error)',
  hg_bpf_counters:
    'int32_t hg_bpf_counters(uint32_t prog_id, const char *map, void *values, uint32_t max, void *error)',
  hg_bpf_get: 'int32_t hg_bpf_get(uint32_t prog_id, const char *map, void *value)',
  hg_bpf_set: 'int32_t hg_bpf_set(uint32_t prog_id, const char *map, uint64_t value)',
  hg_lock: 'int32_t hg_lock(int32_t fd)',
  hg_peer: 'int32_t hg_peer(int32_t fd, void *ids, uint32_t max)',
  hg_notify: 'int32_t hg_notify(const char *path, const char *text)',
  hg_exec_with: 'int32_t hg_exec_with(uint64_t keep, const char *path, const char **argv, void *error)',
  hg_clock_state: 'int32_t hg_clock_state(void)',
};

/**
 * Loads a shim.
 *
 * @throws HeadgateError HG_NO_SHIM where the library is not built, does not load, or is of another version.
 */
export function loadShim(path: string): Shim {
  try {
    // Required here, not imported above: only a command that talks to the kernel pays for it.
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const library = koffi.load(path);
    const abi = library.func('uint32_t hg_abi()')() as number;
    if (abi !== ABI) throw new Error(`it has version ${abi}, not ${ABI}`);
    return Object.fromEntries(
      Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)]),
    ) as unknown as Shim;
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message.trim() : String(cause);
    throw new HeadgateError('HG_NO_SHIM', { problem: `${path}: ${problem}` }, { cause });
  }
}

let loaded: Shim | undefined;

/** The shim, loaded on first use. */
export function shim(): Shim {
  loaded ??= loadShim(SHIM_LIBRARY);
  return loaded;
}
