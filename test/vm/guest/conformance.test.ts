// The conformance suite (test/kernel/conformance*.ts): every datapath with every kind of tree, and over every
// kind of link; on each kernel every datapath, every kind of tree, every kind of link. Shown on Linux 6.1 and 6.12.

import { conformance } from '../../kernel/conformance.ts';
import { turn } from './turn.ts';

conformance(
  turn(
    [
      { datapath: 'ct', tree: 'htb', link: 'veth' },
      { datapath: 'bpf', tree: 'prio', link: 'veth' },
      { datapath: 'mark', tree: 'cake', link: 'vlan' },
      { datapath: 'map', tree: 'cake', link: 'tun' },
    ],
    [
      { datapath: 'mark', tree: 'htb', link: 'veth' },
      { datapath: 'map', tree: 'prio', link: 'veth' },
      { datapath: 'bpf', tree: 'cake', link: 'vlan' },
      { datapath: 'ct', tree: 'prio', link: 'vlan' },
      { datapath: 'map', tree: 'htb', link: 'vlan' },
      { datapath: 'bpf', tree: 'htb', link: 'tun' },
      { datapath: 'ct', tree: 'cake', link: 'tun' },
      { datapath: 'mark', tree: 'prio', link: 'tun' },
    ],
  ),
);
