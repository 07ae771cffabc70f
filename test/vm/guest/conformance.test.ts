// The conformance suite (test/kernel/conformance*.ts): on 6.1 every datapath with every kind of tree, and over every kind of
// link; on 6.12 every datapath, every kind of tree. Shown on Linux 6.1.

import { conformance } from '../../kernel/conformance.ts';
import { turn } from './turn.ts';

conformance([
  { datapath: 'ct', tree: 'htb', link: 'veth' },
  { datapath: 'mark', tree: 'cake', link: 'vlan' },
  { datapath: 'bpf', tree: 'prio', link: 'veth' },
  { datapath: 'map', tree: 'cake', link: 'tun' },
  ...turn(
    [
      { datapath: 'bpf', tree: 'htb', link: 'tun' },
      { datapath: 'bpf', tree: 'cake', link: 'vlan' },
      { datapath: 'ct', tree: 'prio', link: 'vlan' },
      { datapath: 'ct', tree: 'cake', link: 'tun' },
      { datapath: 'mark', tree: 'htb', link: 'veth' },
      { datapath: 'mark', tree: 'prio', link: 'tun' },
      { datapath: 'map', tree: 'htb', link: 'vlan' },
      { datapath: 'map', tree: 'prio', link: 'veth' },
    ] as const,
    [],
  ),
]);
