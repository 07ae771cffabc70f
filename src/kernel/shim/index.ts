export * from './clock.ts';
export { delIngressFilter } from './filter.ts';
export { ConntrackBatch, type FlowKind, FlowRecord } from './flow-record.ts';
export type { LinkAddress, LinkItem, LinkRoute, LinkState } from './link-record.ts';
export { MARK_GONE, MARK_UNKNOWN, MARK_WRITTEN, type MarkRequest, MarkWriter } from './marks.ts';
export type { Overrun, PacketItem, PacketSample } from './packet-record.ts';
export { execWith, getPeer, type Peer, sendLocal, tryLock } from './process.ts';
export type { SourceStats } from './source.ts';
export { getBpfCounters, getTcStats, type TcStat } from './stats.ts';
