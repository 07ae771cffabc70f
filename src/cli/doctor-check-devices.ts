import type { DeviceReading } from '../kernel/readings.ts';
import { type Concern, formatRate } from '../model/index.ts';
import type { Evidence, WantedLink } from './doctor-evidence.ts';

/** Below it packets are dropped before a queue is asked. */
const LEAST_TXQUEUELEN = 100;
/** Bytes that GRO and GSO put into one packet at most (GRO_LEGACY_MAX_SIZE, linux/netdevice.h). */
const JOINED_BYTES = 65_536;
/** Ms that one packet may hold up the line before it is felt in a call. */
const FELT_MS = 20;

/** The devices of the links by themselves: their speed, their queue, and what the card does to packets. */
export const checkDevices = ({ readings, wants }: Evidence): Concern[] =>
  wants.links.flatMap((link) => {
    const device = readings.devices.find(({ name }) => name === link.device);
    return device ? [...checkSpeed(device, link), ...checkQueue(device), ...checkJoining(device, link)] : [];
  });

function checkSpeed({ name, speed }: DeviceReading, link: WantedLink): Concern[] {
  if (speed === undefined) return [];
  return (['download', 'upload'] as const).flatMap((way): Concern[] => {
    const rate = link[way];
    if (rate === undefined || rate <= speed) return [];
    return [
      {
        check: 'rate-above-link',
        severity: 'problem',
        what: `${way} ${formatRate(rate)} is more than ${name} carries, ${formatRate(speed)}: packets queue in the card and not in the tree`,
        advice: `write about 90 % of what the line carries, at most ${way} ${formatRate(Math.floor(speed * 0.95))}`,
      },
    ];
  });
}

function checkQueue({ name, txqueuelen }: DeviceReading): Concern[] {
  if (txqueuelen === undefined || txqueuelen >= LEAST_TXQUEUELEN) return [];
  return [
    {
      check: 'txqueuelen',
      severity: txqueuelen === 0 ? 'warning' : 'note',
      what: `${name} has a queue of ${txqueuelen} packets: what HTB passes by unclassified (ARP, neighbour discovery) is dropped in bursts`,
      advice: `ip link set dev ${name} txqueuelen 1000`,
    },
  ];
}

function checkJoining({ name, features }: DeviceReading, { download, upload }: WantedLink): Concern[] {
  if (!features) return [];
  const joined = (feature: string, option: string, way: 'download' | 'upload', rate: number | undefined): Concern[] => {
    if (rate === undefined || !features.has(feature)) return [];
    const ms = (JOINED_BYTES * 8 * 1000) / rate;
    if (ms < FELT_MS) return [];
    return [
      {
        check: option,
        severity: 'warning',
        what: `${feature} is on: packets of up to 64 KiB leave the queue in one piece, and hold up a line of ${formatRate(rate)} ${way} for ${Math.round(ms)} ms`,
        advice: `ethtool -K ${name} ${option} off, or \`tree cake\`, which takes them apart`,
      },
    ];
  };
  return [
    ...(features.has('large-receive-offload')
      ? [
          {
            check: 'lro',
            severity: 'warning',
            what: `large-receive-offload of ${name} is on: packets that it joins cannot be forwarded as they came`,
            advice: `ethtool -K ${name} lro off`,
          } as const,
        ]
      : []),
    ...joined('generic-receive-offload', 'gro', 'download', download),
    ...joined('generic-segmentation-offload', 'gso', 'upload', upload),
    ...joined('tcp-segmentation-offload', 'tso', 'upload', upload),
  ];
}
