// The conformance suite (test/kernel/conformance*.ts): every datapath with every kind of tree, and over every kind of link.
// Shown on Linux 6.1.

import { conformance } from '../../kernel/conformance.ts';

conformance([
  { datapath: 'bpf', tree: 'htb', link: 'tun' },
  { datapath: 'bpf', tree: 'prio', link: 'veth' },
  { datapath: 'bpf', tree: 'cake', link: 'vlan' },
  { datapath: 'ct', tree: 'htb', link: 'veth' },
  { datapath: 'ct', tree: 'prio', link: 'vlan' },
  { datapath: 'ct', tree: 'cake', link: 'tun' },
  { datapath: 'mark', tree: 'htb', link: 'veth' },
  { datapath: 'mark', tree: 'prio', link: 'tun' },
  { datapath: 'mark', tree: 'cake', link: 'vlan' },
  { datapath: 'map', tree: 'htb', link: 'vlan' },
  { datapath: 'map', tree: 'prio', link: 'veth' },
  { datapath: 'map', tree: 'cake', link: 'tun' },
]);
