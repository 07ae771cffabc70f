// One suite for every datapath: which class each packet takes. Shown on the machine's own kernel (6.18), which has cls_bpf,
// nft's netdev family and HTB, and no VLAN devices; test/vm/guest/conformance.test.ts runs it with all that Debian's kernels have.

import { conformance } from './conformance.ts';

conformance([
  { datapath: 'bpf', tree: 'htb', link: 'veth' },
  { datapath: 'bpf', tree: 'htb', link: 'tun' },
  { datapath: 'map', tree: 'htb', link: 'veth' },
  { datapath: 'map', tree: 'htb', link: 'tun' },
]);
