// The event stream's items, as TypeScript has them. What each is, and its fields, stands in schema.ts.

import type { z } from 'zod';
import type { eventSchemas } from './schema.ts';

/** Of the schema: goes up when a reader of the one before would misread something. */
export const SCHEMA_VERSION = 1;

type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T;
type EventOf<K extends keyof typeof eventSchemas> = Frozen<z.infer<(typeof eventSchemas)[K]>>;

export type MonitorEvent = { [K in keyof typeof eventSchemas]: EventOf<K> }[keyof typeof eventSchemas];

/**
 * One item of the event stream: what happened to a flow, a link, or to the stream itself, with its sequence number, wall
 * time (ISO 8601, UTC) and the kernel's CLOCK_MONOTONIC in ms. A line of `headgate events --json`.
 */
export type MonitorItem = { readonly seq: number; readonly time: string; readonly monotonic: number } & MonitorEvent;

/** Kinds of all items: those of the schema, which a running command does not load. */
export const KINDS = [
  ...['stream', 'gap', 'flows', 'ready'],
  ...['flow.new', 'flow.known', 'flow.update', 'flow.end'],
  ...['overrun', 'resync', 'link', 'table', 'policy', 'confirm', 'warning'],
] as const satisfies readonly string[];

export type FlowEvent = EventOf<'flow'>;
export type GapEvent = EventOf<'gap'>;
export type OverrunEvent = EventOf<'overrun'>;
export type ResyncEvent = EventOf<'resync'>;
export type LinkEvent = EventOf<'link'>;
export type TableEvent = EventOf<'table'>;
export type ConfirmEvent = EventOf<'confirm'>;
export type LinkState = LinkEvent['state'];
/** A queue as `ready` and `policy` tell it. */
export type QueueFigures = EventOf<'ready'>['queues'][number];

/** It is about a flow, or about whether flows are told. */
export const isOfFlows = ({ kind }: Pick<MonitorEvent, 'kind'>): boolean => kind.startsWith('flow');
