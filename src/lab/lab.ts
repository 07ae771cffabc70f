import { AccessLink, type AccessLinkOptions } from './access-link.ts';
import { addVeth, Namespace } from './namespace.ts';

/** The devices: `wan` is the box's end of the access link, `lan` its side of the LAN. */
export const WAN = 'wan';

/** Addresses of the lab (RFC 5737, RFC 3849, RFC 1918). */
export const ADDRESSES = {
  world: { v4: '198.51.100.1', v6: '2001:db8:1::1' },
  box: { v4: '198.51.100.2', v6: '2001:db8:1::2' },
  boxLan: { v4: '192.168.77.1', v6: '2001:db8:77::1' },
  lan: { v4: '192.168.77.2', v6: '2001:db8:77::2' },
} as const;

/** The port that the box forwards to the LAN host: that of a torrent client. */
export const TORRENT_PORT = 51413;

export interface LabOptions extends AccessLinkOptions {
  /** IPv4 masquerade on `wan`, and {@link TORRENT_PORT} forwarded to the LAN host (TCP and UDP). IPv6 is never translated. */
  readonly nat: boolean;
}

/** 20 mbit each way, 30 ms there and back, and a FIFO that holds a quarter of a second. */
export const ACCESS_LINK: AccessLinkOptions = { rateMbit: 20, rttMs: 30, fifoMs: 250 };

/**
 * A small internet in network namespaces:
 *
 *     lan ──veth── box ══access link══ world
 *
 * `box` is the router under test, `world` everything beyond its access link, `lan` a host behind it. All speak IPv4
 * and IPv6, and TCP with CUBIC that remembers nothing of earlier connections, whatever the machine's default is.
 */
export class Lab {
  readonly box: Namespace;
  readonly world: Namespace;
  readonly lan: Namespace;
  readonly link: AccessLink;

  private constructor(box: Namespace, world: Namespace, lan: Namespace, link: AccessLink) {
    this.box = box;
    this.world = world;
    this.lan = lan;
    this.link = link;
  }

  /** Builds it, and leaves nothing where it fails. */
  static async build(options: LabOptions): Promise<Lab> {
    const made: Namespace[] = [];
    let link: AccessLink | undefined;
    const add = async (label: string) => {
      const ns = await Namespace.add(label);
      made.push(ns);
      await ns.run('sysctl', '-qw', 'net.ipv4.tcp_no_metrics_save=1');
      return ns;
    };
    try {
      const box = await add('box');
      const world = await add('world');
      const lan = await add('lan');
      link = await AccessLink.add(box, WAN, world, 'wan', options);
      await addVeth(box, 'lan', lan, 'eth0');
      await address(world, 'wan', ADDRESSES.world);
      await address(box, WAN, ADDRESSES.box);
      await address(box, 'lan', ADDRESSES.boxLan);
      await address(lan, 'eth0', ADDRESSES.lan);
      await defaultRoute(box, ADDRESSES.world);
      await defaultRoute(lan, ADDRESSES.boxLan);
      await route(world, '2001:db8:77::/64', 'via', ADDRESSES.box.v6);
      await box.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
      if (options.nat) await box.feed(NAT, 'nft', '-f', '-');
      else await route(world, '192.168.77.0/24', 'via', ADDRESSES.box.v4);
      return new Lab(box, world, lan, link);
    } catch (error) {
      await link?.del();
      await Promise.all(made.map((ns) => ns.del()));
      throw error;
    }
  }

  /** Takes everything down, with every process inside. Twice is no error. */
  async close(): Promise<void> {
    await this.link.del();
    await Promise.all([this.box, this.world, this.lan].map((ns) => ns.del()));
  }
}

interface Pair {
  readonly v4: string;
  readonly v6: string;
}

async function address(ns: Namespace, device: string, { v4, v6 }: Pair): Promise<void> {
  await ns.run('ip', 'address', 'add', `${v4}/24`, 'dev', device, 'noprefixroute');
  await ns.run('ip', 'address', 'add', `${v6}/64`, 'dev', device, 'nodad', 'noprefixroute');
  await route(ns, v4.replace(/\d+$/, '0/24'), 'dev', device);
  await route(ns, v6.replace(/\d+$/, '/64'), 'dev', device);
}

async function defaultRoute(ns: Namespace, via: Pair): Promise<void> {
  await route(ns, '0.0.0.0/0', 'via', via.v4);
  await route(ns, '::/0', 'via', via.v6);
}

// The route names CUBIC, since a namespace may not choose an algorithm that the machine restricts
// (tcp_set_default_congestion_control, -EPERM), and a machine with BBR as its default does so.
const route = (ns: Namespace, ...route: string[]) => ns.run('ip', 'route', 'add', ...route, 'congctl', 'cubic');

const NAT = `table ip lab {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "${WAN}" tcp dport ${TORRENT_PORT} dnat to ${ADDRESSES.lan.v4}
		iifname "${WAN}" udp dport ${TORRENT_PORT} dnat to ${ADDRESSES.lan.v4}
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "${WAN}" masquerade
	}
}
`;
