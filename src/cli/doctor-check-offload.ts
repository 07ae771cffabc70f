import type { Concern } from '../model/index.ts';
import type { Evidence } from './doctor-evidence.ts';

/** Flows that go past netfilter by a flowtable, or past the kernel by the card: with what part of the traffic they are. */
export function checkOffload({ readings: { offload }, wants }: Evidence): Concern[] {
  const { flowtables, flows, offloaded, hardware, bytes, offloadedBytes, counted } = offload;
  const devices = wants.links.map(({ device }) => device);
  const share = (part: number, whole: number) => `${Math.round((100 * part) / whole)} %`;
  const ofBytes = flowtables.some(({ counter }) => !counter)
    ? '; how many bytes is not known, since a flowtable without `counter` tells nobody'
    : bytes > 0
      ? `, ${share(offloadedBytes, bytes)} of the bytes of ${counted === flows ? 'all' : `the ${counted} that are counted`}`
      : '';
  const measured = offloaded === 0 ? 'no flow at the moment' : `${offloaded} of ${flows} flows at the moment${ofBytes}`;
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
            what: `${hardware} of ${flows} flows run in the card: no qdisc ever sees their packets`,
            advice: 'take `flags offload` from the flowtable (firewall4: option flow_offloading_hw 0)',
          } as const,
        ]
      : []),
  ];
}
