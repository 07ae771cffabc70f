/* SPDX-License-Identifier: MIT
 *
 * Where a packet's network header is, and what it says.
 *
 * All reading goes through packet_load(): no pointer into the packet is ever held, so there is nothing that a change
 * of the packet could make stale, and nothing for the verifier to lose.
 */
#ifndef HEADGATE_PACKET_H
#define HEADGATE_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEADERS_MAX 512 /* bytes that are made linear when a driver has left the headers in pages */
#define VLAN_TAGS_MAX 2	/* in line, besides the one that the device may have taken off */

#define IPV4_MORE_FRAGMENTS 0x2000 /* include/net/ip.h: IP_MF, IP_OFFSET */
#define IPV4_OFFSET 0x1fff
#define IPV6_MORE_FRAGMENTS 0x0001 /* include/net/ipv6.h: IP6_MF, IP6_OFFSET */
#define IPV6_OFFSET 0xfff8

#define PPPOE_SESSION_DATA 0x1100 /* RFC 2516: version 1, type 1, code 0 */
#define PPP_IPV4 0x0021
#define PPP_IPV6 0x0057

#define PROTOCOL_TRUNCATED 255 /* reserved by IANA: the packet ends within its extension headers */

/* A place in the packet: `offset` bytes behind BPF_HDR_START_NET or BPF_HDR_START_MAC. */
struct place {
	__u32 base;
	__u32 offset;
};

struct vlan_tag {
	__be16 tci;
	__be16 ethertype;
};

struct pppoe_header {
	__be16 version_type_code;
	__be16 session;
	__be16 length;
	__be16 ppp_protocol;
};

struct ipv6_extension {
	__u8 next;
	__u8 length;
	__be16 fragment_offset; /* the fragment header's alone, as is the id */
	__be32 fragment_id;
};

/* What an IP header says, of both families. Addresses of IPv4 stand in the first word, zeros behind. */
struct ip_header {
	__be32 source[4];
	__be32 destination[4];
	__u32 transport; /* offset of what follows, from the place's base */
	__be32 fragment_id;
	__u8 family; /* 4 or 6 */
	__u8 protocol;
	__u8 hop_limit;
	bool fragment; /* one of several */
	bool later;    /* not the first of them: has no transport header */
};

/*
 * Copies `length` bytes at `offset` from the base. False where the packet ends before.
 *
 * bpf_skb_load_bytes_relative() (net/core/filter.c) finds the network header on devices with and without a link
 * layer, but reads the linear part only. Drivers that leave headers in pages are rare; for them the headers are
 * made linear, once, when the first read fails.
 */
static __always_inline bool packet_load(struct __sk_buff *skb, __u32 base, __u32 offset, void *to, __u32 length)
{
	if (!bpf_skb_load_bytes_relative(skb, offset, to, length, base))
		return true;
	if (bpf_skb_pull_data(skb, skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX))
		return false;
	return !bpf_skb_load_bytes_relative(skb, offset, to, length, base);
}

static __always_inline bool same_address(const __be32 *a, const __be32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

static __always_inline bool is_vlan(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

/*
 * Finds the IP header: returns its ethertype and sets *at. 0: the packet holds none.
 *
 * Without tags in line it is where skb->network_header says. With them, that header points at the tag on ingress
 * (skb_vlan_untag()) but behind it on egress (vlan_insert_tag()), so then we walk from the MAC header.
 */
static __always_inline __be16 find_ip(struct __sk_buff *skb, struct place *at, bool *vlan, bool *pppoe)
{
	__be16 ethertype = skb->protocol, outer;
	struct pppoe_header session;
	struct vlan_tag tag;

	*vlan = skb->vlan_present;
	*pppoe = false;
	at->base = BPF_HDR_START_NET;
	at->offset = 0;
	if (is_vlan(ethertype) || ethertype == bpf_htons(ETH_P_PPP_SES)) {
		if (!packet_load(skb, BPF_HDR_START_MAC, offsetof(struct ethhdr, h_proto), &outer, sizeof(outer)) ||
		    outer != ethertype)
			return 0;
		at->base = BPF_HDR_START_MAC;
		at->offset = ETH_HLEN;
	}
#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		if (!is_vlan(ethertype))
			break;
		if (!packet_load(skb, at->base, at->offset, &tag, sizeof(tag)))
			return 0;
		*vlan = true;
		ethertype = tag.ethertype;
		at->offset += sizeof(tag);
	}
	if (ethertype == bpf_htons(ETH_P_PPP_SES)) {
		if (!packet_load(skb, at->base, at->offset, &session, sizeof(session)) ||
		    session.version_type_code != bpf_htons(PPPOE_SESSION_DATA))
			return 0;
		*pppoe = true;
		at->offset += sizeof(session);
		ethertype = session.ppp_protocol == bpf_htons(PPP_IPV4)	  ? bpf_htons(ETH_P_IP)
			    : session.ppp_protocol == bpf_htons(PPP_IPV6) ? bpf_htons(ETH_P_IPV6)
									  : 0;
	}
	return ethertype == bpf_htons(ETH_P_IP) || ethertype == bpf_htons(ETH_P_IPV6) ? ethertype : 0;
}

static __always_inline bool read_ipv4(struct __sk_buff *skb, struct place at, struct ip_header *ip)
{
	struct iphdr header;

	if (!packet_load(skb, at.base, at.offset, &header, sizeof(header)) || header.version != 4 || header.ihl < 5)
		return false;
	ip->family = 4;
	ip->source[0] = header.saddr;
	ip->destination[0] = header.daddr;
	ip->protocol = header.protocol;
	ip->hop_limit = header.ttl;
	ip->transport = at.offset + header.ihl * 4;
	ip->fragment = header.frag_off & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_OFFSET);
	ip->later = header.frag_off & bpf_htons(IPV4_OFFSET);
	ip->fragment_id = header.id;
	return true;
}

/* Goes past one extension header; false where there is none, or nothing behind it can be read. */
static __always_inline bool skip_extension(struct __sk_buff *skb, __u32 base, struct ip_header *ip)
{
	struct ipv6_extension header;
	__u8 protocol = ip->protocol;

	if (protocol != IPPROTO_HOPOPTS && protocol != IPPROTO_ROUTING && protocol != IPPROTO_DSTOPTS &&
	    protocol != IPPROTO_FRAGMENT && protocol != IPPROTO_AH)
		return false;
	if (!packet_load(skb, base, ip->transport, &header, sizeof(header))) {
		ip->protocol = PROTOCOL_TRUNCATED;
		return false;
	}
	ip->protocol = header.next;
	if (protocol == IPPROTO_FRAGMENT) {
		ip->transport += sizeof(header);
		ip->fragment = header.fragment_offset & bpf_htons(IPV6_OFFSET | IPV6_MORE_FRAGMENTS);
		ip->later = header.fragment_offset & bpf_htons(IPV6_OFFSET);
		ip->fragment_id = header.fragment_id;
		return !ip->later;
	}
	ip->transport += protocol == IPPROTO_AH ? (header.length + 2) * 4 : (header.length + 1) * 8;
	return true;
}

/*
 * As ipv6_skip_exthdr() of net/ipv6/exthdrs_core.c, but at most six: a packet with more is of no known flow. No loop,
 * since clang 14 does not unroll this one, and the verifier of 6.1 refuses some loops that it could follow
 * ("back-edge", check_cfg() of kernel/bpf/verifier.c).
 */
static __always_inline void skip_extensions(struct __sk_buff *skb, __u32 base, struct ip_header *ip)
{
	(void)(skip_extension(skb, base, ip) && skip_extension(skb, base, ip) && skip_extension(skb, base, ip) &&
	       skip_extension(skb, base, ip) && skip_extension(skb, base, ip) && skip_extension(skb, base, ip));
}

static __always_inline bool read_ipv6(struct __sk_buff *skb, struct place at, struct ip_header *ip)
{
	struct ipv6hdr header;

	if (!packet_load(skb, at.base, at.offset, &header, sizeof(header)) || header.version != 6)
		return false;
	ip->family = 6;
	__builtin_memcpy(ip->source, &header.saddr, sizeof(ip->source));
	__builtin_memcpy(ip->destination, &header.daddr, sizeof(ip->destination));
	ip->protocol = header.nexthdr;
	ip->hop_limit = header.hop_limit;
	ip->transport = at.offset + sizeof(header);
	skip_extensions(skb, at.base, ip);
	return true;
}

/* Reads the IP header at `at`; false where there is no valid one. *ip must be zeroed. */
static __always_inline bool read_ip(struct __sk_buff *skb, __be16 ethertype, struct place at, struct ip_header *ip)
{
	return ethertype == bpf_htons(ETH_P_IP) ? read_ipv4(skb, at, ip) : read_ipv6(skb, at, ip);
}

#endif
