// The conformance suite (test/kernel/conformance*.ts) for what Debian's kernels have and this machine's lacks: each
// datapath, tree and link once. Shown on Linux 6.1.

import { conformance } from '../../kernel/conformance.ts';

conformance([
  { datapath: 'ct', tree: 'htb', link: 'veth' },
  { datapath: 'mark', tree: 'htb', link: 'veth' },
  { datapath: 'ct', tree: 'prio', link: 'tun' },
  { datapath: 'mark', tree: 'prio', link: 'tun' },
  { datapath: 'bpf', tree: 'prio', link: 'veth' },
  { datapath: 'map', tree: 'prio', link: 'veth' },
]);
