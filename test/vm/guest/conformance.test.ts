// The conformance suite (test/kernel/conformance*.ts) on the datapaths that Debian's kernels have and this machine's
// lacks. Shown on Linux 6.1.

import { conformance } from '../../kernel/conformance.ts';

conformance([
  { datapath: 'ct', tree: 'htb', link: 'veth' },
  { datapath: 'mark', tree: 'htb', link: 'veth' },
]);
