import type { FlowFacts } from '../model/index.ts';
import type { FlowView, Reading } from '../pipeline/index.ts';

/** What a flow has, with counters that were read for this alone. */
export function factsOf(flow: FlowView, reading: Reading | undefined): FlowFacts {
  const { origin, protocol, local, remote, zone, nat, tcpState, age, idle, clock } = flow;
  const { device, mac, dscp, helper, user, process, unit, cgroup, domains, p2p } = flow;
  const { rate } = reading ?? {};
  return {
    ...{ origin, protocol, local, remote, zone, nat, tcpState, age, idle, clock },
    ...{ device, mac, dscp, helper, user, process, unit, cgroup, domains, p2p },
    bytes: reading?.bytes ?? flow.bytes,
    packets: reading?.packets ?? flow.packets,
    rate: (direction, window) =>
      flow.rate(direction, window) ?? (rate && (direction === 'total' ? rate.in + rate.out : rate[direction])),
    count: (of, by) => flow.count(of, by),
    held: (timer) => flow.held(timer),
    inSet: (set, address) => flow.inSet(set, address),
  };
}
