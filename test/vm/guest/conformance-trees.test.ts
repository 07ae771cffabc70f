// The conformance suite (test/kernel/conformance*.ts) with the other trees, and on a device without a link layer.
// Shown on Linux 6.1.

import { conformance } from '../../kernel/conformance.ts';

conformance([
  { datapath: 'ct', tree: 'prio', link: 'tun' },
  { datapath: 'mark', tree: 'prio', link: 'tun' },
  { datapath: 'bpf', tree: 'prio', link: 'veth' },
  { datapath: 'map', tree: 'prio', link: 'veth' },
  { datapath: 'bpf', tree: 'cake', link: 'tun' },
  { datapath: 'ct', tree: 'cake', link: 'tun' },
]);
