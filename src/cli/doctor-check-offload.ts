import type { Concern } from '../model/index.ts';
import type { Evidence } from './doctor-evidence.ts';

/** Flows that go past netfilter by a flowtable, or past the kernel by the card: with what part of the traffic they are. */
export function checkOffload({ readings: { offload, conntrack }, wants }: Evidence): Concern[] {
  const { flowtables, offloaded, hardware, looked, bytes, offloadedBytes, counted } = offload;
  const of = (part: number) =>
    conntrack.count === undefined ? `${part} flows` : `${part} of ${conntrack.count} flows`;
  const devices = wants.links.map(({ device }) => device);
  const share = (part: number, whole: number) => `${Math.round((100 * part) / whole)} %`;
  const ofBytes = flowtables.some(({ counter }) => !counter)
    ? '; how many bytes is not known, since a flowtable without `counter` tells nobody'
    : bytes > 0
      ? `, ${share(offloadedBytes, bytes)} of the bytes of ${counted === conntrack.count ? 'all' : counted === looked ? `the ${looked} that were looked at` : `the ${counted} that are counted`}`
      : '';
  const measured = offloaded === 0 ? 'no flow at the moment' : `${of(offloaded)} at the moment${ofBytes}`;
  return [
    ...flowtables
      .filter((table) => table.devices.some((device) => devices.includes(device)))
      .map((table): Concern => {
        const through = table.devices.filter((device) => devices.includes(device)).join(', ');
        return {
          check: 'flowtable',
          severity: 'problem',
          what: `flowtable ${table.name} takes established flows through ${through} past netfilter${table.hardware ? ', and into the card past the queues' : ''}: ${measured}`,
          advice: `take ${through} out of its devices, or its \`flow add\` rules away (firewall4: option flow_offloading 0); else what leaves is \`new\`, and \`up\` asks for bypass netdev-ingress`,
        };
      }),
    ...(hardware > 0
      ? [
          {
            check: 'hardware-offload',
            severity: 'problem',
            what: `${of(hardware)} run in the card: no qdisc ever sees their packets`,
            advice: 'take `flags offload` from the flowtable (firewall4: option flow_offloading_hw 0)',
          } as const,
        ]
      : []),
  ];
}
