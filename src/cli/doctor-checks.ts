import type { Concern } from '../model/index.ts';
import { checkDevices } from './doctor-check-devices.ts';
import { checkNowhere } from './doctor-check-nowhere.ts';
import { checkOffload } from './doctor-check-offload.ts';
import { checkOthers } from './doctor-check-others.ts';
import type { Evidence } from './doctor-evidence.ts';

type Check = (evidence: Evidence) => readonly Concern[];

/** In the order of the report. Each is pure. */
const CHECKS: readonly Check[] = [
  checkHung,
  checkNowhere,
  checkOffload,
  checkOthers,
  checkConntrack,
  checkBridge,
  checkDevices,
  checkReceiveBuffer,
  checkClock,
];

/** Everything that is in the way of what is wanted, the worst first. */
export function listConcerns(evidence: Evidence): Concern[] {
  const found = CHECKS.flatMap((check) => check(evidence));
  const rank = ({ severity }: Concern) => ['problem', 'warning', 'note'].indexOf(severity);
  return found.toSorted((a, b) => rank(a) - rank(b));
}

/** A service that does not answer: nobody opens a redirect in time, nothing live is decided. */
function checkHung({ hung }: Evidence): Concern[] {
  if (hung === undefined) return [];
  return [
    {
      check: 'service-hangs',
      severity: 'problem',
      what: `headgate (pid ${hung}) has the place of the service and does not answer: it hangs, or is just starting`,
      advice: 'headgate down ends it, and removes what is here; then headgate up',
    },
  ];
}

/** Parts of the table in use from which on it is nearly full, and as good as full. */
const NEAR = 0.8;
const FULL = 0.95;

function checkConntrack({ readings: { conntrack } }: Evidence): Concern[] {
  const { count, max } = conntrack;
  if (count === undefined || !max || count < NEAR * max) return [];
  return [
    {
      check: 'conntrack-full',
      severity: count < FULL * max ? 'warning' : 'problem',
      what: `conntrack has ${count} of at most ${max} entries: beyond, new connections are dropped, or stay unknown and are \`new\``,
      advice: `sysctl -w net.netfilter.nf_conntrack_max=${2 * max}, or find who opens that many: conntrack -L`,
    },
  ];
}

function checkBridge({ readings: { bridge }, wants }: Evidence): Concern[] {
  const { families, bridges } = bridge;
  if (families.length === 0 || bridges.length === 0) return [];
  const links = wants.links.filter(({ device }) => bridges.includes(device)).map(({ device }) => device);
  return [
    {
      check: 'bridge-netfilter',
      severity: links.length > 0 ? 'warning' : 'note',
      what: `netfilter sees ${families.join(' and ')} that is bridged on ${bridges.join(', ')} as if it were routed: what is bridged and then routed is tracked and marked twice`,
      advice:
        'sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0, unless a firewall for bridged hosts (Docker, Kubernetes) relies on it',
    },
  ];
}

function checkReceiveBuffer({ readings: { receiveBuffer } }: Evidence): Concern[] {
  const { asked, given } = receiveBuffer;
  if (given === undefined || given >= asked) return [];
  return [
    {
      check: 'receive-buffer',
      severity: 'warning',
      what: `the kernel gives conntrack's events ${Math.round(given / 1024)} KiB to wait in, of ${Math.round(asked / 1024)}: storms of new flows overrun it, and each overrun costs a look at the whole table`,
      advice: `sysctl -w net.core.rmem_max=${asked}, on the host where this is a container`,
    },
  ];
}

function checkClock({ readings, wants }: Evidence): Concern[] {
  if (readings.clock !== false || !wants.clock) return [];
  return [
    {
      check: 'clock',
      severity: 'warning',
      what: 'rules ask for the time, and nothing keeps the clock right (adjtimex: TIME_ERROR); when it is set, they jump with it',
      advice: 'run systemd-timesyncd, chrony or ntpd: timedatectl set-ntp true',
    },
  ];
}
