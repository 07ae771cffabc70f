// SPDX-License-Identifier: MIT
/*
 * The classifier: which class a packet belongs to, by who opened its connection.
 *
 * One object, five programs; tc loads one of them at a time, so each load has maps of its own.
 *
 * - `ingress`, on a device's ingress hook with mirred behind it, before netfilter has seen the packet:
 *     tc filter replace dev wan ingress protocol all prio 10 handle 1 \
 *       bpf obj steer.bpf.o sec ingress action mirred egress redirect dev IFB
 *   Sets skb->priority to the class, which HTB on the ifb takes, and returns -1 (match); 0 leaves the packet alone.
 * - `sort` and `pick`, where what arrives goes to several IFBs: `sort` sets skb->priority likewise, and returns 0, so that
 *   the filters behind it are asked; there `pick` matches the classes that it is configured for, with a mirred of its own.
 * - `egress`, as the classifier of the device's HTB root:
 *     tc filter replace dev wan parent 7fe1: protocol all prio 10 handle 1 bpf obj steer.bpf.o sec egress
 *   Returns the class; 0 leaves the packet to HTB's default. Writes nothing into the packet, but while somebody captures:
 *   then skb->priority says the class, by which native-shim/programs/capture.c knows the packet behind the queue.
 * - `tin`, as the classifier of the device's cake root, which would take a class that is returned for a flow, but asks
 *   its filters before it looks at skb->priority: sets that to the class, and returns 0.
 *
 * Three rules say what happens:
 *   1. What is not valid IP, and the link's own control traffic, is left alone: never delayed, never redirected.
 *   2. A flow that is found goes by the class number in its conntrack mark, or else by who opened it.
 *   3. IP whose flow is not known, for whatever reason, is `new`: no trick of headers gets a packet past the queues.
 *
 * cls_bpf's return values: net/sched/cls_bpf.c, cls_bpf_classify(). Shown on Linux 6.1 and 6.18.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "conntrack.h"
#include "fragment.h"
#include "icmp.h"
#include "packet.h"
#include "steer.h"

#define MATCH (-1)
#define LEAVE_ALONE 0

#define DHCP_SERVER 67 /* RFC 2131 */
#define DHCP_CLIENT 68
#define DHCPV6_CLIENT 546 /* RFC 8415 */
#define DHCPV6_SERVER 547

const volatile struct steer_config config = {
	.major = 0x7fe00000,
	.mark_mask = 0x7f000000,
	.mark_shift = 24,
	.highest_class = 0x7f,
	.local_class = 1,
	.remote_class = 2,
	.new_class = 3,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

/*
 * One value: CLOCK_MONOTONIC in ns, from which on every packet passes untouched; 0: never. Whoever watches the links
 * keeps moving it on (src/service/deadline.ts). That clock stands still while the machine sleeps, as the watcher does.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} deadline SEC(".maps");

/* One value: CLOCK_MONOTONIC in ns, until which `egress` tells the class in the packet (src/cli/capture.ts); 0: it does not. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} captured SEC(".maps");

static __always_inline __u64 value_of(void *map)
{
	__u32 key = 0;
	const __u64 *value = bpf_map_lookup_elem(map, &key);

	return value ? *value : 0;
}

/* The coarse clock, a tick behind at most, is read without asking the hardware. */
static __always_inline bool has_expired(void)
{
	__u64 from = value_of(&deadline);

	return from && bpf_ktime_get_coarse_ns() >= from;
}

static __always_inline bool is_captured(void)
{
	__u64 until = value_of(&captured);

	return until && bpf_ktime_get_coarse_ns() < until;
}

static __always_inline void count(__u32 key)
{
	__u64 *packets = bpf_map_lookup_elem(&verdicts, &key);

	if (packets)
		(*packets)++;
}

static __always_inline struct verdict left_alone(void)
{
	return (struct verdict){ .outcome = STEER_LEFT_ALONE };
}

static __always_inline struct verdict local(void)
{
	return (struct verdict){ .outcome = STEER_LOCAL, .minor = config.local_class };
}

static __always_inline struct verdict remote(void)
{
	return (struct verdict){ .outcome = STEER_REMOTE, .minor = config.remote_class };
}

static __always_inline struct verdict unknown(void)
{
	return (struct verdict){ .outcome = STEER_NEW, .minor = config.new_class };
}

/* `new`, since a header that is needed is cut short. */
static __always_inline struct verdict truncated(void)
{
	count(STEER_MALFORMED);
	return unknown();
}

static __always_inline struct verdict by_conntrack(struct __sk_buff *skb, const struct ip_header *ip,
						   struct ports ports, bool leaving)
{
	struct conntrack_entry entry = conntrack_look_up(skb, ip, ports, leaving);
	__u32 class = (entry.mark & config.mark_mask) >> config.mark_shift;

	if (!entry.found)
		return unknown();
	if (class && class <= config.highest_class)
		return (struct verdict){ .outcome = STEER_MARKED, .minor = class };
	return entry.reply ? local() : remote();
}

/* The kfunc cannot look ICMP up; but a request comes from the side that asks, and a reply goes to it. */
static __always_inline struct verdict by_echo(const struct ip_header *ip, __u8 type, bool leaving)
{
	if (is_icmp_request(ip, type))
		return leaving ? local() : remote();
	if (is_icmp_reply(ip, type))
		return leaving ? remote() : local();
	return unknown();
}

/*
 * An ICMP error goes by the packet that it quotes, which ran the other way: the error that arrives quotes a packet
 * that left. It goes to that packet's sender, or somebody made it up (nf_conntrack_inet_error() of
 * net/netfilter/nf_conntrack_proto_icmp.c asks the same).
 */
static __always_inline struct verdict by_quoted(struct __sk_buff *skb, struct place at, const struct ip_header *error,
						bool leaving)
{
	struct ip_header ip = {};
	struct ports ports;
	__u8 type;

	count(STEER_ICMP_ERROR);
	at.offset = error->transport + ICMP_HEADER;
	if (!read_ip(skb, bpf_htons(error->family == 4 ? ETH_P_IP : ETH_P_IPV6), at, &ip))
		return truncated();
	if (ip.later || !same_address(ip.source, error->destination))
		return unknown();
	if (ip.protocol == PROTOCOL_TRUNCATED)
		return truncated();
	if (ip.protocol == IPPROTO_TCP || ip.protocol == IPPROTO_UDP) {
		if (!packet_load(skb, at.base, ip.transport, &ports, sizeof(ports)))
			return truncated();
		return by_conntrack(skb, &ip, ports, !leaving);
	}
	if (is_icmp(&ip)) {
		if (!packet_load(skb, at.base, ip.transport, &type, sizeof(type)))
			return truncated();
		return by_echo(&ip, type, !leaving);
	}
	count(STEER_UNSUPPORTED);
	return unknown();
}

static __always_inline bool is_dhcp(const struct ip_header *ip, struct ports ports)
{
	__u16 port = bpf_ntohs(ports.destination);

	if (ip->protocol != IPPROTO_UDP)
		return false;
	return ip->family == 4 ? port == DHCP_SERVER || port == DHCP_CLIENT
			       : port == DHCPV6_SERVER || port == DHCPV6_CLIENT;
}

static __always_inline struct verdict by_icmp(struct __sk_buff *skb, struct place at, const struct ip_header *ip,
					      bool leaving)
{
	__u8 type;

	if (!packet_load(skb, at.base, ip->transport, &type, sizeof(type)))
		return truncated();
	if (is_link_control(ip, type))
		return left_alone();
	if (is_icmp_error(ip, type))
		return by_quoted(skb, at, ip, leaving);
	return by_echo(ip, type, leaving);
}

static __always_inline struct verdict by_transport(struct __sk_buff *skb, struct place at, const struct ip_header *ip,
						   bool leaving)
{
	struct ports ports;

	if (ip->protocol == PROTOCOL_TRUNCATED)
		return truncated();
	if (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP) {
		if (!packet_load(skb, at.base, ip->transport, &ports, sizeof(ports)))
			return truncated();
		return is_dhcp(ip, ports) ? left_alone() : by_conntrack(skb, ip, ports, leaving);
	}
	if (is_icmp(ip))
		return by_icmp(skb, at, ip, leaving);
	if (ip->protocol == IPPROTO_IGMP && ip->family == 4)
		return left_alone();
	count(STEER_UNSUPPORTED);
	return unknown();
}

static __always_inline struct verdict classify(struct __sk_buff *skb, bool leaving)
{
	struct ip_header ip = {};
	struct verdict verdict;
	bool vlan, pppoe;
	struct place at;
	__be16 ethertype;

	if (has_expired())
		return (struct verdict){ .outcome = STEER_EXPIRED };
	ethertype = find_ip(skb, &at, &vlan, &pppoe);
	if (vlan)
		count(STEER_VLAN);
	if (pppoe)
		count(STEER_PPPOE);
	if (!ethertype)
		return left_alone();
	if (!read_ip(skb, ethertype, at, &ip)) {
		count(STEER_MALFORMED);
		return left_alone();
	}
	if (ip.later) {
		if (fragment_recall(&ip, &verdict)) {
			count(STEER_FRAGMENT_HIT);
			return verdict;
		}
		count(STEER_FRAGMENT_MISS);
		return unknown();
	}
	verdict = by_transport(skb, at, &ip, leaving);
	if (ip.fragment)
		fragment_remember(&ip, verdict);
	return verdict;
}

static __always_inline bool set_class_arriving(struct __sk_buff *skb)
{
	struct verdict verdict = classify(skb, false);

	count(verdict.outcome);
	if (!verdict.minor)
		return false;
	skb->priority = config.major | verdict.minor;
	return true;
}

SEC("ingress")
int steer_ingress(struct __sk_buff *skb)
{
	return set_class_arriving(skb) ? MATCH : LEAVE_ALONE;
}

SEC("sort")
int steer_sort(struct __sk_buff *skb)
{
	set_class_arriving(skb);
	return LEAVE_ALONE;
}

SEC("pick")
int steer_pick(struct __sk_buff *skb)
{
	__u64 minor = skb->priority ^ config.major;
	bool mine = false;

	/* Two fixed places: that an index fits, the verifier does not see. */
	if (minor < 64)
		mine = config.picked[0] >> minor & 1;
	else if (minor < STEER_PICKABLE)
		mine = config.picked[1] >> (minor - 64) & 1;
	if (!mine)
		return LEAVE_ALONE;
	skb->priority &= ~STEER_SECOND_SET;
	return MATCH;
}

static __always_inline __u32 class_leaving(struct __sk_buff *skb)
{
	struct verdict verdict = classify(skb, true);

	count(verdict.outcome);
	return verdict.minor ? config.major | verdict.minor : LEAVE_ALONE;
}

SEC("egress")
int steer_egress(struct __sk_buff *skb)
{
	__u32 class = class_leaving(skb);

	if (class && is_captured())
		skb->priority = class;
	return class;
}

SEC("tin")
int steer_tin(struct __sk_buff *skb)
{
	__u32 class = class_leaving(skb);

	if (class)
		skb->priority = class;
	return LEAVE_ALONE;
}

/* Kfuncs are for GPL-compatible programs, and this is how the kernel spells an MIT licence that is (linux/license.h). */
char _license[] SEC("license") = "Dual MIT/GPL";
