import { type End, formatAddress, protocolName } from '../model/index.ts';
import type { FlowEvent } from '../monitor/index.ts';
import type { FlowView } from './flow-view.ts';

/** What the end of a flow tells. */
export interface LastCounts {
  readonly bytes?: number | undefined;
  readonly packets?: number | undefined;
}

/** An item of the event stream about the flow that the view stands on. */
export const flowEvent = (
  kind: FlowEvent['kind'],
  flow: Pick<FlowView, 'protocol' | 'local' | 'remote' | 'origin' | 'zone'>,
  queue: string,
  rule: string | undefined,
  { bytes, packets }: LastCounts = {},
): FlowEvent => ({
  kind,
  protocol: protocolName(flow.protocol),
  local: formatEnd(flow.local),
  remote: formatEnd(flow.remote),
  origin: flow.origin,
  queue,
  ...(rule !== undefined && { rule }),
  ...(flow.zone !== 0 && { zone: flow.zone }),
  ...(bytes !== undefined && { bytes, packets }),
});

function formatEnd({ address, port }: End): string {
  const text = formatAddress(address);
  if (port === undefined) return text;
  return address.length === 16 ? `[${text}]:${port}` : `${text}:${port}`;
}
