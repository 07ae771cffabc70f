import { expect, it } from 'vitest';
import { readIngressChains, readNatChains } from '../../src/kernel/index.ts';

it('finds chains and flowtables at ingress with their devices in what nft prints', () => {
  const text = `table netdev fw {
	chain i {
		type filter hook ingress device "wan" priority filter; policy accept;
	}
	chain e {
		type filter hook egress device "lan" priority filter; policy accept;
	}
	chain j {
		type filter hook ingress devices = { wan, "ppp0" } priority 5; policy accept;
	}
}
table inet x {
	chain k {
		type filter hook prerouting priority filter; policy accept;
	}
	flowtable f {
		hook ingress priority filter
		devices = { lan, wan }
	}
}
`;
  expect(readIngressChains(text)).toEqual([
    { device: 'wan', name: 'table netdev fw chain i' },
    { device: 'wan', name: 'table netdev fw chain j' },
    { device: 'ppp0', name: 'table netdev fw chain j' },
    { device: 'lan', name: 'table inet x flowtable f' },
    { device: 'wan', name: 'table inet x flowtable f' },
  ]);
});

it('reads where NAT is done, or may be', () => {
  const text = `table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
	}
	chain helper {
	}
}
table inet nat {
	chain filter {
		type filter hook input priority filter; policy accept;
	}
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
	}
}
`;
  expect(readNatChains(text)).toEqual(['table ip nat chain prerouting', 'table inet nat chain POSTROUTING']);
  expect(readNatChains('')).toEqual([]);
});
