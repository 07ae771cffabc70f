// The event stream's schema, written once: the types of items.ts, and docs/events.schema.json, come from here. Nothing of
// this is loaded by a running command (docs/decisions/0053).

import { z } from 'zod';

const origin = z
  .enum(['local', 'remote', 'new'])
  .describe('Who opened the connection, seen from this side of the link');
const count = z.int().nonnegative();
const rate = z.number().nonnegative().describe('bit/s');

const queue = z.object({
  name: z.string(),
  number: z.int().nonnegative().describe('Of its class, and in our bits of the ct mark; 0: it holds others'),
  share: z.number(),
  ceiling: z.number(),
});

const place = z.object({
  queue: z.string(),
  rule: z.string().optional().describe('Absent: the default of its origin'),
});

const passed = z.object({ bytes: count, packets: count });

const flow = z.object({
  kind: z
    .enum(['flow.new', 'flow.known', 'flow.update', 'flow.end'])
    .describe(
      'flow.known: it was in the kernel’s table before we looked, or before this reader came; flow.update: another rule decides',
    ),
  id: z
    .int()
    .nonnegative()
    .describe('CTA_ID of conntrack, which the kernel uses again: with both ends it tells a flow'),
  protocol: z.string().describe('Name or number of the IP protocol'),
  local: z.string().describe('The end on this side, NAT undone: address:port, [address]:port, or the address alone'),
  remote: z.string(),
  origin,
  ...place.shape,
  because: z
    .array(z.object({ term: z.string(), value: z.string().optional() }))
    .optional()
    .describe('Comparisons of the rule that made it take the flow, each with what the flow had there'),
  before: place.optional().describe('flow.update: where it was'),
  zone: z.int().optional().describe('Conntrack zone; absent: 0'),
  began: z.iso
    .datetime()
    .optional()
    .describe('When the kernel saw it first, where it tells; else when it was heard of'),
  duration: z.number().nonnegative().optional().describe('flow.end: ms since it began'),
  unknown: z
    .number()
    .nonnegative()
    .optional()
    .describe(
      'flow.end: ms from its first packet to the decision; needs nf_conntrack_timestamp, and is not known of a flow that a dump told of',
    ),
  bytes: count
    .optional()
    .describe('flow.end, and flow.known where that was asked for: both directions together; needs nf_conntrack_acct'),
  packets: count.optional(),
  in: passed.optional().describe('The same of what arrived, and of what left'),
  out: passed.optional(),
});

const events = {
  stream: z
    .object({
      kind: z.literal('stream'),
      schema: z.literal(1),
      session: z.string().describe('Another one: the service was started anew, and counts from 1'),
      oldest: count.describe('The first sequence number that can still be read'),
      newest: count,
    })
    .describe('What each reader is told first'),
  gap: z
    .object({
      kind: z.literal('gap'),
      reason: z.enum(['slow', 'late', 'restart']),
      from: count,
      to: count,
    })
    .describe(
      'This reader was not told the items from `from` to `to`. slow: it did not read in time; late: it asked for what is kept no more; restart: it asked for another session’s, of which none are kept, or by a number that was never given',
    ),
  flows: z
    .object({ kind: z.literal('flows'), state: z.enum(['told', 'untold']) })
    .describe('Flows are told from here on, or no more: nobody reads of them'),
  ready: z
    .object({
      kind: z.literal('ready'),
      datapath: z.enum(['bpf', 'ct', 'mark', 'map']),
      marks: z.string().describe('The bits of the ct mark that are ours: 0x7f000000'),
      links: z.array(
        z.object({
          name: z.string(),
          device: z.string(),
          download: rate.optional(),
          upload: rate.optional(),
          shares: z.string().optional().describe('Device of the link whose tree it shares'),
        }),
      ),
      queues: z.array(queue),
    })
    .describe('Everything is in place: packets are being steered'),
  flow,
  overrun: z
    .object({
      kind: z.literal('overrun'),
      count: count.describe(
        'Events that were lost, at least: those that found no room in the kernel’s ring; without it, overruns of the socket, of which each lost some',
      ),
    })
    .describe('The kernel dropped events for our socket; a resync follows'),
  resync: z
    .object({
      kind: z.literal('resync'),
      reason: z
        .enum(['start', 'overrun', 'sweep'])
        .describe('start: the first look; overrun: events were lost; sweep: for flows of whose end no event tells'),
      flows: count,
      added: count.describe('Flows that were not known before'),
      removed: count.describe('Flows that were known but are gone'),
      complete: z.boolean().describe('false: the dump was interrupted; what it told was taken, nothing was removed'),
    })
    .describe('The flow table was read from the kernel anew'),
  link: z.object({
    kind: z.literal('link'),
    name: z.string(),
    device: z.string(),
    state: z
      .enum(['steering', 'watching', 'open', 'absent'])
      .describe(
        'steering: as the policy says; watching: no rate, nothing is shaped; open: packets pass unshaped; absent: the device is not there',
      ),
    reason: z.string(),
  }),
  table: z
    .object({ kind: z.literal('table'), name: z.string(), state: z.enum(['restored', 'lost']), reason: z.string() })
    .describe('Our nft tables or taps were taken away by somebody'),
  policy: z
    .object({
      kind: z.literal('policy'),
      state: z.enum(['reading', 'changed', 'kept']),
      file: z.string(),
      reason: z.string(),
      queues: z.array(queue).optional().describe('changed: those in force now'),
    })
    .describe('A reload: the policy is being read; then it was changed, or kept as it was'),
  confirm: z
    .object({
      kind: z.literal('confirm'),
      state: z.enum(['waiting', 'confirmed', 'expired']),
      what: z.enum(['up', 'reload']).describe('What is taken back: everything, or a reload'),
      until: z.iso.datetime(),
    })
    .describe('What --confirm asks for'),
  warning: z.object({ kind: z.literal('warning'), message: z.string() }),
};

const envelope = {
  seq: count.describe('Counts up by 1 over a session'),
  time: z.iso.datetime().describe('Wall time, UTC'),
  monotonic: z
    .number()
    .describe('The kernel’s CLOCK_MONOTONIC, ms: goes on evenly when somebody sets the clock, and begins anew at boot'),
};

/** What happened, without number and time. */
export const eventSchemas = events;

const { stream, gap, flows, ready, overrun, resync, link, table, policy, confirm, warning } = events;

/** One item of the stream: a line of `headgate events --json`. */
export const itemSchema = z
  .discriminatedUnion('kind', [
    stream.extend(envelope),
    gap.extend(envelope),
    flows.extend(envelope),
    ready.extend(envelope),
    flow.extend(envelope),
    overrun.extend(envelope),
    resync.extend(envelope),
    link.extend(envelope),
    table.extend(envelope),
    policy.extend(envelope),
    confirm.extend(envelope),
    warning.extend(envelope),
  ])
  .describe('One item of the event stream of headgate, schema version 1');

/** As JSON Schema: docs/events.schema.json. A reader has to pass over properties and kinds that it does not know. */
export const itemJsonSchema = (): object => z.toJSONSchema(itemSchema, { io: 'input' });
